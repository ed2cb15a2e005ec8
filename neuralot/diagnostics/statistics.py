"""Statistics of images and target rows, from exact transport."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy import stats

from neuralot.costs import Cost, Lp, SquaredEuclidean
from neuralot.divergences import cost_matrix, optimal_cost, optimal_cost_of

MIN_BLOCK, MIN_BLOCKS, MAX_BLOCKS = 250, 4, 8
N_CELLS = 10
SIGNIFICANT = 0.01  # p-values of tests
FEW_VALUES = 50
# with more features, affine maps, principal axes and covariances of draws would take long
MAX_FEATURES = 256
N_PERMUTATIONS = 200
N_PAIRS = 20
# standard deviation of a constant sample, in units of the data
ROUNDING = 1e-10
# indices of rows and of columns of a table
Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """Estimate of a quantity, with its standard error.

    The error has been estimated from `degrees` + 1 blocks of rows.
    """

    value: float
    standard_error: float
    degrees: int

    @property
    def margin(self) -> float:
        """Half of the 90 % interval (Student)."""
        return float(stats.t.ppf(0.95, self.degrees)) * self.standard_error

    @property
    def p_value(self) -> float:
        """One-sided p-value of a quantity of at most 0 (Student)."""
        if self.standard_error == 0:
            return float(self.value <= 0)
        return float(stats.t.sf(self.value / self.standard_error, self.degrees))

    @property
    def low(self) -> float:
        """Lower end of this interval."""
        return self.value - self.margin

    @property
    def high(self) -> float:
        """Upper end of this interval."""
        return self.value + self.margin


@dataclass(frozen=True)
class Sample:
    """Weighted rows in a random order.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    masses : ndarray of shape (n,)
        Positive, with sum 1.
    indices : ndarray of shape (n,), optional
        Indices of the rows in the data.
    """

    rows: np.ndarray
    masses: np.ndarray
    indices: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean of the rows, shape (d,)."""
        return self.masses @ self.rows

    @property
    def variance(self) -> float:
        """Total variance, the trace of the covariance."""
        return float(self.masses @ ((self.rows - self.mean) ** 2).sum(axis=1))

    @property
    def n_effective(self) -> float:
        """Effective number of rows (Kish)."""
        return round(float(1 / (self.masses @ self.masses)), 6)  # whole for equal masses

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the rows, shape (d, d)."""
        centred = self.rows - self.mean
        return (centred * self.masses[:, None]).T @ centred

    def part(self, chosen: slice | np.ndarray) -> Sample:
        """Return some of the rows."""
        masses = self.masses[chosen]
        return Sample(self.rows[chosen], masses / masses.sum())

    def without(self, k: int, n_blocks: int) -> Sample:
        """Return all rows but those of one block."""
        start, end = (k * len(self.rows) // n_blocks, (k + 1) * len(self.rows) // n_blocks)
        return self.part(np.delete(np.arange(len(self.rows)), slice(start, end)))

    def thinned(self, rng: np.random.Generator) -> np.ndarray:
        """Return rows of equal masses with the same law.

        Each row is kept with a probability proportional to its mass.
        """
        return self.rows[rng.random(len(self.rows)) * self.masses.max() <= self.masses]

    def blocks(self, n_blocks: int) -> list[Sample]:
        """Return disjoint parts of nearly equal size."""
        ends = np.linspace(0, len(self.rows), n_blocks + 1).astype(int)
        return [self.part(slice(*each)) for each in itertools.pairwise(ends)]


def has_few_values(rows: np.ndarray) -> bool:
    """Return whether a column varies between a few values.

    Laws with such columns have no density, even if their rows fill the space.
    """
    counts = np.array([len(np.unique(column)) for column in np.unique(rows, axis=0).T])
    return bool(((counts > 1) & (counts < FEW_VALUES)).any())


def exact_cost(a: Sample, b: Sample, cost: Cost | None = None) -> float:
    """Return the exact transport cost between two samples."""
    return optimal_cost(a.rows, a.masses, b.rows, b.masses, cost)


def paired_cost(cost: Cost, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the costs of paired rows, shape (n,)."""
    a, b = (torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float64)) for rows in (x, y))
    return cost(a, b).detach().numpy()


@dataclass(frozen=True)
class MarginalDistance:
    r"""Squared W2 distance of images to the target.

    Attributes
    ----------
    w2 : float
        Mean squared W2 distance between a block of images and a block of target rows.
    floor : float
        The same between two blocks of target rows: the value of a perfect map.
    excess : Estimate
        ``w2`` minus the mean distance between two blocks of one sample, images or target. It is an estimate without
        bias of 0 for equal laws, and in high dimension less than the distance of the laws otherwise.
    """

    w2: float
    floor: float
    excess: Estimate


