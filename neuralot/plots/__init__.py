"""Figures of transports, in the manner of scikit-learn's displays.

Source rows are blue, target rows grey and images vermillion: the colours `SOURCE`, `TARGET` and `IMAGE`. Importing this
module does not import matplotlib.
"""

from neuralot.drawing import IMAGE as IMAGE
from neuralot.drawing import SOURCE as SOURCE
from neuralot.drawing import TARGET as TARGET
from neuralot.plots.transport import TransportDisplay, plot_transport

__all__ = ["TransportDisplay", "plot_transport"]
