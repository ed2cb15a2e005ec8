"""The transport estimators."""

from neuralot.estimators.game import Optimizer
from neuralot.estimators.otnet import OTNetTransport
from neuralot.estimators.otp import OTPTransport
from neuralot.estimators.snot import SNOTTransport
from neuralot.estimators.trajectory import TrajectoryTransport
from neuralot.estimators.w2gn import W2GNTransport

__all__ = ["OTNetTransport", "OTPTransport", "Optimizer", "SNOTTransport", "TrajectoryTransport", "W2GNTransport"]
