"""Neural optimal transport, compatible with scikit-learn."""

from neuralot import datasets, metrics
from neuralot.adaptation import DomainAdapter, TransportAdapter
from neuralot.estimators import OTNetTransport, OTPTransport, SNOTTransport
from neuralot.estimators.files import load

__version__ = "0.1.0"

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
