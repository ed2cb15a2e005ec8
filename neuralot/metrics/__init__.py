"""Metrics of fitted transports and of samples.

They compare a transport with the exact one, or its image with the target. Samples are arrays or torch tensors of
shape (n, d). All costs and distances are squared Euclidean, in squared units of the data. No single metric is
sufficient: a contracted image can score below the floor of `d_target`, and a wrong image can have the exact cost.
Use several of them.
"""

from __future__ import annotations

from neuralot.divergences import sinkhorn_divergence
from neuralot.metrics.laws import (
    TargetFloor,
    d_target,
    exact_cost,
    mode_coverage,
    spread_ratio,
    target_floor,
)
from neuralot.metrics.maps import conditional_bures_uvp, cosine_similarity, d_cost, l2_uvp, transport_cost

__all__ = [
    "TargetFloor",
    "conditional_bures_uvp",
    "cosine_similarity",
    "d_cost",
    "d_target",
    "exact_cost",
    "l2_uvp",
    "mode_coverage",
    "sinkhorn_divergence",
    "spread_ratio",
    "target_floor",
    "transport_cost",
]
