"""Affine transport: moments, optimal maps between Gaussians, preconditioners.

Moments are also estimated for a law that can only be sampled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from neuralot.sampling import ArraySampler, Sampler

N_DRAWS = 2**17
ROWS_PER_BLOCK = 2**14
RIDGE = 1e-5
THIN_SCALE = 4.0
# root mean square of the columns of preconditioned rows
SEEN_SCALE = 2.0
NEGLIGIBLE = 1e-12
# smallest variance of a direction, relative to the largest one, for which the affine map is computed
SMALLEST = 1e-7


@dataclass(frozen=True)
class Moments:
    """First two moments of a law, on the CPU.

    Computations with moments are too small to be faster on a GPU.

    Attributes
    ----------
    mean : Tensor of shape (n_features,)
        In float64, like the covariance.
    covariance : Tensor of shape (n_features, n_features)
    n_rows : float
        Effective sample size: that of an independent sample whose moments have the same errors.
    """

    mean: Tensor
    covariance: Tensor
    n_rows: float

    @classmethod
    def of(cls, law: Sampler, generator: Generator) -> Moments:
        """Compute the moments of an array, or estimate them.

        They are exact for an `ArraySampler` of at most 131 072 rows, and otherwise estimated from 131 072 draws.
        """
        if isinstance(law, ArraySampler) and len(law.data) <= N_DRAWS:
            indices, weights = law.distinct()
            pairs = zip(indices.split(ROWS_PER_BLOCK), weights.split(ROWS_PER_BLOCK), strict=True)
            blocks = ((law.data[block], block_weights) for block, block_weights in pairs)
            return cls._of(blocks, 1 / float(weights.square().sum()))
        keys = []

        def draws() -> Iterator[tuple[Tensor, Tensor]]:
            for _ in range(N_DRAWS // ROWS_PER_BLOCK):
                rows = law(ROWS_PER_BLOCK, generator)
                # equal rows have equal keys; distinct rows almost surely have distinct keys
                keys.append((rows * torch.arange(1, rows.shape[1] + 1).to(rows).sqrt()).double().sum(1))
                yield rows, torch.full((len(rows),), 1 / N_DRAWS, device=rows.device, dtype=torch.double)

        moments = cls._of(draws(), N_DRAWS)
        # two sources of error: the number of distinct rows of the law, and the number of draws
        return cls(moments.mean, moments.covariance, 1 / (1 / len(torch.cat(keys).unique()) + 1 / N_DRAWS))

    @classmethod
    def _of(cls, blocks: Iterator[tuple[Tensor, Tensor]], n_rows: float) -> Moments:
        sums: list[Tensor] = []
        squares: list[Tensor] = []
        for rows, weights in blocks:
            rows = rows.double()
            sums.append((weights @ rows).cpu())
            squares.append((rows.T @ (rows * weights[:, None])).cpu())
        mean = torch.stack(sums).sum(0)
        return cls(mean, sum(squares) - torch.outer(mean, mean), n_rows)

    def given_conditions(self, n_moved: int | None) -> tuple[Moments, Tensor]:
        """Regress the moved columns on the conditions.

        Returns the moments of the residuals plus the mean, and the coefficients, shape (n_moved, n_conditions). The
        first `n_moved` columns are moved; None stands for all.
        """
        n = len(self.mean) if n_moved is None else n_moved
        covariance = self.covariance
        coefficients = covariance[:n, n:] @ torch.linalg.pinv(covariance[n:, n:], rtol=SMALLEST, hermitian=True)
        residual = covariance[:n, :n] - coefficients @ covariance[n:, :n]
        return Moments(self.mean[:n], (residual + residual.T) / 2, self.n_rows), coefficients


@dataclass(frozen=True)
class Affine:
    """Affine map x -> `matrix` x + `offset`.

    The matrix is symmetric. With an `interaction` of shape (n_conditions, n_moved, n_moved), the matrix of the moved
    columns also depends on the other columns, the conditions s: `interaction[k]` times s_k is added to it for each k.
    """

    matrix: Tensor
    offset: Tensor
    interaction: Tensor | None = None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The tensors, without the interaction if there is none."""
        both = self.matrix, self.offset
        return both if self.interaction is None else (*both, self.interaction)


