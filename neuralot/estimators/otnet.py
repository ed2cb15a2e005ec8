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
from neuralot.forms import NetworkFactory, make_network
from neuralot.methods import OTNet
from neuralot.methods.otnet import NETWORK_SHARE
from neuralot.networks import Potential
from neuralot.parameters import FACTORY, auto_or, estimator, integer, none_or, one_of, parameter
from neuralot.solve.optimizers import OPTIMIZERS
from neuralot.solve.problem import Problem

N_MONTE_CARLO = 1024
WEIGHT_DECAY = 0.01


@estimator
class OTNetTransport(SemiDiscreteTransport):
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
    height_network : callable ``n_features -> torch.nn.Module`` or None, default=None
        Your own network, (m, d) to (m,) or (m, 1): the Kantorovich potential g on the target's side, with heights
        ``(g(y) - |y|^2) / 2`` in standardised units. Batch normalisation is refused: a height must not depend on which
        rows are asked together.
    n_monte_carlo : int or 'auto', default='auto'
        Source rows per step, from which the masses are estimated; doubled on a plateau, up to eight times. ``'auto'``
        is 1024.
    optimizer : {'muon', 'adam'}, default='muon'
        ``'muon'``: Muon on the matrices of the network's layers before the last, and Adam on the other weights.
    output : {'hard', 'smooth'}, default='hard'
        What `transform` and `sample` return, also after a fit: target rows, or a blend of the nearest few, which is
        continuous wherever the target hangs together. It does not blend across a crease of u, where the planes that
        compete belong to distant target rows.
    crease_distance : float or 'auto', default='auto'
        Target rows are blended that hang together in steps of at most this, in the data's units; a longer step leads
        across a crease. ``'auto'`` is the distance within which nine in ten target rows have six neighbours, ``inf``
        blends across everything. It may be set after a fit, as `output`.
    mass_tol : float, default=4e-3
        The fit ends when the square of `mass_error_` is below that of `mass_tol` by two standard errors. That takes
        many held-out rows, 12 500 of them for 200 targets; with fewer the fit makes all of its steps.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        ``'auto'`` is (64, 64, 64) below 16 features, else (128, 128, 128).
    activation : {'auto', 'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}, default='auto'
        ``'auto'`` is ``'tanh'`` for two features and at least 32 768 rows, else ``'silu'``.
    max_iter : int or 'auto', default='auto'
        Steps; ``'auto'`` is 1200, or no limit beside `max_time`. Four tenths of them, or of the time, are for the
        network, the others for the corrections.
    max_time : float or None, default=None
        Seconds after which the fit ends; its schedules follow the budget that is used up first.
    learning_rate_init : float or 'auto', default='auto'
        Adam's first rate for the network; Muon's is 10 times that. ``'auto'`` is 0.008 below 16 features, 0.006 up to
        64, and then falls as 1 / n_features.
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

    height_network: NetworkFactory | None = parameter(none_or(FACTORY), default=None)
    n_monte_carlo: int | str = parameter(auto_or(integer(1)), default="auto")
    optimizer: str = parameter(one_of(*OPTIMIZERS).of_training(), default="muon")

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
        return {**chosen, **of_every_fit, "averaging": averaging_over((1 - NETWORK_SHARE) * n_steps)}

    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        with seeded(generator):
            if params.height_network is None:
                potential: torch.nn.Module = Potential(n_features, params.hidden_layer_sizes, params.activation)
            else:
                potential = make_network(params.height_network, n_features, "height_network")
                check_height_network(potential, n_features)
        return OTNet(n_features, potential)
