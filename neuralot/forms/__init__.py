"""Forms of a map: gradient of a potential, or network.

Each form has its networks, players and losses. It plays the max-min game on given rows. The method decides whether
these rows are plain or smoothed.
"""

from neuralot.forms.base import Form
from neuralot.forms.gradient import GradientForm
from neuralot.forms.losses import CriticLoss
from neuralot.forms.make import NetworkFactory, make_form, make_network, resolve_map_form
from neuralot.forms.network import NetworkForm

__all__ = [
    "CriticLoss",
    "Form",
    "GradientForm",
    "NetworkFactory",
    "NetworkForm",
    "make_form",
    "make_network",
    "resolve_map_form",
]
