"""Methods, one file each: their networks, losses and maps."""

from neuralot.methods.otnet import OTNet
from neuralot.methods.otp import OTP
from neuralot.methods.snot import SNOT
from neuralot.methods.w2gn import W2GN

__all__ = ["OTP", "SNOT", "W2GN", "OTNet"]
