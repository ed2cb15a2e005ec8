"""SNOT as an estimator."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Generator, Tensor

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.defaults import MANY_ROWS, sizes_of_long_fits
from neuralot.estimators.game import GameTransport
from neuralot.estimators.state import FitParams
from neuralot.methods import SNOT
from neuralot.parameters import estimator, parameter, size
from neuralot.solve.problem import Problem


@estimator
class SNOTTransport(GameTransport):
    r"""Semi-dual neural optimal transport (SNOT): OTM and OTM-s.

    The transport is a deterministic map, or a stochastic map with a noise input.

    .. math:: \sup_V \inf_T \; E_\mu[c(x, T(x)) - V(T(x))] + E_\nu[V(y)]

    SNOT is fast and accurate for sources with a density. For a source on a low-dimensional set, the max-min problem may
    have spurious solutions whose map is not a transport map: use `OTPTransport` for such a source.

    If there are fewer than 64 distinct target rows, and at least 8 distinct source rows for each, the images are target
    rows, in the cells of an optimal dual solution (semi-discrete transport). If both samples are discrete, with at most
    16 distinct rows, or 64 repeated ones, the image of a source row of the fit is that with the largest share in the
    optimal plan. POT computes both; the networks serve all other rows, `inverse_transform` and `potential`.

    Parameters
    ----------
    noise_dim : int, default=0
        Dimension of the noise input of the map. With 0, the map is deterministic. With a larger value, the method is
        OTM-s, the map has the network form, and `transform` averages over 16 noise vectors.
    condition : str, int, list of these or None, default=None
        Columns, by name or by integer position, that are conditions, such as a drug or a dose, in both samples. They
        are not moved and cost nothing: rows are transported to target rows of the same condition, and images keep
        their conditions. Columns of a categorical type or of strings are categories, and all others numbers, between
        which the map interpolates. The target is reweighted to the source's law of the conditions. See
        :ref:`conditions`.
    map_form : {'auto', 'gradient', 'network'} or callable ``n_features -> torch.nn.Module``, default='auto'
        Form of the map. ``'gradient'``: the map is derived from the gradient of a potential, both directions are
        learned, and `inverse_transform` is available. ``'network'``: the map is an unconstrained network, as in the
        papers, and any cost is possible. A function that returns a custom network for the map, (n, d) to (n, d), or
        with noise (n, d) and (n, noise_dim) to (n, d), also selects the network form. ``'auto'`` is the gradient form
        for the squared Euclidean cost without noise input, and otherwise the network form.
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
        Number of rows of each sample per step. From 32 768 rows on, a batch is a stratified sample. ``'auto'`` is 256;
        if both samples have at least 32 768 rows, it is 1024, or 512 from 64 features on. With `max_time`, a few steps
        are timed, and the batch size is the largest power of two from 64 to 4096 that leaves time for 1000 steps and
        for 2.5 steps per row of the batch.
    early_stopping : bool, default=False
        Whether to end the fit when the energy distance between held-out target rows and the images of held-out source
        rows stops decreasing. The weights with the smallest distance are restored.
    n_iter_no_change : int, default=500
        Number of steps without an improvement of at least `tol` after which early stopping ends the fit. The distance
        is computed at every record.
    tol : float, default=1e-4
        Smallest decrease of the distance, in standardised units, that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` continues from the weights and the units of the previous fit, which must have the same networks.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Sizes of the hidden layers of each network. ``'auto'`` is (64, 64, 64) below 16 features, and (128, 128, 128)
        otherwise. In the gradient form with ``batch_size='auto'``, it is (256, 256, 256) from 64 features and 262 144
        rows on if `max_time` allows 6000 steps of 1024 rows.
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
        Whether to show a progress bar with the remaining time, the losses, and the discrepancy. The bar uses rich if
        installed.
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
        About fifty records with ``step``, ``seconds``, ``progress``, the loss of each player; ``discrepancy``, the
        energy distance between images and target rows; and ``gap``, the exact cost of some rows minus the dual value of
        the potential, not recorded if masses change. Both are in standardised units. If the affine map replaced the
        learned map, the last record also has ``affine``, the discrepancy of the affine map.
    n_iter_ : int
        Number of steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, with a ``message``.
    transport_cost_ : float
        Mean cost between source rows and their images, in the data's units. If masses change, each row counts with its
        mass: this is the total cost <c, pi> of the plan.
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
    Rout, Korotin and Burnaev, "Generative modeling with optimal transport maps", ICLR 2022.
    Choi, Choi and Kang, "Generative modeling through the semi-dual formulation of unbalanced optimal transport",
    NeurIPS 2023.
    Fan, Liu, Ma, Zhou and Chen, "Neural Monge map estimation and its applications", TMLR 2023.
    Buzun, Bobrin and Dylov, "Expectile regularization for fast and accurate training of neural optimal transport",
    NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import CriticLoss, Optimizer, SNOTTransport
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(500, 2)), rng.normal(size=(400, 2)) + 5
    >>> transport = SNOTTransport(max_iter=50, random_state=0).fit(X, Y)
    >>> transport.transform(X).shape
    (500, 2)
    >>> bool(np.abs(transport.transform(X).mean(axis=0) - Y.mean(axis=0)).max() < 0.5)
    True

    The settings of the papers, without regularisation:

    >>> plain = SNOTTransport(
    ...     map_form="network",
    ...     critic_loss=CriticLoss(expectile_weight=0),
    ...     optimizer=Optimizer("adam", weight_decay=0, n_map_steps=10),
    ...     learning_rate_init=0.001,
    ...     max_iter=3000,
    ... )
    """

    noise_dim: int = parameter(size(0), default=0)

    _needs_density: ClassVar = True
    # with few rows, the noise of independent batches reduces overfitting
    _stratified_from: ClassVar = MANY_ROWS
    _advice: ClassVar = " If the source lies on a low-dimensional set, SNOT has spurious solutions: use OTPTransport."

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        squared = isinstance(self._cost, SquaredEuclidean)
        usual_decay = 0.3 if squared or self.map_form == "gradient" else 0.15
        return self._training(rows.shape[1], n_source, n_target, usual_decay)

    def _sizes_of_long_fits(self, n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...] | None:
        is_auto = self.hidden_layer_sizes == "auto" and self.potential_network is None
        return sizes_of_long_fits(n_features, n_rows, n_draws) if is_auto else None

    def _method(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Problem:
        return SNOT(n_features, self._form(n_features, params, cost, generator))
