"""Figures of transports, in the manner of scikit-learn's displays.

Source rows are blue, target rows grey and images vermilion: the colours `SOURCE`, `TARGET` and `IMAGE`. Importing this
module does not import matplotlib.
"""

from neuralot.drawing import IMAGE as IMAGE
from neuralot.drawing import SOURCE as SOURCE
from neuralot.drawing import TARGET as TARGET
from neuralot.plots.history import HistoryDisplay, plot_history
from neuralot.plots.images import ImagesDisplay, plot_images
from neuralot.plots.interpolation import InterpolationDisplay, plot_interpolation
from neuralot.plots.potential import PotentialDisplay, plot_potential
from neuralot.plots.report import ReportDisplay, plot_report
from neuralot.plots.transport import TransportDisplay, plot_transport

__all__ = [
    "HistoryDisplay",
    "ImagesDisplay",
    "InterpolationDisplay",
    "PotentialDisplay",
    "ReportDisplay",
    "TransportDisplay",
    "plot_history",
    "plot_images",
    "plot_interpolation",
    "plot_potential",
    "plot_report",
    "plot_transport",
]
