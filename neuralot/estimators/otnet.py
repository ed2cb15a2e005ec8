"""OT-Net as an estimator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot._torch import seeded
from neuralot.costs import Cost
from neuralot.defaults import default_activation, default_rate, default_sizes, default_steps
from neuralot.estimators.base import BaseTransport
from neuralot.estimators.checks import check_height_network, check_refine_steps, check_weights
from neuralot.estimators.fitting import Watched, settings
from neuralot.estimators.laws import Law, Standardised
from neuralot.estimators.parameters import DISTANCE, FACTORY, auto_or, integer, none_or, number, one_of
from neuralot.estimators.setup import seeded_generator
from neuralot.estimators.units import Image, Return, map_rows
from neuralot.estimators.warn import warn_of_other_units
from neuralot.forms import NetworkFactory, make_network
from neuralot.methods import OTNet
from neuralot.methods.otnet import NETWORK_SHARE, MassTolerance
from neuralot.networks import Potential
from neuralot.solve.loop import Callback, solve
from neuralot.solve.problem import Problem
from neuralot.solve.status import Status

N_MONTE_CARLO = 1024
WEIGHT_DECAY = 0.01
FEWEST_TO_HOLD_OUT = 20
MOST_KEPT, MOST_HELD_OUT = 2**15, 2**14
AVERAGED = 10


class OTNetTransport(BaseTransport):
    r"""Semi-discrete transport by Brenier heights from a network (OT-Net).

    .. math:: u(x) = \max_i \; \langle x, y_i \rangle + h_i, \quad T(x) = y_{i(x)}

    Every target row has a plane, and the image of x is the target row whose plane is the highest at x. A network learns
    the heights as a function of the target row, and corrections of single rows then bring the mass of each cell to the
    row's weight. Images are target rows themselves: nothing is blurred, and where the target consists of separate parts
    the map jumps. `retarget` gives new target rows their heights by a pass through the network, without a new fit.

    The source must have a density, as for `SNOTTransport`: on a thin set planes tie, and mass does not split.

    Whatever the heights are, T is the optimal map from the source to the law that it arrives at. How far that is from
    the target's law is known: see `mass_error_` and `dual_gap_`.

    Parameters
    ----------
    output : {'hard', 'smooth'}, default='hard'
        What `transform` and `sample` return, also after a fit: target rows, or a blend of the nearest few, which is
        continuous wherever the target hangs together. It does not blend across a crease of u, where the planes that
        compete belong to distant target rows.
    crease_distance : float or 'auto', default='auto'
        Target rows are blended that hang together in steps of at most this, in the data's units; a longer step leads
        across a crease. ``'auto'`` is the distance within which nine in ten target rows have six neighbours, ``inf``
        blends across everything. It may be set after a fit, as `output`.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        ``'auto'`` is (64, 64, 64) below 16 features, else (128, 128, 128).
    activation : {'auto', 'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}, default='auto'
        ``'auto'`` is ``'tanh'`` for two features and at least 32 768 rows, else ``'silu'``.
    height_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Your own network, (m, d) to (m,) or (m, 1): the Kantorovich potential g on the target's side, with heights
        ``(g(y) - |y|^2) / 2`` in standardised units. Batch normalisation is refused: a height must not depend on which
        rows are asked together.
    n_monte_carlo : int or 'auto', default='auto'
        Source rows per step, from which the masses are estimated; doubled on a plateau, up to eight times. ``'auto'``
        is 1024.
    mass_tol : float, default=4e-3
        The fit ends when the square of `mass_error_` is below that of `mass_tol` by two standard errors. That takes
        many held-out rows, 12 500 of them for 200 targets; with fewer the fit makes all of its steps.
    max_iter : int or 'auto', default='auto'
        Steps; ``'auto'`` is 1200, or no limit beside `max_time`. Four tenths of them, or of the time, are for the
        network, the others for the corrections.
    max_time : float or None, default=None
        Seconds after which the fit ends; its schedules follow the budget that is used up first.
    learning_rate_init : float or 'auto', default='auto'
        Adam's first rate for the network; Muon's is 10 times that. ``'auto'`` is .008 below 16 features, .006 up to
        64, and then falls as 1 / n_features.
    optimizer : {'auto', 'adam', 'muon'}, default='auto'
        ``'muon'``, and ``'auto'``: Muon on the matrices of the network's layers before the last, and Adam on the rest.
    validation_fraction : float, default=0.1
        Share of the source held out, for the masses and the gap, which look at 16 384 of these rows at most. Of fewer
        than 20 distinct rows none is held out.
    device : 'auto', 'cpu', 'cuda' or torch.device, default='auto'
        ``'auto'`` is a GPU where torch sees one.
    random_state : int, RandomState instance or None, default=None
        Seeds weights and batches; the same int gives the same bits.
    verbose : bool or int, default=False
        Show time left, loss and mass error in a progress bar (with rich, where installed).
    callbacks : list of callable ``(step, problem, record) -> bool`` or None, default=None
        Called at every record, about fifty times per fit; True ends it.

    Attributes
    ----------
    target_points_ : ndarray of shape (m, n_features)
        The distinct target rows of positive weight, cell by cell of a k-d tree.
    target_indices_ : ndarray of shape (m,)
        Where each of them stands in the target sample: ``X_target[target_indices_]`` are the points.
    heights_ : ndarray of shape (m,)
        h, in the data's units: the image of x is ``target_points_[argmax(target_points_ @ x + heights_)]``, up to the
        rounding of these products, which `assign` avoids by centred rows.
    mass_error_ : float
        :math:`|w - \nu|_2`, the distance between the masses w of the cells and the target's weights, on held-out source
        rows: the root of an estimate without bias, or of that estimate's standard error if this is larger, which is
        about ``(2 / m)^(1/2) / n`` with n held-out rows. It is that of the hard map.
    dual_gap_ : float
        Cost of the hard map minus value of the dual, on held-out source rows and in the data's units, for laws moved to
        a common centre. It is :math:`\sum_i (w_i - \nu_i) g_i`, may have either sign, and is 0 for the optimal heights
        up to the noise of these rows.
    problem_ : neuralot.methods.OTNet
        The fitted method, for torch users; it sees standardised rows.
    units_ : neuralot.estimators.units.Units
        The centres, the common scale and the directions that standardise source and target.
    history_ : list of dict
        About fifty records: ``step``, ``seconds``, ``progress``, ``heights_loss``, ``n_monte_carlo``, ``mass_error``,
        and ``discrepancy``, the energy distance between images and target rows, in standardised units.
    n_iter_ : int
        Steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, a value with a ``message``.
    transport_cost_ : float
        Mean squared distance between source rows and their images, in the data's units.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where the source has column names.

    References
    ----------
    Li et al., "OT-Net: A reusable neural optimal transport solver", arXiv 2306.08233.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import OTNetTransport
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(1000, 2)), rng.normal(size=(50, 2)) + 5
    >>> transport = OTNetTransport(max_iter=200, random_state=0).fit(X, Y)
    >>> images = transport.transform(X)
    >>> bool((images[:, None] == Y).all(axis=2).any(axis=1).all())  # each is a row of Y
    True

    Other target rows, without a fit:

    >>> other = transport.retarget(rng.normal(size=(30, 2)) + 5)
    >>> other.transform(X).shape
    (1000, 2)
    """

    _parameters: ClassVar = BaseTransport._parameters | {
        "output": one_of("hard", "smooth"),
        "crease_distance": auto_or(DISTANCE),
        "height_network": none_or(FACTORY),
        "n_monte_carlo": auto_or(integer(1)),
        "mass_tol": number(0, closed=True),
    }
    _own_attributes = frozenset({"target_points_", "target_indices_", "mass_error_", "dual_gap_"})

    target_points_: np.ndarray
    target_indices_: np.ndarray
    mass_error_: float
    dual_gap_: float
    problem_: OTNet

    def __init__(
        self,
        *,
        output: str = "hard",
        crease_distance: float | str = "auto",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        activation: str = "auto",
        height_network: NetworkFactory | None = None,
        n_monte_carlo: int | str = "auto",
        mass_tol: float = 4e-3,
        max_iter: int | str = "auto",
        max_time: float | None = None,
        learning_rate_init: float | str = "auto",
        optimizer: str = "auto",
        validation_fraction: float = 0.1,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.output = output
        self.crease_distance = crease_distance
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.height_network = height_network
        self.n_monte_carlo = n_monte_carlo
        self.mass_tol = mass_tol
        self.max_iter = max_iter
        self.max_time = max_time
        self.learning_rate_init = learning_rate_init
        self.optimizer = optimizer
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @property
    def heights_(self) -> np.ndarray:
        """The heights of `target_points_`, in the data's units."""
        check_is_fitted(self)
        heights = self.problem_.heights.double().cpu().numpy() * self.units_.scale**2
        return heights - self.target_points_ @ self.units_.source_centre

    def assign(self, X: Any) -> np.ndarray:
        """Return which of `target_points_` each row is sent to.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
            Indices of rows of `target_points_`.
        """
        return self._of_rows(X, lambda problem, x: problem.assign(x)).astype(np.intp)

    def singularity_score(self, X: Any) -> np.ndarray:
        """Return the share of the blend beyond the singular set.

        Of the weights of the planes that compete at a row, the share that belongs to those beyond a crease: 0 inside of
        a smooth part, a half where two distant parts compete evenly, more where the image stands alone among others.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
        """
        self._check_parameters("crease_distance")
        return self._of_rows(X, lambda problem, x: self._blend(problem, x)[1])

    def retarget(self, X_target: Any, refine_steps: int = 0, *, sample_weight_target: Any = None) -> OTNetTransport:
        """Return a transport to other target rows, without a fit.

        The heights of the new rows come from the network.

        Rows that were there in the fit keep their heights. The masses of the new cells are not enforced: look at
        `mass_error_`, and let `refine_steps` bring them nearer to the weights, on source rows that the fit has kept, at
        most 32 768 of them. The steps are for the corrections alone, unless the error is larger than the norm of the
        weights, as for a target of another law: two fifths of them then train the network further.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            The new target rows, with the columns of the fit and in its units.
        refine_steps : int
            Steps with the parameters of the fit; `max_time`, `mass_tol` and `callbacks` count as they do there.
        sample_weight_target : array-like of shape (m,), optional

        Returns
        -------
        OTNetTransport
            Fitted, with the parameters of this one, which stays as it is.

        Raises
        ------
        ValueError
            As `fit`, or if the rows leave the directions in which those of the fit varied.

        Warns
        -----
        UserWarning
            If the rows vary by orders of magnitude more or less than those of the fit, or lie far from them, where no
            heights were learned. Move such rows by the difference of the means first, and the images back.
        """
        check_is_fitted(self)
        check_refine_steps(refine_steps)
        rows = self._check_target(X_target, "X_target")
        law = Law(rows, check_weights(sample_weight_target, "sample_weight_target", len(rows)))
        if not self.units_.covers_target(rows):
            raise ValueError(
                "X_target must stay in the directions in which the rows of the fit varied; call fit for this target"
            )
        warn_of_other_units(self.units_.from_target(law.some().rows))
        generator = seeded_generator(self.random_state, self.problem_.points.device)
        target = Standardised.of(law, self.units_.from_target, self.units_.n_directions, generator).sampler()
        chosen, weights = target.distinct()
        other = copy.copy(self)
        other.target_indices_ = law.order[chosen.cpu().numpy()]
        other.target_points_ = rows[other.target_indices_]
        problem = self.problem_.retarget(target.data[chosen], weights).requires_grad_(False)
        other.problem_, other.history_, other.n_iter_, other.status_ = problem, [], 0, Status.RETARGETED
        if refine_steps:
            near = problem.certificate().mass_error <= float(weights.norm())
            problem = problem if near else self.problem_.reopened()
            n_corrections = refine_steps if near else (1 - NETWORK_SHARE) * refine_steps
            budget = {"max_iter": refine_steps, "averaging": _averaging(n_corrections)}
            with torch.inference_mode(False), torch.enable_grad():
                solution = solve(
                    problem.requires_grad_(True),
                    problem.source_rows,
                    target,
                    max_time=self.max_time,
                    callbacks=[MassTolerance(self.mass_tol), *(self.callbacks or ())],
                    **settings(self._fitted_params, generator) | budget,
                )
            other.problem_ = _otnet(solution.problem.requires_grad_(False))
            other.history_, other.n_iter_, other.status_ = solution.history, solution.n_iter, solution.status
            if solution.n_iter == refine_steps and solution.status in (Status.MAX_ITER, Status.SHORT):
                other.status_ = Status.REFINED
        other._certify()
        source = self.units_.to_source(self.problem_.source_rows.double().cpu().numpy())
        other.transport_cost_ = other._transport_cost(Law(source, np.ones(len(source))))
        return other

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        n_features = rows.shape[1]
        chosen = self._given_or(
            {
                "hidden_layer_sizes": default_sizes(n_features),
                "activation": default_activation(n_features, min(n_source, n_target)),
                "learning_rate_init": default_rate(n_features),
                "n_monte_carlo": N_MONTE_CARLO,
            }
        )
        n_steps = default_steps(self.max_iter, self.max_time)
        of_every_fit = {"batch_size": chosen["n_monte_carlo"], "weight_decay": WEIGHT_DECAY}
        return {**chosen, **of_every_fit, "averaging": _averaging((1 - NETWORK_SHARE) * n_steps)}

    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        with seeded(generator):
            if params.height_network is None:
                potential: torch.nn.Module = Potential(n_features, params.hidden_layer_sizes, params.activation)
            else:
                potential = make_network(params.height_network, n_features, "height_network")
                check_height_network(potential, n_features)
        return OTNet(n_features, potential)

    def _of_target(self, law: Law, target: Standardised) -> dict[str, Any]:
        chosen, _ = target.sampler().distinct()
        indices = law.order[chosen.cpu().numpy()]
        return {"target_points_": law.rows[indices], "target_indices_": indices}

    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        held_out = source
        if len(source.distinct) >= FEWEST_TO_HOLD_OUT:
            source, held_out = source.split(self.validation_fraction, generator)
        _otnet(problem).keep(source.alike(MOST_KEPT), *held_out.distinct_rows(MOST_HELD_OUT))
        return source, target, MassTolerance(self.mass_tol)

    def _certify(self) -> None:
        certificate = self.problem_.certificate()
        self.mass_error_ = certificate.mass_error
        with np.errstate(over="ignore"):
            self.dual_gap_ = float(np.square(self.units_.scale) * certificate.gap)

    def _to_target(self, rows: np.ndarray, image: Image, out: np.ndarray) -> np.ndarray:
        self._check_parameters("output", "crease_distance")
        if self.output == "smooth":
            return super()._to_target(rows, lambda problem, x: self._blend(_otnet(problem), x)[0], out)
        index: Image = lambda problem, x: _otnet(problem).assign(x)[:, None]  # noqa: E731
        arrive: Return = lambda index, X: self.target_points_[index[:, 0].astype(np.intp)]  # noqa: E731
        return map_rows(self.problem_, rows, index, self.units_.from_source, arrive, out, exact=self._is_ours)

    def _blend(self, problem: OTNet, x: Tensor) -> tuple[Tensor, Tensor]:
        distance = self.crease_distance
        return problem.blend(x, None if isinstance(distance, str) else float(distance) / self.units_.scale)

    def _of_rows(self, X: Any, value: Callable[[OTNet, Tensor], Tensor]) -> np.ndarray:
        """One number for each row."""
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        image: Image = lambda problem, x: value(_otnet(problem), x)[:, None]  # noqa: E731
        out = np.empty((len(rows), 1), dtype=rows.dtype)
        enter = self.units_.from_source
        return map_rows(self.problem_, rows, image, enter, lambda values, X: values, out, exact=self._is_ours)[:, 0]


def _averaging(n_steps: float) -> float:
    """Return the decay of the weight average.

    It averages over a tenth of the steps, at most 100.
    """
    return min(max(0.0, 1 - AVERAGED / n_steps), 0.99)


def _otnet(problem: Problem) -> OTNet:
    assert isinstance(problem, OTNet)
    return problem
