"""OTP as an estimator."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot.costs import Cost
from neuralot.defaults import MANY_FEATURES
from neuralot.estimators.directions import MAX_FEATURES
from neuralot.estimators.game import GameTransport, former_parameters
from neuralot.estimators.state import FitParams
from neuralot.estimators.warn import warn_of_noise
from neuralot.methods import OTP
from neuralot.methods.smoothing import (
    MIN_ROWS_OF_THIN,
    NOISE_SHAPES,
    SCHEDULES,
    Smoothing,
    fills_its_span,
    is_flat,
    terminal_level,
)
from neuralot.parameters import auto_or, estimator, number, one_of, parameter
from neuralot.solve.problem import Problem

# last noise level for a source that is flat in some direction, below `MANY_FEATURES`
FLAT_LEVEL = 0.1


@estimator
class OTPTransport(GameTransport):
    r"""Optimal transport plan from an annealed, smoothed source (OTP).

    .. math:: \sup_V \inf_T \; E_{\mu, z}[c(\tilde x, T(\tilde x)) - V(T(\tilde x))] + E_\nu[V(y)],
              \quad \tilde x = x + \sqrt{\epsilon_k} z, \; z \sim N(0, I)

    The noise level decreases from `eps_max` to `eps_min` during the fit. The fitted map still takes noise: `sample`
    draws :math:`T(x + \sqrt{\epsilon_{min}} z)` from the plan pi(y | x). Unlike `SNOTTransport`, OTP is also correct
    for a source on a low-dimensional set, and where mass must split so that no map exists. The price is a bias where
    the noise is not confined to directions in which the source is thin, because noise of level `eps_min` remains.

    `transform` returns the conditional mean of the plan over 16 noise vectors, in antithetic pairs, which all rows
    share. Where the plan splits mass, this is the barycentre of the branches, which may not lie on the target: use
    `sample` there. ``sample(X, n_draws).mean(axis=0)`` averages over more draws.

    If there are fewer than 64 distinct target rows, and at least 8 distinct source rows for each, the images are target
    rows, in the cells of an optimal dual solution (semi-discrete transport), unless mass must split. If both samples
    are discrete, with at most 16 distinct rows, or 64 repeated ones, the plan from the source rows of the fit is
    optimal. POT computes both; the networks serve all other rows, `inverse_transform` and `potential`.

    `inverse_transform` maps to the *smoothed* source, and is determined only where the target has a density.

    Parameters
    ----------
    noise_shape : {'auto', 'isotropic', 'covariance', 'thin'}, default='auto'
        Covariance of the noise at level eps: ``'isotropic'`` is eps I, as in the papers; ``'covariance'`` is eps S,
        where S is the mean of the covariances of source and target; ``'thin'`` is the least noise that raises the
        covariance of the source to eps S (see `neuralot.methods.OTP`). ``'auto'`` is ``'thin'`` if the source fills the
        span of its covariance (`neuralot.methods.smoothing.fills_its_span`): a flat source then gets noise in the
        missing directions only, and a source with a density hardly any. Otherwise, and below 16 features for fewer than
        200 distinct rows, it is ``'covariance'``, and above 2048 features ``'isotropic'``.
    eps_max : float, default=0.25
        First noise level: the variance of the noise as a fraction of S, or of the mean variance per direction with
        ``'isotropic'``.
    eps_min : float or 'auto', default='auto'
        Last noise level, above 0. ``'auto'`` depends on the sample size and on an estimate of the intrinsic dimension
        of the source, see `neuralot.methods.smoothing.terminal_level`; it is at most `eps_max`. With thin noise, it is
        at least 0.1 if the source is flat in some direction, and equal to `eps_max` from 16 features on.
    schedule : {'geometric', 'linear', 'vp'}, default='geometric'
        How the noise level decreases in the first 70 % of the fit, after which it is `eps_min`. ``'vp'`` (variance
        preserving) also multiplies x by sqrt(1 - eps).
    condition : str, int, list of these or None, default=None
        Columns, by name or by integer position, that are conditions, such as a drug or a dose, in both samples. They
        are not moved and cost nothing: rows are transported to target rows of the same condition, and images keep
        their conditions. Columns of a categorical type or of strings are categories, and all others numbers, between
        which the map interpolates. The target is reweighted to the source's law of the conditions. See
        :ref:`conditions`.
    map_form : {'auto', 'gradient', 'network'} or callable ``n_features -> torch.nn.Module``, default='auto'
        Form of the map. ``'gradient'``: the map is derived from the gradient of a potential, both directions are
        learned, and `inverse_transform` is available. ``'network'``: the map is an unconstrained network, as in the
        papers, and any cost is possible. A function that returns a custom network for the map, (n, d) to (n, d), also
        selects the network form. ``'auto'`` is the gradient form for the squared Euclidean cost, and otherwise the
        network form.
    potential_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Function that returns a custom network for the potential, (n, d) to (n,) or (n, 1). None uses a built-in
        network. Potentials are Kantorovich potentials: in the gradient form with the squared Euclidean cost, the map is
        ``x - grad f(x) / 2``.
    cost : 'sqeuclidean', `neuralot.costs.Cost` or callable, default='sqeuclidean'
        Transport cost: squared Euclidean, a cost such as ``Lp(1.5)``, or a torch function of paired rows in the units
        of the data, (n, d) and (n, d) to (n,).
    critic_loss : CriticLoss or None, default=None
        Regularisers in the loss of the potentials. None is ``CriticLoss()``.
    optimizer : {'muon', 'adam'} or Optimizer, default='muon'
        Optimiser of the weights. An `Optimizer` also sets the weight decay, the number of updates of the map per update
        of the potential, and whether torch compiles the training step.
    unbalanced : {'kl', 'chi2'} or None, default=None
        Whether rows may gain or lose mass, and the divergence D that penalises it. The plan minimises
        ``<c, pi> + reg_marginal_source * D(pi_1 | mu) + reg_marginal_target * D(pi_2 | nu)``, where the laws mu and nu
        have mass 1. ``'kl'`` is ``E[s log s - s + 1]`` and ``'chi2'`` is ``E[(s - 1)^2]`` for a marginal with density s
        with respect to its law. `source_mass` and `target_mass` return these densities.
    reg_marginal_source, reg_marginal_target : float or 'auto', default='auto'
        Penalties of changes of the source's and the target's marginal, in units of the cost, as in POT: moving a row
        at a cost far above their sum is more expensive than losing it. With ``np.inf``, the marginal is that of the
        data; with two infinite penalties, the fit is the balanced one. ``'auto'`` is the mean of the samples' total
        variances around their common centre for the squared Euclidean cost; in general it is the cost of a difference
        of one standard deviation in each column, and for a custom cost the mean cost of random pairs.
    batch_size : int or 'auto', default='auto'
        Number of rows of each sample per step. A batch is a stratified sample. ``'auto'`` is 256; if both samples have
        at least 32 768 rows, it is 1024, or 512 from 64 features on. With `max_time`, a few steps are timed, and the
        batch size is the largest power of two from 64 to 4096 that leaves time for 1000 steps and for 2.5 steps per row
        of the batch.
    early_stopping : bool, default=False
        Whether to end the fit when the energy distance between held-out target rows and the images of held-out source
        rows stops decreasing. The weights with the smallest distance are restored. Distances count once the noise level
        is `eps_min`.
    n_iter_no_change : int, default=500
        Number of steps without an improvement of at least `tol` after which early stopping ends the fit. The distance
        is computed at every record.
    tol : float, default=1e-4
        Smallest decrease of the distance, in standardised units, that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` continues from the weights and the units of the previous fit, which must have the same networks.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Sizes of the hidden layers of each network. ``'auto'`` is (64, 64, 64) below 16 features, and (128, 128, 128)
        otherwise.
    activation : {'auto', 'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}, default='auto'
        Activation function of the networks. ``'auto'`` is ``'tanh'`` for at most two features and at least 32 768 rows
        in each sample, and ``'silu'`` otherwise.
    max_iter : int or 'auto', default='auto'
        Number of steps, that is, updates of the potential. ``'auto'`` is 1200, or unlimited if `max_time` is given.
    max_time : float or None, default=None
        Time limit of the fit in seconds. If `max_iter` is given too, the schedules follow the budget that is used up
        first. Fits that end at the time limit are not reproducible bit by bit.
    learning_rate_init : float or 'auto', default='auto'
        Initial learning rate of Adam. That of Muon is 10 times as large. Both follow a cosine schedule to zero.
        ``'auto'`` is 0.008 below 16 features, 0.006 up to 64 features, and then proportional to 1 / n_features. From 3
        to 63 features, it is multiplied by the square root of 1200 / n_steps for more than 1200 steps, and by 0.5 for
        more than 4800. This requires that the number of steps is known, from `max_iter` or from `max_time` with
        ``batch_size='auto'``.
    validation_fraction : float, default=0.1
        Fraction of each sample that early stopping holds out.
    device : 'auto', 'cpu', 'cuda' or torch.device, default='auto'
        Device of the fit. ``'auto'`` is a GPU if torch finds one, and otherwise the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the batches and the noise. The same int gives identical results, bit by bit.
    verbose : bool or int, default=False
        Whether to show a progress bar with the remaining time, the losses, the noise level and the discrepancy. The bar
        uses rich if installed.
    callbacks : list of callable ``(step, problem, record) -> bool`` or None, default=None
        Functions that are called at every record, about fifty times per fit. If one returns True, the fit ends.
    checkpoint : path-like or None, default=None
        File for the state of the fit. It is replaced every `checkpoint_interval` seconds and removed when the fit ends.
        If the process is killed, `fit` with the same samples and parameters continues from it. It contains arrays and
        JSON; reading it runs no code.
    checkpoint_interval : float, default=300.0
        Seconds between two checkpoints.

    Attributes
    ----------
    problem_ : neuralot.solve.problem.Problem
        The fitted method, for use with torch. Its inputs and outputs are standardised rows.
    units_ : neuralot.estimators.units.Units
        Centres, common scale and directions that standardise source and target.
    history_ : list of dict
        About fifty records with ``step``, ``seconds``, ``progress``, the loss of each player, ``eps``;
        ``discrepancy``, the energy distance between images and target rows; and ``gap``, the exact cost of some rows
        minus the dual value of the potential, not recorded if masses change. Both are in standardised units. If the
        affine map replaced the learned map, the last record also has ``affine``, the discrepancy of the affine map.
    n_iter_ : int
        Number of steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, with a ``message``.
    transport_cost_ : float
        Mean cost between source rows and their images, in the data's units. If masses change, each row counts with its
        mass: this is the total cost <c, pi> of the plan.
    eps_min_ : float
        Last noise level of the fit.
    reg_marginal_source_, reg_marginal_target_ : float
        Penalties of the fit, in units of the cost; inf if the transport is balanced.
    target_sample_ : ndarray of shape (k, n_features)
        At most 1000 target rows, for `uncertainty`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names of the source, if it has any.

    References
    ----------
    Choi, Choi and Kwon, "Overcoming Spurious Solutions in Semi-Dual Neural Optimal Transport: A Smoothing Approach
    for Learning the Optimal Transport Plan", ICML 2025, arXiv 2502.04583.
    Choi, Choi and Kang, "Generative modeling through the semi-dual formulation of unbalanced optimal transport",
    NeurIPS 2023.

    Examples
    --------
    In the transport from one segment to two parallel segments, every point must split its mass.

    >>> from neuralot import CriticLoss, OTPTransport, Optimizer
    >>> from neuralot.datasets import make_one_to_many
    >>> X, Y = make_one_to_many().sample(500, random_state=0)
    >>> transport = OTPTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> transport.sample(X, n_draws=8).shape
    (8, 500, 2)

    The settings of the papers, without regularisation:

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

    noise_shape: str = parameter(one_of("auto", *NOISE_SHAPES).kept_by_warm_start(), default="auto")
    eps_max: float = parameter(number(0), default=0.25)
    eps_min: float | str = parameter(auto_or(number(0)), default="auto")
    schedule: str = parameter(one_of(*SCHEDULES), default="geometric")

    _stratified_from: ClassVar = 0
    _has_plan: ClassVar = True
    _kept: ClassVar = frozenset({"affine_base"})

    @property
    def eps_min_(self) -> float:
        """Last noise level of the fit."""
        check_is_fitted(self)
        return float(self._fitted_params.eps_min)

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        n_features = rows.shape[1]
        has_many_features = MANY_FEATURES <= n_features <= MAX_FEATURES
        shape, level, eps_max = self.noise_shape, self.eps_min, float(self.eps_max)
        if shape == "auto" and n_features > MAX_FEATURES:
            shape = "isotropic"
        elif shape == "auto":
            is_large = has_many_features or n_source >= MIN_ROWS_OF_THIN
            shape = "thin" if is_large and fills_its_span(rows) else "covariance"
        flat = shape == "thin" and (has_many_features or is_flat(rows))
        default = terminal_level(rows, n_source)
        if flat:  # noise in a flat direction causes no bias, and more noise makes the map less steep
            default = eps_max if has_many_features else max(FLAT_LEVEL, default)
        default = min(default, eps_max)
        if level == "auto":
            level = default
        elif not self._continues:
            warn_of_noise(float(level), default)
        chosen = {"noise_shape": shape, "eps_min": level, "affine_base": has_many_features}
        # where mass splits, the map must be steep, which decay prevents, except in the enlarged thin directions; a
        # source with a density gets no thin noise, and needs the decay of SNOT
        usual_decay = 0.02
        if shape == "thin":
            usual_decay = 0.5 if has_many_features else 0.02 if flat else 0.3
        return {**chosen, **self._training(n_features, n_source, n_target, usual_decay)}

    def _method(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Problem:
        return OTP(
            n_features,
            self._form(n_features, params, cost, generator),
            smoothing=Smoothing(
                params.eps_max, params.eps_min, params.schedule, **former_parameters(params, "anneal_fraction")
            ),
            noise_shape=params.noise_shape,
            generator=generator,
            **former_parameters(params, "n_transform_draws"),
        )
