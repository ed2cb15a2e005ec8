"""Affine transport: moments of a law that can only be drawn from, optimal maps between Gaussians, preconditioning."""

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
SIZE_OF_THIN = 4.0
# what networks see through a preconditioner has this scale in each column, the root of a mean square
SEEN_SCALE = 2.0
NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Moments:
    """First two moments of a law, on the CPU: what is made of them is small, and would keep a GPU waiting.

    Attributes
    ----------
    mean : Tensor of shape (n_features,)
        float64, as the covariance.
    covariance : Tensor of shape (n_features, n_features)
    n_rows : float
        Rows that an independent sample with the same errors would have.
    """

    mean: Tensor
    covariance: Tensor
    n_rows: float

    @classmethod
    def of(cls, law: Sampler, generator: Generator) -> Moments:
        """Compute those of an array of at most 131 072 rows, or estimate them from as many draws."""
        if isinstance(law, ArraySampler) and len(law.data) <= N_DRAWS:
            chosen, weights = law.distinct()
            pairs = zip(chosen.split(ROWS_PER_BLOCK), weights.split(ROWS_PER_BLOCK), strict=True)
            blocks = ((law.data[some], weight) for some, weight in pairs)
            return cls._of(blocks, 1 / float(weights.square().sum()))
        keys = []

        def draws() -> Iterator[tuple[Tensor, Tensor]]:
            for _ in range(N_DRAWS // ROWS_PER_BLOCK):
                rows = law(ROWS_PER_BLOCK, generator)
                # equal rows have equal keys, and others almost surely have not
                keys.append((rows * torch.arange(1, rows.shape[1] + 1).to(rows).sqrt()).double().sum(1))
                yield rows, torch.full((len(rows),), 1 / N_DRAWS, device=rows.device, dtype=torch.double)

        found = cls._of(draws(), N_DRAWS)
        # two errors: that of the rows there are, and that of drawing from them
        return cls(found.mean, found.covariance, 1 / (1 / len(torch.cat(keys).unique()) + 1 / N_DRAWS))

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


@dataclass(frozen=True)
class Affine:
    """The map x -> `matrix` x + `offset`, with a symmetric matrix."""

    matrix: Tensor
    offset: Tensor


def affine_transport(source: Moments, target: Moments) -> tuple[Affine, Affine]:
    """Optimal maps between Gaussians with these moments, there and back.

    The matrix is ``S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2)``, with a small multiple of the mean covariance added to
    both, as one may be singular. Eigenvalues within the sampling error of 1 are set to 1: estimated from n and m rows,
    the matrix between two equal laws has them in 1 +- sqrt(d / n + d / m), and all d of them would add up to a cost
    that is not there. To a target of one point the matrix is nearly zero.

    References
    ----------
    Peyre and Cuturi, "Computational Optimal Transport", 2019, remark 2.31.
    """
    n_features = len(source.mean)
    mean = (source.covariance + target.covariance) / 2
    size = float(mean.trace()) / n_features
    size = size if size > NEGLIGIBLE else 1.0  # nothing varies
    ridge = RIDGE * (mean + 1e-6 * size * torch.eye(n_features, dtype=mean.dtype, device=mean.device))
    matrix = _optimal_matrix(source.covariance + ridge / 10, target.covariance + ridge)
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    values = values.clamp(min=float(values[-1]) * NEGLIGIBLE**0.5)  # positive, up to rounding
    error = 1.1 * math.sqrt(n_features / source.n_rows + n_features / target.n_rows)
    values = torch.where((values - 1).abs() < error, torch.ones_like(values), values)
    if float(target.covariance.trace()) <= NEGLIGIBLE * float(source.covariance.trace()):
        values.fill_(NEGLIGIBLE**0.5)  # the target is a point
    there, back = ((vectors * each) @ vectors.T for each in (values, 1 / values))
    return (
        Affine(there, target.mean - there @ source.mean),
        Affine(back, source.mean - back @ target.mean),
    )


def _optimal_matrix(S: Tensor, T: Tensor) -> Tensor:
    """``S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2)``; POT has it too, but its import takes most of a short fit."""
    root, inverse_root = _power(S, 0.5), _power(S, -0.5)
    return inverse_root @ _power(root @ T @ root, 0.5) @ inverse_root


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Power of a symmetric matrix that is positive up to rounding."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    values = values.clamp(min=float(values[-1].clamp(min=0)) * 1e-15 + torch.finfo(values.dtype).tiny)
    return (vectors * values**exponent) @ vectors.T


def common_axes(covariance: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix W and vector D with ``reference = W W'`` and ``covariance = W diag(D) W'``.

    The covariance must vanish where the reference does.
    """
    values, vectors = torch.linalg.eigh(reference)
    varies = values > NEGLIGIBLE * values[-1].clamp(min=0)
    root, inverse_root = (
        (vectors * torch.where(varies, values.clamp(min=0) ** power, 0.0)) @ vectors.T for power in (0.5, -0.5)
    )
    shares, turn = torch.linalg.eigh(inverse_root @ covariance @ inverse_root)
    return root @ turn, shares.clamp(min=0)


def preconditioners(matrix: Tensor, covariance: Tensor, thin: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices through which two networks see source and target, so that neither is stiff nor blind.

    With the affine transport A of the source, x -> A^(1/2) x and y -> A^(-1/2) y leave x'y, and with it the plan, as it
    is, and give both laws one covariance: directions that the target has not got are small on both sides. Without,
    their potentials are steep, and the first steps throw the network into a constant.

    Directions in which the source is all noise are few or many. What happens there decides the plan, and gradient
    descent does not find a single one among 255; so they are enlarged, to some sixteen times the variance of all
    others. At last rows are scaled to a mean square of 4, for which the outputs of a layer with torch's weights have
    variance 4 / 3: with 1 networks learn slowly, and with 16 the first steps still make them constant.

    Parameters
    ----------
    matrix, covariance : Tensor of shape (n_features, n_features)
        A, symmetric and positive, and the covariance of the (smoothed) source.
    thin : Tensor of shape (n_features, n_thin)
        Independent directions in which the source is all noise; there may be none.

    References
    ----------
    Kuang and Tabak, "Preconditioning of optimal transport", SIAM J. Sci. Comput., 2017.
    """
    n_features, n_thin = thin.shape
    values, vectors = torch.linalg.eigh(matrix)
    root, inverse_root = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    axes = torch.linalg.qr(root @ thin).Q
    size = max(1.0, SIZE_OF_THIN * math.sqrt((n_features - n_thin) / max(n_thin, 1)))
    enlarge = torch.eye(n_features, dtype=matrix.dtype, device=matrix.device) + (size - 1) * axes @ axes.T
    seen = enlarge @ root
    mean_square = float((seen @ covariance @ seen.T).trace()) / n_features
    scale = SEEN_SCALE / math.sqrt(mean_square) if mean_square > NEGLIGIBLE else 1.0  # nothing varies
    return scale * seen, scale * enlarge @ inverse_root
