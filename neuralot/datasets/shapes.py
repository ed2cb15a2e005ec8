"""Targets in the plane, with optimal maps without closed form."""

from __future__ import annotations

import numpy as np

from neuralot.datasets.pair import TransportPair
from neuralot.parameters import number


def make_eight_gaussians(radius: float = 2.0, noise: float = 0.2) -> TransportPair:
    r"""Standard normal to eight Gaussians on a circle.

    The target is a uniform mixture of :math:`N(c_j, \sigma^2 I)` with :math:`\sigma` given by `noise` and
    :math:`c_j = r (\cos(2 \pi j / 8), \sin(2 \pi j / 8))` on the circle of radius r. A Monge map exists. By symmetry it
    maps the sector of 45 degrees around each :math:`c_j` into itself, so it separates the source into eight parts. The
    map and the cost have no closed form.

    Parameters
    ----------
    radius : float, default=2.0
        Radius of the circle, positive.
    noise : float, default=0.2
        Standard deviation of each Gaussian per coordinate, non-negative.

    Returns
    -------
    TransportPair
        With the eight centres as `modes` and the target variance ``radius**2 + 2 * noise**2``.

    Raises
    ------
    ValueError
        If `radius` is not positive or `noise` is negative.

    Examples
    --------
    >>> from neuralot.datasets import make_eight_gaussians
    >>> pair = make_eight_gaussians()
    >>> X, Y = pair.sample(100, random_state=0)
    >>> Y.shape, pair.modes.shape, pair.exact_map is None
    ((100, 2), (8, 2), True)
    """
    number(0).check("radius", radius)
    _check_noise(noise)
    angles = 2 * np.pi * np.arange(8) / 8
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return TransportPair(
        name="eight_gaussians",
        n_features=2,
        source=_standard_normal,
        target=lambda n, rng: centres[rng.integers(8, size=n)] + noise * rng.normal(size=(n, 2)),
        modes=centres,
        target_variance=radius**2 + 2 * noise**2,
    )


def make_moons(noise: float = 0.05) -> TransportPair:
    r"""Standard normal to two interleaved half circles.

    A target point lies on either half circle with probability 1/2, :math:`(\cos t, \sin t)` or
    :math:`(1 - \cos t, 1/2 - \sin t)` with t uniform on :math:`[0, \pi]`, plus noise of :math:`N(0, \sigma^2 I)` with
    :math:`\sigma` given by `noise`. The mean (1/2, 1/4) and the total variance
    :math:`5/4 - 4/\pi^2 + (2/\pi - 1/4)^2 + 2 \sigma^2` are exact. A Monge map exists, as the source has a density. The
    map and the cost have no closed form.

    Parameters
    ----------
    noise : float, default=0.05
        Standard deviation of the noise per coordinate, non-negative.

    Returns
    -------
    TransportPair
        With the target variance.

    Raises
    ------
    ValueError
        If `noise` is negative.

    See Also
    --------
    sklearn.datasets.make_moons : The same shape, with the angles on a grid.

    Examples
    --------
    >>> from neuralot.datasets import make_moons
    >>> pair = make_moons()
    >>> X, Y = pair.sample(100, 50, random_state=0)
    >>> X.shape, Y.shape, round(pair.target_variance, 2)
    ((100, 2), (50, 2), 1.0)
    """
    _check_noise(noise)

    def target(n: int, rng: np.random.Generator) -> np.ndarray:
        angle = rng.uniform(0.0, np.pi, size=n)
        arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        upper = rng.random(size=(n, 1)) < 0.5
        return np.where(upper, arc, [1.0, 0.5] - arc) + noise * rng.normal(size=(n, 2))

    return TransportPair(
        name="moons",
        n_features=2,
        source=_standard_normal,
        target=target,
        target_variance=1.25 - 4 / np.pi**2 + (2 / np.pi - 0.25) ** 2 + 2 * noise**2,
    )


def _standard_normal(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(n, 2))


def _check_noise(noise: float) -> None:
    number(0, closed=True).check("noise", noise)
