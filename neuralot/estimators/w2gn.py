"""W2GN as an estimator."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Generator, Tensor

from neuralot._torch import seeded
from neuralot.costs import Cost
from neuralot.defaults import MANY_ROWS, N_STEPS, default_batch, default_rate, default_sizes, default_steps
from neuralot.estimators.checks import check_networks
from neuralot.estimators.state import FitParams
from neuralot.estimators.streams import StreamTransport
from neuralot.forms import NetworkFactory, make_network
from neuralot.methods import W2GN
from neuralot.methods.w2gn import QuadraticConvexPotential, default_cycle_weight
from neuralot.parameters import FACTORY, auto_or, estimator, none_or, number, one_of, parameter
from neuralot.solve.problem import Problem


@estimator
class W2GNTransport(StreamTransport):
    r"""Transport by two convex potentials, without a game (W2GN).

    The map T and its inverse S are gradients of input-convex networks, which minimise one loss together:

    .. math:: \min_{\psi, \bar\psi} \; E_\mu[\psi(x)] + E_\nu[\langle S(y), y \rangle - \psi(S(y))]
              + \frac{\lambda}{2} \big( E_\nu |T(S(y)) - y|^2 + E_\mu |S(T(x)) - x|^2 \big),
              \quad T = \nabla \psi, \; S = \nabla \bar\psi

    The cycle terms replace the maximisation of the semi-dual game. The map is monotone for any weights: it is the
    optimal map from the source to the law of its images. The cost is the squared Euclidean one.

    The map is deterministic. As for `SNOTTransport`, the source must have a density: a map cannot split the mass of a
    source on a low-dimensional set, `OTPTransport` can. T is invertible, so the target needs a density too.
    `SNOTTransport` is usually faster and more accurate for maps that are not nearly affine.

    Parameters
    ----------
    cycle_weight : float or 'auto', default='auto'
        :math:`\lambda`, the weight of the cycle terms on standardised rows. ``'auto'`` is 2, or 100 / n_features for
        more than 50 features. With a smaller weight, S is an inaccurate inverse of T, and the first terms are no
        estimate of the dual. With a larger weight, fits are slower.
    potential_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Function that returns a custom network for each Kantorovich potential, (n, d) to (n,) or (n, 1), such that
        :math:`\psi = (|x|^2 - f) / 2` is convex, which is not checked; for example `neuralot.networks.ConvexPotential`.
        None uses a built-in network.
    activation : {'auto', 'celu', 'softplus'}, default='auto'
        Activation function of the networks, convex and increasing. ``'auto'`` is ``'softplus'``.
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
        otherwise.
    max_iter : int or 'auto', default='auto'
        Number of steps. ``'auto'`` is 1200, or unlimited if `max_time` is given.
    max_time : float or None, default=None
        Time limit of the fit in seconds. If `max_iter` is given too, the schedules follow the budget that is used up
        first. Fits that end at the time limit are not reproducible bit by bit.
    learning_rate_init : float or 'auto', default='auto'
        Initial learning rate of the quadratic term, by Adam. That of the layers is 5 times as large, because positive
        weights are parametrised by a softplus and change slowly. Both follow a cosine schedule to zero.
        ``'auto'`` is the value of `SNOTTransport`.
    validation_fraction : float, default=0.1
        Fraction of each sample that early stopping holds out.
    device : 'auto', 'cpu', 'cuda' or torch.device, default='auto'
        Device of the fit. ``'auto'`` is a GPU if torch finds one, and otherwise the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and the batches. The same int gives identical results, bit by bit.
    verbose : bool or int, default=False
        Whether to show a progress bar with the remaining time, the loss, and the discrepancy. The bar uses rich if
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
    problem_ : neuralot.methods.W2GN
        The fitted method, for use with torch. Its inputs and outputs are standardised rows.
    units_ : neuralot.estimators.units.Units
        Centres, common scale and directions that standardise source and target.
    history_ : list of dict
        About fifty records with ``step``, ``seconds``, ``progress``, the loss under the names
        ``source_potential_loss`` and ``target_potential_loss``; ``discrepancy``, the energy distance between images and
        target rows; and ``gap``, the exact cost of some rows minus the dual value of the potential. Both are in
        standardised units. If the affine map replaced the learned map, the last record also has
        ``affine``, the discrepancy of the affine map.
    n_iter_ : int
        Number of steps made.
    status_ : neuralot.solve.status.Status
        How the fit ended, with a ``message``.
    transport_cost_ : float
        Mean squared distance between source rows and their images, in the data's units.
    target_sample_ : ndarray of shape (k, n_features)
        At most 1000 target rows, for `uncertainty`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names of the source, if it has any.

    References
    ----------
    Korotin, Egiazarian, Asadulaev, Safin and Burnaev, "Wasserstein-2 generative networks", ICLR 2021.
    Amos, Xu and Kolter, "Input convex neural networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import W2GNTransport
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(500, 2)), rng.normal(size=(400, 2)) + 5
    >>> transport = W2GNTransport(max_iter=50, random_state=0).fit(X, Y)
    >>> images = transport.transform(X)
    >>> bool(np.abs(images.mean(axis=0) - Y.mean(axis=0)).max() < 0.5)
    True

    The inverse map, which is learned too:

    >>> bool(np.abs(transport.inverse_transform(images) - X).mean() < 0.5)
    True
    """

    cycle_weight: float | str = parameter(auto_or(number(0)), default="auto")
    potential_network: NetworkFactory | None = parameter(none_or(FACTORY), default=None)
    activation: str = parameter(one_of("auto", "celu", "softplus").kept_by_warm_start(), default="auto")

    # as for SNOT
    _needs_density: ClassVar = True
    _stratified_from: ClassVar = MANY_ROWS
    _advice: ClassVar = " If the source lies on a low-dimensional set, a map cannot split its mass: use OTPTransport."

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        n_features = rows.shape[1]
        n_steps = N_STEPS if self.max_time is not None else default_steps(self.max_iter, None)
        resolved = self._resolve_auto(
            {
                "cycle_weight": default_cycle_weight(n_features),
                "hidden_layer_sizes": default_sizes(n_features),
                "activation": "softplus",
                "learning_rate_init": default_rate(n_features, n_steps),
                "batch_size": default_batch(n_features, min(n_source, n_target)),
            }
        )
        return {**resolved, "optimizer": "adam", "weight_decay": 0.0}

    def _method(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Problem:
        with seeded(generator):
            potentials = tuple(
                QuadraticConvexPotential(n_features, params.hidden_layer_sizes, params.activation)
                if params.potential_network is None
                else make_network(params.potential_network, n_features, "potential_network")
                for _ in range(2)
            )
        method = W2GN(n_features, (potentials[0], potentials[1]), cycle_weight=params.cycle_weight)
        check_networks(method.form, n_features)
        return method
