"""OTP as an estimator."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot.costs import Cost
from neuralot.defaults import MANY_FEATURES
from neuralot.estimators.game import GameTransport, of_old_files
from neuralot.estimators.units import MOST_FEATURES
from neuralot.methods import OTP
from neuralot.methods.smoothing import NOISE_SHAPES, SCHEDULES, Smoothing, fills_its_span, terminal_level
from neuralot.parameters import auto_or, estimator, number, one_of, parameter
from neuralot.solve.problem import Problem


@estimator
class OTPTransport(GameTransport):
    r"""Optimal transport plan from an annealed, smoothed source (OTP).

    .. math:: \sup_V \inf_T \; E_{\mu, z}[c(\tilde x, T(\tilde x)) - V(T(\tilde x))] + E_\nu[V(y)],
              \quad \tilde x = x + \sqrt{\epsilon_k} z, \; z \sim N(0, I)

    The level falls from `eps_max` to `eps_min` and stays there: `sample` draws :math:`T(x + \sqrt{\epsilon_{min}} z)`
    from the plan pi(y | x). It is right where `SNOTTransport` is not, when the source lives on a low-dimensional set,
    and where no map exists because mass must split. Its price is the bias of the terminal noise.

    `transform` is the conditional mean of the plan over 16 noise vectors, in antithetic pairs, shared by all rows.
    Where the plan splits mass that is the barycentre of the branches, which may lie off the target: call `sample`
    there. ``sample(X, n_draws).mean(axis=0)`` averages over more draws.

    `inverse_transform` leads back to the *smoothed* source, and is determined only where the target has a density.

    Parameters
    ----------
    noise_shape : {'auto', 'isotropic', 'covariance', 'thin'}, default='auto'
        The noise's covariance: that of the papers, eps I; eps S, with the mean S of the covariances of source and
        target; or what the source lacks of eps S (see `neuralot.methods.OTP`). ``'auto'`` is ``'thin'`` from 16
        features on where the source fills the span of its covariance (`neuralot.methods.smoothing.fills_its_span`),
        else ``'covariance'``, and ``'isotropic'`` above 2048 features.
    eps_max : float, default=0.25
        First variance of the noise, as a share of S, or of the mean variance per direction if ``'isotropic'``.
    eps_min : float or 'auto', default='auto'
        Last variance, above 0. ``'auto'`` follows the sample size n and an estimate m of the source's intrinsic
        dimension, see `neuralot.methods.smoothing.terminal_level`; at most `eps_max`, and `eps_max` itself with thin
        noise, which leaves directions of more variance alone.
    schedule : {'geometric', 'linear', 'vp'}, default='geometric'
        How the level falls in the first 70 % of the fit; it then stays at `eps_min`. ``'vp'`` (variance preserving)
        also shrinks x by sqrt(1 - eps).
    map_form : {'auto', 'gradient', 'network'} or callable ``n_features -> torch.nn.Module``, default='auto'
        ``'gradient'``: the map comes from a potential's gradient, both directions are learned, and `inverse_transform`
        exists. ``'network'``: a free network, the papers' form, for any cost. A callable: your own network as the map,
        (n, d) to (n, d). ``'auto'`` is the gradient form for the squared Euclidean cost,
        else the network form.
    potential_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Your own network as the potential, (n, d) to (n,) or (n, 1). Potentials are Kantorovich's: in the gradient form
        the map is ``x - grad f(x) / 2``.
    cost : 'sqeuclidean', `neuralot.costs.Cost` or callable, default='sqeuclidean'
        ``Lp(1.5)``, or a function of paired rows (n, d), (n, d) -> (n,) in torch and in the data's units.
    critic_loss : CriticLoss or None, default=None
        The regularisers of the potentials' loss; None is ``CriticLoss()``.
    optimizer : {'muon', 'adam'} or Optimizer, default='muon'
        What updates the weights. `Optimizer` also sets the weight decay, the number of updates of the map per update of
        the potential, and whether torch compiles the step.
    batch_size : int or 'auto', default='auto'
        Rows of each side per update, a stratified sample. ``'auto'`` is 256, and from 32 768 rows on 1024, or 512 from
        64 features on. With `max_time` on a CPU a few steps are timed, and it is the largest power of two from 64 to
        4096 for which there is time for 1000 steps, and for 2.5 steps per row.
    early_stopping : bool, default=False
        End the fit when the energy distance between held-out images and held-out target rows stops falling, and
        keep the best weights; it counts from where eps has reached `eps_min`.
    n_iter_no_change : int, default=500
        Steps without an improvement of at least `tol` after which the fit ends early; looked at in every record.
    tol : float, default=1e-4
        In standardised units.
    warm_start : bool, default=False
        Begin from the weights and the scaling of the previous fit; its networks must be the same.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Of every network; ``'auto'`` is (64, 64, 64) below 16 features, else (128, 128, 128).
    activation : {'auto', 'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}, default='auto'
        ``'auto'`` is ``'tanh'`` for two features and at least 32 768 rows, else ``'silu'``.
    max_iter : int or 'auto', default='auto'
        Updates of the potential; ``'auto'`` is 1200, or no limit beside `max_time`.
    max_time : float or None, default=None
        Seconds after which the fit ends; its schedules follow the budget that is used up first. Two fits that it ends
        are not bit-equal.
    learning_rate_init : float or 'auto', default='auto'
        Adam's first rate; Muon's is 10 times that. Both follow a cosine to zero. ``'auto'`` is 0.008 below 16
        features, 0.006 up to 64, and then falls as 1 / n_features. From 3 to 63 features it also falls with the root of
        the steps beyond 1200, to a half at 4800, where `max_iter` tells them, or `max_time` and a batch of our own.
    validation_fraction : float, default=0.1
        Share of each sample held out for early stopping.
    device : 'auto', 'cpu', 'cuda' or torch.device, default='auto'
        ``'auto'`` is a GPU where torch sees one.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, batches and noise; the same int gives the same bits.
    verbose : bool or int, default=False
        Show time left, losses, smoothing level and discrepancy in a progress bar (with rich, where installed).
    callbacks : list of callable ``(step, problem, record) -> bool`` or None, default=None
        Called at every record, about fifty times per fit; True ends it.

    Attributes
    ----------
    problem_ : neuralot.solve.problem.Problem
        The fitted method, for torch users; it sees standardised rows.
    units_ : neuralot.estimators.units.Units
        The centres, the common scale and the directions that standardise source and target.
    history_ : list of dict
        About fifty records: ``step``, ``seconds``, ``progress``, the players' losses, ``eps``, and ``discrepancy``, the
        energy distance between images and target rows, in standardised units. Where the affine map was taken
        instead of what was learned, the last one has its discrepancy as ``affine``.
    n_iter_ : int
        Steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, a value with a ``message``.
    transport_cost_ : float
        Mean cost between source rows and their images, in the data's units.
    eps_min_ : float
        The last level used.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where the source has column names.

    References
    ----------
    Choi, Choi and Kwon, "Overcoming Spurious Solutions in Semi-Dual Neural Optimal Transport: A Smoothing Approach
    for Learning the Optimal Transport Plan", ICML 2025, arXiv 2502.04583.

    Examples
    --------
    A segment to two parallel segments: every point must split its mass.

    >>> from neuralot import CriticLoss, OTPTransport, Optimizer
    >>> from neuralot.datasets import make_one_to_many
    >>> X, Y = make_one_to_many().sample(500, random_state=0)
    >>> transport = OTPTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> transport.sample(X, n_draws=8).shape
    (8, 500, 2)

    The papers' plain settings:

    >>> plain = OTPTransport(
    ...     map_form="network",
    ...     critic_loss=CriticLoss(expectile_weight=0),
    ...     noise_shape="isotropic",
    ...     schedule="linear",
    ...     optimizer=Optimizer("adam", weight_decay=0, n_map_steps=10),
    ...     learning_rate_init=0.001,
    ...     max_iter=3000,
    ... )
    """

    noise_shape: str = parameter(one_of("auto", *NOISE_SHAPES).kept_when_warm(), default="auto")
    eps_max: float = parameter(number(0), default=0.25)
    eps_min: float | str = parameter(auto_or(number(0)), default="auto")
    schedule: str = parameter(one_of(*SCHEDULES), default="geometric")

    _stratified_from: ClassVar = 0
    _kept: ClassVar = frozenset({"affine_base"})

    @property
    def eps_min_(self) -> float:
        """The last smoothing level of the fit."""
        check_is_fitted(self)
        return self._fitted_params["eps_min"]

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        n_features = rows.shape[1]
        many = MANY_FEATURES <= n_features <= MOST_FEATURES
        shape, level = self.noise_shape, self.eps_min
        if shape == "auto" and n_features > MOST_FEATURES:
            shape = "isotropic"
        elif shape == "auto":
            shape = "thin" if many and fills_its_span(rows) else "covariance"
        if level == "auto":
            level = self.eps_max if shape == "thin" else min(terminal_level(rows, n_source), self.eps_max)
        chosen = {"noise_shape": shape, "eps_min": level, "affine_base": many}
        # where mass splits the map must be steep, which decay forbids; not so for enlarged thin directions
        usual_decay = 0.5 if many and shape == "thin" else 0.02
        return {**chosen, **self._training(n_features, n_source, n_target, usual_decay)}

    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        return OTP(
            n_features,
            self._form(n_features, params, cost, generator),
            smoothing=Smoothing(
                params.eps_max, params.eps_min, params.schedule, **of_old_files(params, "anneal_fraction")
            ),
            noise_shape=params.noise_shape,
            generator=generator,
            **of_old_files(params, "n_transform_draws"),
        )
