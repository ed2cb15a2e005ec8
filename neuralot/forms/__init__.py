"""Forms of a map: the gradient of a potential, or a free network; each brings its networks, players and losses.

A form plays the max-min game on the rows that it is given. What those rows are, plain or smoothed, is the business
of a method.
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
