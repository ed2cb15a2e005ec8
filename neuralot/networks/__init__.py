"""Networks for maps and Kantorovich potentials.

There are maps, a map with noise input, Kantorovich potentials and an input-convex potential, for rows of any kind, and
a map and a potential for rows that are images. All are initialised at (or close to) the identity map, so that a fit
starts from the plan that moves no mass. A user's own `nn.Module` can replace any of them: a map takes (n, d) and
returns (n, d), a potential takes (n, d) and returns (n,) or (n, 1).
"""

from __future__ import annotations

from neuralot.networks.conditional import ConditionalPotential
from neuralot.networks.images import ConvMap, ResidualPotential
from neuralot.networks.perceptrons import (
    BasedMap,
    BasedPotential,
    ConvexPotential,
    Heights,
    MLPMap,
    NoiseMap,
    Potential,
)

__all__ = [
    "BasedMap",
    "BasedPotential",
    "ConditionalPotential",
    "ConvMap",
    "ConvexPotential",
    "Heights",
    "MLPMap",
    "NoiseMap",
    "Potential",
    "ResidualPotential",
]
