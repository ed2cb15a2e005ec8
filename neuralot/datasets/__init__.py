"""Pairs of laws with known optimal transport, for testing solvers.

Each ``make_*`` function returns a `TransportPair`: two samplers, the exactly known properties of the optimal transport
between their laws, and tolerances for solvers. Tests, gallery and benchmarks use the same pairs.
"""

from __future__ import annotations

from neuralot.datasets.entropic import make_entropic_plan
from neuralot.datasets.pair import Tolerance, TransportPair
from neuralot.datasets.shapes import make_eight_gaussians, make_moons
from neuralot.datasets.singular import (
    make_circles,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.datasets.smooth import make_convex_potential, make_gaussians
from neuralot.datasets.unbalanced import UnbalancedPair, make_unbalanced_gaussians
from neuralot.datasets.w2_benchmark import load_w2_benchmark

__all__ = [
    "Tolerance",
    "TransportPair",
    "UnbalancedPair",
    "load_w2_benchmark",
    "make_circles",
    "make_convex_potential",
    "make_eight_gaussians",
    "make_entropic_plan",
    "make_gaussians",
    "make_moons",
    "make_multi_perpendicular",
    "make_one_to_many",
    "make_parallel",
    "make_perpendicular",
    "make_unbalanced_gaussians",
    "small_pairs",
]


def small_pairs() -> list[TransportPair]:
    """Return the two-dimensional pairs for tests of every method.

    Returns
    -------
    list of TransportPair
        Their names are distinct, so ``[pair.name for pair in small_pairs()]`` are valid test ids.

    Examples
    --------
    >>> from neuralot.datasets import small_pairs
    >>> [pair.name for pair in small_pairs()][:3]
    ['perpendicular', 'parallel', 'one_to_many']
    >>> {pair.n_features for pair in small_pairs()}
    {2}
    """
    return [
        make_perpendicular(),
        make_parallel(),
        make_one_to_many(),
        make_multi_perpendicular(),
        make_gaussians(),
        make_convex_potential(),
        make_eight_gaussians(),
        make_moons(),
    ]
