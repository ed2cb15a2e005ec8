"""Neural optimal transport with the manners of scikit-learn."""

from neuralot import datasets, metrics
from neuralot.estimators import OTPTransport, SNOTTransport

__version__ = "0.1.0.dev0"

__all__ = ["OTPTransport", "SNOTTransport", "__version__", "datasets", "metrics"]