def power_of(cost: Cost) -> float:
    """Return p of a p-th power of a norm.

    It is nan for other costs.
    """
    return cost.p if isinstance(cost, Lp) else 2.0 if isinstance(cost, SquaredEuclidean) else np.nan


def marginal_distance(images: Sample, target: Sample, cost: Cost | None = None) -> MarginalDistance:
    r"""Estimate the squared W2 distance between two laws from samples.

    Both samples are cut into blocks, and W2 is computed for all pairs of blocks:

    .. math:: \mathrm{excess} = \overline{W_2^2(T_i, Y_j)} - \tfrac12 \overline{W_2^2(T_i, T_j)}
              - \tfrac12 \overline{W_2^2(Y_i, Y_j)}, \quad i \ne j \text{ in the last two}

    The larger sample is cut, so that both have the same effective number of rows. The bias of the sampled distances,
    which is large in high dimension, then cancels between the three means. The standard error is that of the jackknife
    over pairs of blocks. Another cost takes the place of W2 squared.
    """
    distance = partial(exact_cost, cost=cost)
    if min(len(images.rows), len(target.rows)) < MIN_BLOCKS:
        w2 = distance(images, target)
        return MarginalDistance(w2, np.nan, Estimate(w2, np.inf, 1))
    images, target = matched(images, target)
    n_blocks = int(np.clip(min(len(images.rows), len(target.rows)) // MIN_BLOCK, MIN_BLOCKS, MAX_BLOCKS))
    return MarginalDistance(*excess_of(images.blocks(n_blocks), target.blocks(n_blocks), distance))


def matched(a: Sample, b: Sample) -> tuple[Sample, Sample]:
    """Return the first rows of both samples.

    Their effective numbers are about equal, and each has MIN_BLOCKS rows or more. In one and two dimensions all rows
    are kept: the bias of a distance is the sum of those of both samples, and cancels for any numbers of rows.
    """
    if a.rows.shape[1] <= 2:
        return a, b
    n = min(a.n_effective, b.n_effective)
    cut = lambda sample: sample.part(slice(max(MIN_BLOCKS, round(len(sample.rows) * n / sample.n_effective))))  # noqa: E731
    return cut(a), cut(b)


def excess_of(
    T: list[Sample], Y: list[Sample], distance: Callable[[Sample, Sample], float]
) -> tuple[float, float, Estimate]:
    """Return mean distance, floor and excess."""
    between = np.array([[distance(t, y) for y in Y] for t in T])  # (n_blocks, n_blocks)
    within_images, within_target = _within(T, distance), _within(Y, distance)

    def excess(table: Pairs, different: Pairs) -> float:
        within = (within_images[different].mean() + within_target[different].mean()) / 2
        return float(between[table].mean() - within)

    floor = within_target[~np.eye(len(Y), dtype=bool)].mean()
    return float(between.mean()), float(floor), over_pairs(excess, len(T))


def _within(blocks: list[Sample], distance: Callable[[Sample, Sample], float]) -> np.ndarray:
    """Distances between the blocks of one sample."""
    costs = np.zeros((len(blocks), len(blocks)))
    for i, j in itertools.combinations(range(len(blocks)), 2):
        costs[i, j] = costs[j, i] = distance(blocks[i], blocks[j])
    return costs


def over_pairs(quantity: Callable[[Pairs, Pairs], float], n_blocks: int) -> Estimate:
    """Estimate a quantity of pairs of blocks.

    `quantity` gets the indices of all pairs of some blocks, and of those pairs of two different blocks. The standard
    error is that of the jackknife over blocks.
    """

    def of(kept: np.ndarray) -> float:
        i, j = (each.ravel() for each in np.meshgrid(kept, kept, indexing="ij"))
        return quantity((i, j), (i[i != j], j[i != j]))

    every = np.arange(n_blocks)
    left_out = np.array([of(np.delete(every, k)) for k in every])
    return Estimate(of(every), float(np.sqrt((n_blocks - 1) * left_out.var())), n_blocks - 1)


def jackknife(quantity: Callable[..., float], *samples: Sample) -> Estimate:
    """Estimate a quantity of samples.

    Its standard error is that of the jackknife over blocks of rows.
    """
    left_out = [quantity(*(each.without(k, MAX_BLOCKS) for each in samples)) for k in range(MAX_BLOCKS)]
    error = np.sqrt((MAX_BLOCKS - 1) * np.var(left_out))
    return Estimate(quantity(*samples), float(error), MAX_BLOCKS - 1)


def spread(images: Sample, target: Sample) -> Estimate:
    """Return the logarithm of the ratio of standard deviations.

    The standard deviations are the roots of the total variances, in units of which one is about 1. The standard error
    is that of the jackknife. For a constant target the ratio is not defined, and the value is 0.
    """
    if target.variance <= ROUNDING**2:
        return Estimate(0.0, 0.0, 1)
    if min(len(images.rows), len(target.rows)) < 2 * MAX_BLOCKS:
        return Estimate(_log_ratio(images, target), np.inf, 1)
    return jackknife(_log_ratio, images, target)


def _log_ratio(a: Sample, b: Sample) -> float:
    return float(np.log(max(a.variance, ROUNDING**2) / max(b.variance, ROUNDING**2)) / 2)


def energy_p_value(images: Sample, target: Sample, rng: np.random.Generator) -> float:
    """Return the permutation p-value of the energy distance.

    The null hypothesis is that images and target rows have one law. Rows of unequal masses could not be exchanged.
    """
    import ot

    kept = [each.thinned(rng) for each in (images, target)]
    rows = np.concatenate(kept)
    signed = np.concatenate([np.full(len(each), sign / len(each)) for each, sign in zip(kept, (1, -1), strict=True)])
    distances = ot.dist(rows, rows, metric="euclidean")
    permuted = np.stack([signed[rng.permutation(len(signed))] for _ in range(N_PERMUTATIONS)], axis=1)
    null = -(permuted * (distances @ permuted)).sum(axis=0)
    return float((1 + (null >= -signed @ distances @ signed).sum()) / (1 + N_PERMUTATIONS))


def monotonicity_gap(source: Sample, images: np.ndarray, cost: Cost) -> float:
    r"""Return the cost that another pairing of rows saves.

    .. math:: \sum_i v_i c(x_i, T_i) - \min_{\pi} \sum_{ij} \pi_{ij} c(x_i, T_j) \ge 0

    The minimum is over the plans between the source sample and the sample of images. It is 0 for each optimal map or
    plan, on every sample, because the support of an optimal plan is c-cyclically monotone.
    """
    paired = float(source.masses @ paired_cost(cost, source.rows, images))
    return max(paired - exact_cost(source, Sample(images, source.masses), cost), 0.0)


def cost_spread(source: Sample, images: np.ndarray, cost: Cost) -> float:
    r"""Return the spread of costs, the unit of gaps.

    It is half of what the best pairing of rows and images saves beside independent rows:

    .. math:: \tfrac12 \Big( \sum_{ij} v_i v_j c(x_i, T_j) - \min_{\pi} \sum_{ij} \pi_{ij} c(x_i, T_j) \Big)

    For the squared distance it does not depend on the distance of the laws; for equal laws it is their variance.
    """
    costs = cost_matrix(cost, source.rows, images)
    independent, best = source.masses @ costs @ source.masses, optimal_cost_of(costs, source.masses, source.masses)
    return float(max((independent - best) / 2, ROUNDING * np.abs(costs).max(), np.finfo(float).tiny))


def violated_pairs(source: Sample, images: np.ndarray, cost: Cost, rng: np.random.Generator) -> float:
    """Return the share of pairs that an exchange makes cheaper.

    Pairs count with the product of their masses.
    """
    share, kept = 0.0, paired_cost(cost, source.rows, images)
    for _ in range(N_PAIRS):
        other = rng.permutation(len(kept))
        exchanged = paired_cost(cost, source.rows, images[other]) + paired_cost(cost, source.rows[other], images)
        together = kept + kept[other]
        is_cheaper = exchanged < together - 1e-9 * np.abs(together)
        share += float(np.average(is_cheaper, weights=source.masses * source.masses[other])) / N_PAIRS
    return share


def conditional_spread(draws: np.ndarray, masses: np.ndarray, unit: float = 1.0) -> float:
    """Return the mean variance of the draws of one row.

    `draws` has shape (n_draws, n, d), and `unit` is the variance whose share it is. Rounding errors are 0.
    """
    if len(draws) < 2:
        return 0.0
    share = float(masses @ draws.var(axis=0, ddof=1).sum(axis=1)) / unit
    return share if share > ROUNDING**2 else 0.0
