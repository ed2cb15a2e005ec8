"""Affine transport under conditions: one Gaussian per condition.

Moments are regressions on the conditions, so that they exist for categories and for numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from neuralot.affine import (
    N_DRAWS,
    ROWS_PER_BLOCK,
    SMALLEST,
    Affine,
    Moments,
    affine_transport,
)
from neuralot.sampling import ArraySampler, Sampler

# number of conditions for which affine maps are computed: at most 64, fewer for large matrices, but at least twice the
# number of coefficients, so that there is a map for each category
MAX_POINTS, MAX_WORK = 64, 2**22
# the covariance of a condition is at least this multiple of that of all conditions: where the regression is exact, as
# for one category, and otherwise
MIN_SHARE, MIN_SHARE_OF_LINEAR = 0.01, 0.25


@dataclass(frozen=True)
class ConditionalMoments(Moments):
    """Moments whose covariance depends on the condition.

    The covariance of the moved columns under the condition s is C + sum_k (s - E s)_k C_k, where C is that of the
    residuals of a linear regression on s. For categories, this is the covariance of each category.

    Attributes
    ----------
    slopes : Tensor of shape (n_conditions, n_moved, n_moved)
        C_k, by a linear regression of the products of residuals on s.
    points : Tensor of shape (n_points, n_conditions)
        Distinct conditions, or some of them.
    """

    slopes: Tensor
    points: Tensor

    @classmethod
    def within(cls, law: Sampler, generator: Generator, n_moved: int) -> ConditionalMoments:
        """Compute the moments of an array, or estimate them.

        The first `n_moved` columns are moved; the others are conditions.
        """
        moments, n = Moments.of(law, generator), n_moved
        _, coefficients = moments.given_conditions(n)
        sums = torch.zeros(len(moments.mean) - n, n, n, dtype=torch.double)
        conditions = []
        for rows, weights in _blocks(law, generator):
            centred = rows.double().cpu() - moments.mean
            s = centred[:, n:]
            residual = centred[:, :n] - s @ coefficients.T
            weighted = residual * weights.cpu()[:, None]
            sums += torch.stack([residual.T @ (weighted * each[:, None]) for each in s.T])
            conditions.append(torch.unique(s, dim=0))
        points = torch.unique(torch.cat(conditions), dim=0)
        n_points = max(2 * (points.shape[1] + 1), min(MAX_POINTS, MAX_WORK // n**3))
        if len(points) > n_points:
            points = points[torch.linspace(0, len(points) - 1, n_points).long()]
        slopes = torch.einsum("kl,lij->kij", _precision(moments, n), sums)
        return cls(**vars(moments), slopes=slopes, points=points + moments.mean[n:])

    def at(self, points: Tensor) -> Iterator[tuple[Tensor, Moments]]:
        """Yield means and moments of residuals under conditions.

        With few rows of a condition, its covariance is close to that of all conditions: it is the posterior mean for a
        prior that counts as n_moved + 1 rows.
        """
        n = self.slopes.shape[1]
        pooled, coefficients = self.given_conditions(n)
        precision, roots = _precision(self, n), _roots(pooled.covariance)
        inputs = torch.cat([torch.ones(len(points), 1, dtype=points.dtype), points], dim=1)
        is_exact = torch.linalg.matrix_rank(inputs, rtol=SMALLEST) == len(points)
        min_share = MIN_SHARE if is_exact else MIN_SHARE_OF_LINEAR
        for s in points - self.mean[n:]:
            n_rows = self.n_rows / float(1 + s @ precision @ s)
            share = n_rows / (n_rows + n + 1)
            covariance = pooled.covariance + share * torch.einsum("k,kij->ij", s, self.slopes)
            mean = self.mean[:n] + coefficients @ s
            yield mean, Moments(torch.zeros_like(mean), _bounded(covariance, *roots, min_share), n_rows)


def moments_of(law: Sampler, generator: Generator, n_moved: int | None) -> Moments:
    """Return moments.

    If `n_moved` is given, they depend on the conditions.
    """
    return Moments.of(law, generator) if n_moved is None else ConditionalMoments.within(law, generator, n_moved)


def conditional_affine_transport(source: Moments, target: Moments, n_moved: int) -> tuple[Affine, Affine]:
    """Affine maps under conditions, and their inverses.

    The map under the condition s is the optimal one between two Gaussians, m -> A(s) m + b(s) for the moved columns m.
    With `ConditionalMoments`, A is the linear function of s closest to the matrices at the conditions of the source,
    otherwise it does not depend on s; b is linear in s. Both are exact for one category.

    The matrices and offsets of the result are those of potentials of all columns: the slope in m of
    ``|x|^2 - x' M x - 2 o' x - sum_k s_k m' A_k m`` with x = (m, s) is ``2 (m - A(s) m - b(s))``. The other block of M
    and o makes the duality gap the same for all conditions, or nearly so.
    """
    if isinstance(source, ConditionalMoments) and isinstance(target, ConditionalMoments):
        return _with_interactions(source, target, n_moved)
    (X, R_X), (Y, R_Y) = source.given_conditions(n_moved), target.given_conditions(n_moved)
    forward, backward = affine_transport(X, Y)
    s = source.mean[n_moved:]
    B = R_Y - forward.matrix @ R_X  # (n_moved, n_conditions)
    b = forward.offset - B @ s
    return _potentials(forward.matrix, backward.matrix, b, B, -backward.matrix @ b, -backward.matrix @ B)


def _potentials(
    A: Tensor, inverse: Tensor, b: Tensor, B: Tensor, b_inverse: Tensor, B_inverse: Tensor
) -> tuple[Affine, Affine]:
    """Return the matrices and offsets of potentials of all columns.

    The map is m -> A m + B s + b, and its inverse has the other arguments.
    """
    identity = torch.eye(B.shape[1], dtype=b.dtype)
    return (
        Affine(_joined(A, B, identity + B.T @ inverse @ B), torch.cat([b, B.T @ inverse @ b])),
        Affine(
            _joined(inverse, B_inverse, identity), torch.cat([b_inverse, torch.zeros(len(identity), dtype=b.dtype)])
        ),
    )


def _with_interactions(source: ConditionalMoments, target: ConditionalMoments, n: int) -> tuple[Affine, Affine]:
    points, found = source.points, []
    for (x, X), (y, Y) in zip(source.at(points), target.at(points), strict=True):
        forward, backward = affine_transport(X, Y)
        A, inverse = forward.matrix, backward.matrix
        b = y - A @ x
        found.append((A, inverse, b, -inverse @ b, b @ inverse @ b))
    A, inverse, b, b_inverse, _ = (_regressed(points, torch.stack(each)) for each in zip(*found, strict=True))
    forward, backward = _potentials(A[0], inverse[0], b[0], b[1:].T, b_inverse[0], b_inverse[1:].T)
    # the levels, up to the quadratic function of s that the matrix already has
    block = forward.matrix[n:, n:] - torch.eye(points.shape[1], dtype=points.dtype)
    levels = torch.stack([each[4] for each in found]) - ((points @ block) * points).sum(1)
    forward.offset[n:] = _regressed(points, levels)[1:] / 2
    return replace(forward, interaction=A[1:]), replace(backward, interaction=inverse[1:])


def _regressed(points: Tensor, values: Tensor) -> Tensor:
    """Regress values on conditions.

    Returns the intercept and the slopes, shape (1 + n_conditions, ...).
    """
    inputs = torch.cat([torch.ones(len(points), 1, dtype=points.dtype), points], dim=1)
    coefficients = torch.linalg.pinv(inputs, rtol=SMALLEST) @ values.reshape(len(points), -1)
    return coefficients.reshape(-1, *values.shape[1:])


def _blocks(law: Sampler, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows and weights, as in `Moments.of`."""
    if isinstance(law, ArraySampler) and len(law.data) <= N_DRAWS:
        indices, weights = law.distinct()
        for block, block_weights in zip(indices.split(ROWS_PER_BLOCK), weights.split(ROWS_PER_BLOCK), strict=True):
            yield law.data[block], block_weights
        return
    for _ in range(N_DRAWS // ROWS_PER_BLOCK):
        yield law(ROWS_PER_BLOCK, generator), torch.full((ROWS_PER_BLOCK,), 1 / N_DRAWS, dtype=torch.double)


def _precision(moments: Moments, n_moved: int) -> Tensor:
    """Return the inverse covariance of the conditions."""
    return torch.linalg.pinv(moments.covariance[n_moved:, n_moved:], rtol=SMALLEST, hermitian=True)


def _roots(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of a covariance, and its pseudo-inverse."""
    values, vectors = torch.linalg.eigh(covariance)
    is_positive = values > SMALLEST * values[-1].clamp(min=0)
    root, inverse = (
        (vectors * torch.where(is_positive, values.clamp(min=0) ** power, 0.0)) @ vectors.T for power in (0.5, -0.5)
    )
    return root, inverse


def _bounded(covariance: Tensor, root: Tensor, inverse_root: Tensor, min_share: float) -> Tensor:
    """Bound a covariance from below by a share of another.

    The other covariance has the given roots.
    """
    shares, axes = torch.linalg.eigh(inverse_root @ covariance @ inverse_root)
    half = root @ axes
    return (half * shares.clamp(min=min_share)) @ half.T


def _joined(A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Join the blocks of a symmetric matrix."""
    return torch.cat([torch.cat([A, B], dim=1), torch.cat([B.T, C], dim=1)])
