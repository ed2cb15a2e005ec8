"""Laws on thin supports, without a density.

A Monge map may not exist, or may not be unique. On these pairs plain semi-dual methods converge to spurious
solutions [1]_.

References
----------
.. [1] Choi, J., Choi, J., Kwon, D. (2025). Overcoming spurious solutions in semi-dual neural optimal
   transport: a smoothing approach for learning the optimal transport plan. ICML. arXiv:2502.04583.
"""

from __future__ import annotations

import numpy as np

from neuralot.datasets.pair import Tolerance, TransportPair, check_at_least, plan_of

# a cross extends by 1 from its centre; with any spacing above 2, mass stays in its cross (make_multi_perpendicular)
_SPACING = 4.0


def make_perpendicular(n_features: int = 2) -> TransportPair:
    r"""Two cubes in orthogonal subspaces: every coupling is optimal.

    Source uniform on :math:`[-1, 1]^k \times \{0\}^{d-k}`, target uniform on
    :math:`\{0\}^k \times [-1, 1]^{d-k}`, :math:`k = \lfloor d / 2 \rfloor`. As
    :math:`\langle x, y \rangle = 0`, :math:`E|x - y|^2 = E|x|^2 + E|y|^2 = k/3 + (d-k)/3 = d/3` for *every*
    coupling. Neither the plan nor a map is unique, and only the cost and the law of the image can be tested.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 2.

    Returns
    -------
    TransportPair
        With `cost` d/3 and no exact map or plan.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 2.

    References
    ----------
    Choi, Choi, Kwon (2025), arXiv:2502.04583, "Perpendicular".

    Examples
    --------
    >>> from neuralot.datasets import make_perpendicular
    >>> pair = make_perpendicular(4)
    >>> X, Y = pair.sample(3, random_state=0)
    >>> X.shape, bool((X[:, 2:] == 0).all()), bool((Y[:, :2] == 0).all()), round(pair.cost, 3)
    ((3, 4), True, True, 1.333)
    """
    d = check_at_least("n_features", n_features, 2)
    k = d // 2
    return TransportPair(
        name="perpendicular",
        n_features=d,
        source=lambda n, rng: _cube(n, d, slice(0, k), rng),
        target=lambda n, rng: _cube(n, d, slice(k, d), rng),
        cost=d / 3,
        target_variance=(d - k) / 3,
    )


def make_parallel(n_features: int = 2) -> TransportPair:
    r"""Two parallel cubes: the map is a shift.

    Source uniform on :math:`[-1, 1]^{d-1} \times \{0\}`, target uniform on
    :math:`[-1, 1]^{d-1} \times \{1\}`. The last coordinate costs 1 under every plan, and the identity on the others
    costs 0, so :math:`T(x) = x + e_d` is the only optimal map, and the cost is 1. The potential is not unique outside
    of the source's support: the data do not determine its gradient along the last coordinate.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 2.

    Returns
    -------
    TransportPair
        With the exact map, plan and cost.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 2.

    References
    ----------
    Choi, Choi, Kwon (2025), arXiv:2502.04583, parallel segments.

    Examples
    --------
    >>> from neuralot.datasets import make_parallel
    >>> pair = make_parallel()
    >>> X, _ = pair.sample(2, random_state=0)
    >>> (pair.exact_map(X) - X).tolist(), pair.cost
    ([[0.0, 1.0], [0.0, 1.0]], 1.0)
    """
    d = check_at_least("n_features", n_features, 2)
    shift = np.eye(d)[-1]

    def exact_map(X: np.ndarray) -> np.ndarray:
        return X + shift

    return TransportPair(
        name="parallel",
        n_features=d,
        source=lambda n, rng: _cube(n, d, slice(0, d - 1), rng),
        target=lambda n, rng: exact_map(_cube(n, d, slice(0, d - 1), rng)),
        exact_map=exact_map,
        exact_plan=plan_of(exact_map),
        cost=1.0,
        target_variance=(d - 1) / 3,
    )


