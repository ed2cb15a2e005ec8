"""Neural optimal transport with the manners of scikit-learn."""

from neuralot import datasets, metrics
from neuralot.adaptation import DomainAdapter, TransportAdapter
from neuralot.estimators import OTNetTransport, OTPTransport, SNOTTransport
from neuralot.estimators.base import load

__version__ = "0.1.0.dev0"

__all__ = [
    "DomainAdapter",
    "OTNetTransport",
    "OTPTransport",
    "SNOTTransport",
    "TransportAdapter",
    "__version__",
    "datasets",
    "load",
    "metrics",
]
