"""Warnings and errors, each with its own class.

A class of warnings can be silenced with `warnings.filterwarnings`, for example
``warnings.filterwarnings("ignore", category=neuralot.exceptions.ScaleWarning)``.
"""


class SpuriousSolutionWarning(UserWarning):
    """The method can have spurious solutions for this source.

    The source lies on a thin set, such as a curve. A method that learns a map may then converge to a map that is not a
    transport map. `OTPTransport` learns a plan and has a unique solution.
    """


class SmoothingWarning(UserWarning):
    """The last noise level is far from its default.

    With more noise the draws are blurred; with less, the map is harder to learn and the plan not better.
    """


class ScaleWarning(UserWarning):
    """Columns or samples differ in scale by orders of magnitude."""


class ConditionWarning(UserWarning):
    """Conditions are outside of the range of the fit."""


class CheckpointWarning(UserWarning):
    """A checkpoint cannot be written or removed; the fit continues."""


class OutlierWarning(UserWarning):
    """Few values are far away, or tails are heavy."""


class FewRowsWarning(UserWarning):
    """Both samples have fewer rows than columns."""


class UnusedWeightsWarning(UserWarning):
    """Weights are used for the transport only.

    The `fit` of the estimator in a `DomainAdapter` does not accept `sample_weight`.
    """


class ScoreWarning(UserWarning):
    """The score of a `DomainAdapter` says nothing about the target."""


class VersionWarning(UserWarning):
    """A file was saved with other versions of packages.

    The versions of neuralot, numpy, scikit-learn or torch differ in the first or second number.
    """


class StreamWarning(UserWarning):
    """The time limit ended the first pass over a stream."""


class LostProcessError(RuntimeError):
    """A process that shares a fit has ended.

    Or it did not answer in time. The other processes raise this error, and their estimators are unchanged.
    """
