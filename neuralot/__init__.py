"""Neural optimal transport, compatible with scikit-learn."""

from neuralot import datasets, exceptions, metrics
from neuralot.adaptation import DomainAdapter, TransportAdapter
from neuralot.diagnostics import ConditionalReport, TransportReport, Verdict, diagnose
from neuralot.estimators import (
    Optimizer,
    OTNetTransport,
    OTPTransport,
    SNOTTransport,
    TrajectoryTransport,
    W2GNTransport,
)
from neuralot.estimators.files import load
from neuralot.forms import CriticLoss

__version__ = "0.1.0"

__all__ = [
    "ConditionalReport",
    "CriticLoss",
    "DomainAdapter",
    "OTNetTransport",
    "OTPTransport",
    "Optimizer",
    "SNOTTransport",
    "TrajectoryTransport",
    "TransportAdapter",
    "TransportReport",
    "Verdict",
    "W2GNTransport",
    "__version__",
    "datasets",
    "diagnose",
    "exceptions",
    "load",
    "metrics",
]
