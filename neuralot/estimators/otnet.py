"""OT-Net as an estimator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from neuralot._torch import seeded
from neuralot.costs import Cost
from neuralot.defaults import default_activation, default_rate, default_sizes, default_steps
from neuralot.estimators.checks import check_height_network
from neuralot.estimators.semidiscrete import SemiDiscreteTransport, averaging_over
from neuralot.estimators.state import FitParams
from neuralot.forms import NetworkFactory, make_network
from neuralot.methods import OTNet
from neuralot.methods.otnet import NETWORK_SHARE
from neuralot.networks import Potential
from neuralot.parameters import FACTORY, auto_or, estimator, none_or, one_of, parameter, size
from neuralot.solve.optimizers import OPTIMIZERS
from neuralot.solve.problem import Problem

N_MONTE_CARLO = 1024
WEIGHT_DECAY = 0.01


@estimator
class OTNetTransport(SemiDiscreteTransport):
    r"""Semi-discrete transport by Brenier heights from a network (OT-Net).

    .. math:: u(x) = \max_i \; \langle x, y_i \rangle + h_i, \quad T(x) = y_{i(x)}

    Every target row has a plane, and the image of x is the target row whose plane is the highest at x. A network learns
    the heights as a function of the target row. Then a correction of each height is learned, so that the mass of each
    cell matches the weight of its row. Images are target rows, so the map jumps between separate parts of the target
    and has no images between them. `retarget` computes the heights of new target rows with the network, without a fit.

    The source must have a density, as for `SNOTTransport`. On a low-dimensional set, several planes have the same
    value, and mass that must split goes to one target row.

    For any heights, T is the optimal map from the source to the law of its images. `mass_error_` and `dual_gap_`
    measure how far this law is from the target law.

    Parameters
    ----------
    height_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Function that returns a custom network, (m, d) to (m,) or (m, 1). None uses a built-in network. It represents
        the Kantorovich potential g of the target: the heights are ``(g(y) - |y|^2) / 2`` in standardised units. The
        value at a row must not depend on other rows, so batch normalisation raises an error.
    n_monte_carlo : int or 'auto', default='auto'
        Number of source rows per step from which the masses of the cells are estimated. When the mass error stops
        decreasing, it is doubled, up to eight times its initial value. ``'auto'`` is 1024.
    optimizer : {'muon', 'adam'}, default='muon'
        Optimiser of the network. ``'muon'`` uses Muon for the weight matrices of all layers except the last, if they
        have at least 8 inputs, and Adam for the other weights. ``'adam'`` uses Adam for all weights.
    output : {'hard', 'smooth'}, default='hard'
        Images returned by `transform` and `sample`. ``'hard'``: target rows. ``'smooth'``: weighted means of the target
        rows of the few highest planes, a map that is continuous wherever the target is connected. It does not blend
        rows across a crease of u, where the highest planes belong to distant target rows. `output` can be changed after
        the fit.
    crease_distance : float or 'auto', default='auto'
        Distance in the units of the data that defines a crease for ``'smooth'``: target rows are blended if they are
        linked by steps of at most this length. ``'auto'`` is the distance within which nine in ten target rows have six
        neighbours; with ``inf`` there are no creases. `crease_distance` can be changed after the fit.
    mass_tol : float, default=4e-3
        The fit ends when the square of `mass_error_` plus two standard errors is below the square of `mass_tol`. This
        requires many held-out rows, for example 12 500 for 200 target rows. With fewer, the fit makes all of its steps.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Sizes of the hidden layers of the network. ``'auto'`` is (64, 64, 64) below 16 features, and (128, 128, 128)
        otherwise.
    activation : {'auto', 'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}, default='auto'
        Activation function of the network. ``'auto'`` is ``'tanh'`` for at most two features and at least 32 768 rows
        in each sample, and ``'silu'`` otherwise.
    max_iter : int or 'auto', default='auto'
        Number of steps. ``'auto'`` is 1200, or unlimited if `max_time` is given. The first 40 % of the steps, or of the
        time, train the network. The other steps train the corrections.
    max_time : float or None, default=None
        Time limit of the fit in seconds. If `max_iter` is given too, the schedules follow the budget that is used up
        first.
    learning_rate_init : float or 'auto', default='auto'
        Initial learning rate of Adam for the network. That of Muon is 10 times as large. ``'auto'`` is 0.008 below 16
        features, 0.006 up to 64 features, and then proportional to 1 / n_features.
    validation_fraction : float, default=0.1
        Fraction of the source that is held out to estimate `mass_error_` and `dual_gap_`, which use at most 16 384 of
        these rows. If the source has fewer than 20 distinct rows, none are held out, and the estimates use all rows.
    device : 'auto', 'cpu', 'cuda' or torch.device, default='auto'
        Device of the fit. ``'auto'`` is a GPU if torch finds one, and otherwise the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and the batches. The same int gives identical results, bit by bit.
    verbose : bool or int, default=False
        Whether to show a progress bar with the remaining time, the loss and the mass error. The bar uses rich if
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
    target_points_ : ndarray of shape (m, n_features)
        The distinct target rows of positive weight, ordered by the cells of a k-d tree.
    target_indices_ : ndarray of shape (m,)
        Indices of these rows in the target sample: `target_points_` is ``X_target[target_indices_]``.
    heights_ : ndarray of shape (m,)
        Heights h in the data's units. The image of x is ``target_points_[argmax(target_points_ @ x + heights_)]``, up
        to rounding errors of this product. `assign` avoids these errors, because it centres the rows.
    mass_error_ : float
        Distance :math:`|w - \nu|_2` between the masses w of the cells of the hard map and the weights of the target,
        estimated on held-out source rows. It is the square root of an unbiased estimate of the squared distance, or of
        the standard error of this estimate if that is larger. The standard error is about ``(2 / m)^(1/2) / n`` for n
        held-out rows.
    dual_gap_ : float
        Cost of the hard map minus value of the dual, on held-out source rows and in the data's units, for laws shifted
        to a common centre. It is :math:`\sum_i (w_i - \nu_i) g_i` and may have either sign. For optimal heights it is 0
        up to the sampling error of these rows.
    problem_ : neuralot.methods.OTNet
        The fitted method, for use with torch. Its inputs and outputs are standardised rows.
    units_ : neuralot.estimators.units.Units
        Centres, common scale and directions that standardise source and target.
    history_ : list of dict
        About fifty records with ``step``, ``seconds``, ``progress``, ``heights_loss``, ``n_monte_carlo``,
        ``mass_error``; ``discrepancy``, the energy distance between images and target rows; and ``gap``, the exact cost
        of some rows minus the dual value of the potential. Both are in standardised units.
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

    A transport to other target rows, without another fit:

    >>> other = transport.retarget(rng.normal(size=(30, 2)) + 5)
    >>> other.transform(X).shape
    (1000, 2)
    """

    height_network: NetworkFactory | None = parameter(none_or(FACTORY), default=None)
    n_monte_carlo: int | str = parameter(auto_or(size(1)), default="auto")
    optimizer: str = parameter(one_of(*OPTIMIZERS).changeable_in_streams(), default="muon")

    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        n_features = rows.shape[1]
        resolved = self._resolve_auto(
            {
                "hidden_layer_sizes": default_sizes(n_features),
                "activation": default_activation(n_features, min(n_source, n_target)),
                "learning_rate_init": default_rate(n_features),
                "n_monte_carlo": N_MONTE_CARLO,
            }
        )
        n_steps = default_steps(self.max_iter, self.max_time)
        constants = {"batch_size": resolved["n_monte_carlo"], "weight_decay": WEIGHT_DECAY}
        return {**resolved, **constants, "averaging": averaging_over((1 - NETWORK_SHARE) * n_steps)}

    def _method(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Problem:
        with seeded(generator):
            if params.height_network is None:
                potential: torch.nn.Module = Potential(n_features, params.hidden_layer_sizes, params.activation)
            else:
                potential = make_network(params.height_network, n_features, "height_network")
                check_height_network(potential, n_features)
        return OTNet(n_features, potential)