def make_one_to_many(n_features: int = 2) -> TransportPair:
    r"""One cube to two parallel cubes: the mass must split.

    Source uniform on :math:`[-1, 1]^{d-1} \times \{0\}`, target uniform on
    :math:`[-1, 1]^{d-1} \times \{-1, +1\}`. The last coordinate costs 1 under every plan, so the optimal plan preserves
    the other coordinates and splits the mass of every point equally: :math:`y = x \pm e_d` with probability 1/2 each.
    The plan is unique and costs 1, and no Monge map attains the optimum. The barycentric projection of the plan is the
    identity, far from the target.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 2.

    Returns
    -------
    TransportPair
        With the exact plan and cost, no map, and the centres of the two branches as `modes`. The tolerance of D_target
        is the floor plus an offset, because the floor is large: branch counts differ between two samples.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 2.

    References
    ----------
    Choi, Choi, Kwon (2025), arXiv:2502.04583, "One-to-Many".

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot.datasets import make_one_to_many
    >>> pair = make_one_to_many()
    >>> X, _ = pair.sample(1000, random_state=0)
    >>> draws = pair.exact_plan(X, np.random.default_rng(0)) - X
    >>> np.unique(draws, axis=0).tolist(), pair.exact_map is None
    ([[0.0, -1.0], [0.0, 1.0]], True)
    """
    d = check_at_least("n_features", n_features, 2)
    last = np.eye(d)[-1]

    def exact_plan(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return X + rng.choice([-1.0, 1.0], size=(len(X), 1)) * last

    return TransportPair(
        name="one_to_many",
        n_features=d,
        source=lambda n, rng: _cube(n, d, slice(0, d - 1), rng),
        target=lambda n, rng: exact_plan(_cube(n, d, slice(0, d - 1), rng), rng),
        exact_plan=exact_plan,
        cost=1.0,
        modes=np.stack([-last, last]),
        target_variance=(d - 1) / 3 + 1.0,
        tolerance=Tolerance(target_factor=1.0, target_offset=0.02),
    )


def make_circles(n_features: int = 2) -> TransportPair:
    r"""One circle to two concentric circles: the mass must split.

    Source uniform on the circle of radius 2 in the plane of the first two of d coordinates, target uniform on
    those of radius 1 and 3, half of the mass on each. :math:`|x - y| \ge ||x| - |y|| = 1`, with equality where
    y lies on the ray of x, so the optimal plan is :math:`y = x / 2` or :math:`y = 3 x / 2` with probability 1/2
    each. It costs 1. The direction of the split varies from point to point.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 2.

    Returns
    -------
    TransportPair
        With the exact plan and cost, and no map. Its tolerance is that of `make_one_to_many`, for the same reason.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 2.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot.datasets import make_circles
    >>> pair = make_circles(3)
    >>> X, _ = pair.sample(1000, random_state=0)
    >>> draws = pair.exact_plan(X, np.random.default_rng(0))
    >>> np.unique(np.linalg.norm(draws, axis=1).round(9)).tolist(), bool((draws[:, 2] == 0).all())
    ([1.0, 3.0], True)
    """
    d = check_at_least("n_features", n_features, 2)

    def circle(n: int, rng: np.random.Generator) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        return 2 * np.column_stack([np.cos(angle), np.sin(angle), np.zeros((n, d - 2))])

    def exact_plan(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return X * rng.choice([0.5, 1.5], size=(len(X), 1))

    return TransportPair(
        name="circles",
        n_features=d,
        source=circle,
        target=lambda n, rng: exact_plan(circle(n, rng), rng),
        exact_plan=exact_plan,
        cost=1.0,
        target_variance=5.0,
        tolerance=Tolerance(target_factor=1.0, target_offset=0.02),
    )


def make_multi_perpendicular(n_features: int = 2) -> TransportPair:
    r"""Four perpendicular crosses: mass must stay in its cross.

    With centres :math:`c_j` at :math:`(\pm 2, \pm 2)` in the first and the last coordinate, 0 elsewhere,
    chosen uniformly, the source is :math:`c_j + (u, 0)` and the target :math:`c_j + (0, v)`, u and v uniform
    on the cubes :math:`[-1, 1]^k` and :math:`[-1, 1]^{d-k}`, :math:`k = \lfloor d / 2 \rfloor`.

    The cost is exactly d/3. Within a cross :math:`|x - y|^2 = |u|^2 + |v|^2`. From cross i to cross j, with
    :math:`\Delta = c_j - c_i`, :math:`|x - y|^2 \ge |u|^2 + |v|^2 + |\Delta|_2^2 - 2 |\Delta|_1`, where the
    entries of :math:`\Delta` are 0 or :math:`\pm 4`, so the last two terms add up to at least 8. The
    potentials :math:`|x - c_i|^2` and :math:`|y - c_j|^2` are therefore feasible, and tight within a cross
    only.

    Every coupling within the crosses is optimal. The layout was chosen for this proof and may differ from that of the
    pair with this name in the paper.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 2.

    Returns
    -------
    TransportPair
        With the exact cost, the four centres as `modes`, and no map or plan, as neither is unique.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 2.

    References
    ----------
    Choi, Choi, Kwon (2025), arXiv:2502.04583, "Multi-perpendicular".

    Examples
    --------
    >>> from neuralot.datasets import make_multi_perpendicular
    >>> pair = make_multi_perpendicular()
    >>> pair.modes.tolist(), round(pair.cost, 3)
    ([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]], 0.667)
    """
    d = check_at_least("n_features", n_features, 2)
    k = d // 2
    half = _SPACING / 2
    centres = np.zeros((4, d))
    centres[:, 0] = [-half, -half, half, half]
    centres[:, -1] = [-half, half, -half, half]

    def crosses(n: int, varying: slice, rng: np.random.Generator) -> np.ndarray:
        return centres[rng.integers(4, size=n)] + _cube(n, d, varying, rng)

    return TransportPair(
        name="multi_perpendicular",
        n_features=d,
        source=lambda n, rng: crosses(n, slice(0, k), rng),
        target=lambda n, rng: crosses(n, slice(k, d), rng),
        cost=d / 3,
        modes=centres,
        target_variance=(d - k) / 3 + 2 * half**2,
        # for samples weighted to equal shares per cross: otherwise surplus mass must move to another cross, and the
        # exact cost between the samples is much larger than that between the laws
        tolerance=Tolerance(cost=0.06),
    )


def _cube(n: int, n_features: int, varying: slice, rng: np.random.Generator) -> np.ndarray:
    """Draw rows uniform on [-1, 1] in the `varying` coordinates.

    The other coordinates are 0.
    """
    points = np.zeros((n, n_features))
    points[:, varying] = rng.uniform(-1.0, 1.0, size=points[:, varying].shape)
    return points
