"""Pairs whose sources have any dimension, with exact plans: Cantor sets, curves, a disc, a sphere.

A Cantor set of dimension s in [-1, 1] has the points 2 sum_k b_k (1 - r) r^k - 1 with bits b_k and r = 2^(-1/s); its
law has independent fair bits. s = 0 is the point 0, and s = 1 the interval with the uniform law. The convex function
of each map below shows that it is optimal:

- *split*: |x|^2 / 2 + |x_2|. Rows move by e_2 to the side on which they are, and rows with x_2 = 0 to either side.
- *radial split*: from radius 2 to the radii 1 and 3. It is optimal because no plan moves a row by less than 1.
- *outwards*: |x|^2 / 2 + |x|. Rows move by 1 away from the centre.
- *bend*: a sum of convex functions of one coordinate each, plus x_2. Smooth, also where the source is thin.
- *cross*: the distribution function of the second coordinate, on the segment {0} x [-1, 1]. If the source is on the
  line x_2 = 0, every coupling is optimal.
- *fill*: the distribution function of the Cantor set in each coordinate, which maps it to the interval.
"""

from dataclasses import dataclass, replace

import numpy as np

from neuralot.datasets import TransportPair
from neuralot.datasets.pair import Map, Plan, Sampler, plan_of

N_BITS = 48
N_COST = 200_000


def cantor(n: int, s: float, rng: np.random.Generator) -> np.ndarray:
    """Draw from the Cantor set of dimension `s`, shape (n,)."""
    if s == 0:
        return np.zeros(n)
    r = 2 ** (-1 / s)
    return 2 * (rng.integers(2, size=(n, N_BITS)) * (1 - r) * r ** np.arange(N_BITS)).sum(axis=1) - 1


def cantor_cdf(x: np.ndarray, s: float) -> np.ndarray:
    """Distribution function of the Cantor set, scaled to [-1, 1]."""
    r, rest, value = 2 ** (-1 / s), (x + 1) / 2, np.zeros_like(x)
    # rounding errors of x grow by 1 / r per bit
    for k in range(min(N_BITS, int(50 * s))):
        bit = rest > 0.5
        value += bit * 2.0 ** -(k + 1)
        rest = np.clip((rest - bit * (1 - r)) / r, 0, 1)
    return 2 * value - 1


# sources


def product(s: float, t: float) -> Sampler:
    """Cantor sets of dimensions s and t in the two coordinates."""
    return lambda n, rng: np.column_stack([cantor(n, s, rng), cantor(n, t, rng)])


def sphere(d: int) -> Sampler:
    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        z = rng.normal(size=(n, d))
        return 2 * z / np.linalg.norm(z, axis=1, keepdims=True)

    return sample


def disc(n: int, rng: np.random.Generator) -> np.ndarray:
    return sphere(2)(n, rng) / 2 * np.sqrt(rng.uniform(size=(n, 1)))


def disc_and_segment(n: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the mass on the disc, half on its horizontal diameter."""
    return np.where(rng.integers(2, size=(n, 1)) == 0, disc(n, rng), product(1, 0)(n, rng))


# plans


def split(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = np.where(X[:, 1] == 0, rng.choice([-1.0, 1.0], size=len(X)), np.sign(X[:, 1]))
    return X + side[:, None] * np.eye(X.shape[1])[1]


def radial_split(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return X * rng.choice([0.5, 1.5], size=(len(X), 1))


def outwards(X: np.ndarray) -> np.ndarray:
    return X + X / np.linalg.norm(X, axis=1, keepdims=True)


def bend(X: np.ndarray) -> np.ndarray:
    return X + 0.45 * np.sin(2 * X) + np.eye(X.shape[1])[1]


def fill(s: float) -> Map:
    return lambda X: np.column_stack([cantor_cdf(x, s) for x in X.T])


def cross(t: float) -> Map:
    return lambda X: np.column_stack([np.zeros(len(X)), cantor_cdf(X[:, 1], t)])


def any_cross(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([np.zeros(len(X)), rng.uniform(-1, 1, len(X))])


def make(name: str, source: Sampler, plan: Plan, exact_map: Map | None, d: int) -> TransportPair:
    """Pair of a source and an optimal plan; its cost is a mean over draws."""
    rng = np.random.default_rng(0)
    X = source(N_COST, rng)
    Y = plan(X, rng)
    return TransportPair(
        name=name,
        n_features=d,
        source=source,
        target=lambda n, rng: plan(source(n, rng), rng),
        exact_map=exact_map,
        exact_plan=plan,
        cost=float(((X - Y) ** 2).sum(axis=1).mean()),
        target_variance=float(Y.var(axis=0).sum()),
    )


@dataclass(frozen=True)
class Family:
    """Pair with a source of dimension `s`, and what is known of the saddle points of SNOT.

    "theorem": the exact map is the only one, by Theorem 3.1. "unique": it is, although the condition of the theorem
    fails. "spurious": there are others. "no map": mass must split, so no map has the exact plan. "any": every coupling
    is optimal, and there are maps with other images too.
    """

    s: float
    saddles: str
    name: str
    source: Sampler
    plan: Plan | None = None
    exact_map: Map | None = None
    d: int = 2

    def make(self) -> TransportPair:
        plan = self.plan or plan_of(self.exact_map)
        pair = make(self.name, self.source, plan, self.exact_map, self.d)
        return replace(pair, exact_plan=None) if self.saddles == "any" else pair


def families() -> list[Family]:
    plane = [
        *(Family(s, "no map", f"line {s}, split", product(s, 0), split) for s in (0.3, 0.63, 1)),
        *(Family(s, "spurious", f"line {s}, bend", product(s, 0), exact_map=bend) for s in (0.63, 1)),
    ]
    for s in (0.5, 1, 1.5):
        dust, kind = product(s / 2, s / 2), "theorem" if s > 1 else "unique"
        plane.append(Family(s, kind, f"dust {s}, split", dust, split))
        plane.append(Family(s, kind, f"dust {s}, fill", dust, exact_map=fill(s / 2)))
    return [
        *plane,
        *(Family(s, "theorem", f"strip {s}, split", product(1, s - 1), split) for s in (1.3, 1.63)),
        *(Family(s, "any", f"line {s}, cross", product(s, 0), any_cross) for s in (0.3, 0.63, 1)),
        *(Family(1 + t, "theorem", f"strip {1 + t}, cross", product(1, t), exact_map=cross(t)) for t in (0.3, 0.63, 1)),
        Family(1, "no map", "circle, radial split", sphere(2), radial_split),
        Family(1, "spurious", "circle, bend", sphere(2), exact_map=bend),
        Family(2, "no map", "sphere in R^3, radial split", sphere(3), radial_split, d=3),
        Family(2, "spurious", "sphere in R^3, bend", sphere(3), exact_map=bend, d=3),
        Family(2, "theorem", "disc, split", disc, split),
        Family(2, "theorem", "disc, outwards", disc, exact_map=outwards),
        Family(2, "no map", "disc and segment, split", disc_and_segment, split),
        Family(2, "unique", "disc and segment, bend", disc_and_segment, exact_map=bend),
    ]
