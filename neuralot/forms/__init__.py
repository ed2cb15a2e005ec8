"""Forms of a map: gradient of a potential, or network.

Each form has its networks, players and losses. It plays the max-min game on given rows. The method decides whether
these rows are plain or smoothed.
"""

from neuralot.forms.base import Form as Form
from neuralot.forms.gradient import GradientForm
from neuralot.forms.losses import CriticLoss
from neuralot.forms.make import NetworkFactory as NetworkFactory
from neuralot.forms.make import make_form
from neuralot.forms.make import make_network as make_network
from neuralot.forms.make import resolve_map_form as resolve_map_form
from neuralot.forms.network import NetworkForm

__all__ = ["CriticLoss", "GradientForm", "NetworkForm", "make_form"]
