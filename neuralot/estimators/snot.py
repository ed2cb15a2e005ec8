"""SNOT as an estimator."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Generator, Tensor

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.defaults import MANY_ROWS, sizes_of_long_fits
from neuralot.estimators.game import GameTransport
from neuralot.methods import SNOT
from neuralot.parameters import estimator, integer, parameter
from neuralot.solve.problem import Problem


@estimator
class SNOTTransport(GameTransport):
    r"""Semi-dual neural optimal transport (SNOT): OTM and OTM-s.

    A deterministic map, or a stochastic map with a noise input.

    .. math:: \sup_V \inf_T \; E_\mu[c(x, T(x)) - V(T(x))] + E_\nu[V(y)]

    Fast and accurate for sources with a density. Where the source lives on a low-dimensional set the game has
    spurious solutions, which are no transport: use `OTPTransport` there.

    Parameters
    ----------
    noise_dim : int, default=0
        Width of the map's noise input. Above 0 the method is OTM-s, in the network form, and `transform` averages over
        16 noise vectors.
    map_form : {'auto', 'gradient', 'network'} or callable ``n_features -> torch.nn.Module``, default='auto'
        ``'gradient'``: the map comes from a potential's gradient, both directions are learned, and `inverse_transform`
        exists. ``'network'``: a free network, the papers' form, for any cost. A callable: your own network as the map,
        (n, d) to (n, d), or with noise (n, d), (n, noise_dim) to (n, d). ``'auto'`` is the gradient form for the
        squared Euclidean cost without noise input, else the network form.
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
        Rows of each side per update, a stratified sample from 32 768 rows on. ``'auto'`` is 256, and from so many rows
        on 1024, or 512 from 64 features on. With `max_time` on a CPU a few steps are timed, and it is the largest power
        of two from 64 to 4096 for which there is time for 1000 steps, and for 2.5 steps per row.
    early_stopping : bool, default=False
        End the fit when the energy distance between held-out images and held-out target rows stops falling, and
        keep the best weights.
    n_iter_no_change : int, default=500
        Steps without an improvement of at least `tol` after which the fit ends early; looked at in every record.
    tol : float, default=1e-4
        In standardised units.
    warm_start : bool, default=False
        Begin from the weights and the scaling of the previous fit; its networks must be the same.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Of every network; ``'auto'`` is (64, 64, 64) below 16 features, else (128, 128, 128). On a CPU, in the
        gradient form and with ``batch_size='auto'``, it is (256, 256, 256) from 64 features and 262 144 rows on where
        `max_time` allows 6000 steps of 1024 rows.
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
        About fifty records: ``step``, ``seconds``, ``progress``, the players' losses, and ``discrepancy``, the
        energy distance between images and target rows, in standardised units. Where the affine map was taken
        instead of what was learned, the last one has its discrepancy as ``affine``.
    n_iter_ : int
        Steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, a value with a ``message``.
    transport_cost_ : float
        Mean cost between source rows and their images, in the data's units.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where the source has column names.

    References
    ----------
    Rout, Korotin and Burnaev, "Generative modeling with optimal transport maps", ICLR 2022.
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

    The papers' plain settings:

    >>> plain = SNOTTransport(
    ...     map_form="network",
    ...     critic_loss=CriticLoss(expectile_weight=0),
    ...     optimizer=Optimizer("adam", weight_decay=0, n_map_steps=10),
    ...     learning_rate_init=0.001,
    ...     max_iter=3000,
    ... )
    """

    noise_dim: int = parameter(integer(0), default=0)

    # of few rows a fit learns their noise, and that of batches keeps it from it
    _stratified_from: ClassVar = MANY_ROWS
    _advice: ClassVar = " If the source lies on a thin set, SNOT has spurious solutions: use OTPTransport."

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        squared = isinstance(self._cost, SquaredEuclidean)
        usual_decay = 0.3 if squared or self.map_form == "gradient" else 0.15
        return self._training(rows.shape[1], n_source, n_target, usual_decay)

    def _sizes_of_long_fits(self, n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...] | None:
        is_chosen_here = self.hidden_layer_sizes == "auto" and self.potential_network is None
        return sizes_of_long_fits(n_features, n_rows, n_draws) if is_chosen_here else None

    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        return SNOT(n_features, self._form(n_features, params, cost, generator))