def affine_transport(source: Moments, target: Moments) -> tuple[Affine, Affine]:
    """Optimal map between two Gaussians, and its inverse.

    Returns the map from the Gaussian with the moments `source` to that with the moments `target`, and the inverse map.

    The matrix is ``S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2)``. A small multiple of the mean covariance is added to S
    and T, because either may be singular. Directions in which neither law varies, as with fewer rows than columns, are
    only shifted. Eigenvalues within the sampling error of 1 are set to 1: estimated from n and
    m rows, the matrix between two equal laws has eigenvalues in 1 +- sqrt(d / n + d / m), and the d deviations would
    sum to a spurious cost. If the target is a single point, the matrix is nearly zero.

    References
    ----------
    Peyre and Cuturi, "Computational Optimal Transport", 2019, remark 2.31.
    """
    n_features = len(source.mean)
    mean = (source.covariance + target.covariance) / 2
    variance = float(mean.trace()) / n_features
    variance = variance if variance > NEGLIGIBLE else 1.0  # both laws are points
    identity = torch.eye(n_features, dtype=mean.dtype, device=mean.device)
    ridge = RIDGE * (mean + 1e-6 * variance * identity)
    matrix = optimal_matrix(source.covariance + ridge / 10, target.covariance + ridge)  # (d, d)
    spanned = _span(mean)
    if spanned.shape[1] < n_features:
        inside = spanned @ spanned.T
        matrix = inside @ matrix @ inside + identity - inside
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    values = values.clamp(min=float(values[-1]) * NEGLIGIBLE**0.5)  # positive, up to rounding
    error = 1.1 * math.sqrt(n_features / source.n_rows + n_features / target.n_rows)
    values = torch.where((values - 1).abs() < error, torch.ones_like(values), values)
    if float(target.covariance.trace()) <= NEGLIGIBLE * float(source.covariance.trace()):
        values.fill_(NEGLIGIBLE**0.5)  # the target is a point
    forward, backward = ((vectors * eigenvalues) @ vectors.T for eigenvalues in (values, 1 / values))  # (d, d)
    return (
        Affine(forward, target.mean - forward @ source.mean),
        Affine(backward, source.mean - backward @ target.mean),
    )


def optimal_matrix(S: Tensor, T: Tensor) -> Tensor:
    """Matrix of the optimal map between centred Gaussians.

    ``S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2)`` for covariances S and T. POT provides it too, but importing POT
    would take most of the time of a short fit.
    """
    root, inverse_root = _power(S, 0.5), _power(S, -0.5)
    return inverse_root @ _power(root @ T @ root, 0.5) @ inverse_root


def _span(covariance: Tensor) -> Tensor:
    """Return an orthonormal basis of the directions of variation.

    It has shape (n_features, n_directions). Smaller variances are lost to rounding in `optimal_matrix`.
    """
    values, vectors = torch.linalg.eigh(covariance)
    return vectors[:, values > SMALLEST * values[-1]]


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Power of a symmetric positive semi-definite matrix.

    Eigenvalues that are negative due to rounding errors are clamped.
    """
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    values = values.clamp(min=float(values[-1].clamp(min=0)) * 1e-15 + torch.finfo(values.dtype).tiny)
    return (vectors * values**exponent) @ vectors.T


def common_axes(covariance: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonalise a covariance in the axes of a reference.

    Returns a matrix W and a vector D with ``reference = W W'`` and ``covariance = W diag(D) W'``. The covariance must
    vanish where the reference does.
    """
    values, vectors = torch.linalg.eigh(reference)
    is_positive = values > NEGLIGIBLE * values[-1].clamp(min=0)
    root, inverse_root = (
        (vectors * torch.where(is_positive, values.clamp(min=0) ** power, 0.0)) @ vectors.T for power in (0.5, -0.5)
    )
    shares, rotation = torch.linalg.eigh(inverse_root @ covariance @ inverse_root)
    return root @ rotation, shares.clamp(min=0)


def preconditioners(matrix: Tensor, covariance: Tensor, thin: Tensor) -> tuple[Tensor, Tensor]:
    """Preconditioners for the inputs of the source's and target's network.

    With the affine transport A of the source, x -> A^(1/2) x and y -> A^(-1/2) y preserve x'y, hence the plan, and give
    both laws the same covariance: directions that are missing in the target are small on both sides. Without
    preconditioners, the potentials are steep in these directions, and the network is constant after the first steps.

    The source may be pure noise in some directions. These directions determine the plan, but gradient descent does not
    find a few of them among many others. They are therefore scaled up, to about sixteen times the variance of all other
    directions together. Finally, rows are scaled to a mean square of 4 per column, for which the outputs of a layer
    with torch's default weights have variance 4 / 3. Networks learn slowly with much smaller rows, and are constant
    after the first steps with much larger ones.

    Returns the matrices for rows of the source and of the target, both of shape (n_features, n_features).

    Parameters
    ----------
    matrix, covariance : Tensor of shape (n_features, n_features)
        A, symmetric positive definite, and the covariance of the (smoothed) source.
    thin : Tensor of shape (n_features, n_thin)
        Independent directions in which the source is pure noise; n_thin may be 0.

    References
    ----------
    Kuang and Tabak, "Preconditioning of optimal transport", SIAM J. Sci. Comput., 2017.
    """
    n_features, n_thin = thin.shape
    values, vectors = torch.linalg.eigh(matrix)
    root, inverse_root = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    axes = torch.linalg.qr(root @ thin).Q  # (d, n_thin)
    factor = max(1.0, THIN_SCALE * math.sqrt((n_features - n_thin) / max(n_thin, 1)))
    enlarge = torch.eye(n_features, dtype=matrix.dtype, device=matrix.device) + (factor - 1) * axes @ axes.T  # (d, d)
    unscaled = enlarge @ root
    mean_square = float((unscaled @ covariance @ unscaled.T).trace()) / n_features
    scale = SEEN_SCALE / math.sqrt(mean_square) if mean_square > NEGLIGIBLE else 1.0  # the source is a point
    return scale * unscaled, scale * enlarge @ inverse_root
