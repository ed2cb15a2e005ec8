"""OT-Net: semi-discrete transport with Brenier heights from a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from neuralot._torch import seeded
from neuralot.forms.losses import Gradients, evaluate
from neuralot.methods.certificate import Certificate, square_error, unbiased_square
from neuralot.methods.planes import Planes, indices_of, mean_margin, reach_of
from neuralot.networks import Heights, Potential
from neuralot.sampling import ArraySampler, Sampler
from neuralot.solve.distributed import current
from neuralot.solve.optimizers import AtRate, Descent, UpdateRule, make_optimizers
from neuralot.solve.problem import Batch, Batches, Problem

# state of a run: stage, factor on the batch size, sum of squared mass errors in a window, best mean so far
RUN_STATE = ("_by_network", "_growth", "_error", "_best_error", "_n_steps", "_n_monte_carlo")
# buffers with one entry per target point or per row of a law
LAW_BUFFERS = ("points", "weights", "base", "source_rows", "held_out_rows", "held_out_weights")
N_POINTS = 4096
NETWORK_SHARE = 0.4
WINDOW = 50
MAX_GROWTH = 8
PLATEAU = 0.8
STEP = 0.5
N_BLENDED = 16
MIN_HITS = 0.1
N_MARGIN_ROWS = 1024


class OTNet(Problem):
    r"""Semi-discrete optimal transport by a Brenier potential.

    The potential is the upper envelope of one plane per target point:

    .. math:: u(x) = \max_i \; \langle x, y_i \rangle + h_i, \quad T(x) = y_{i(x)}, \quad
              \min_h \; E_\mu[u(x)] - \sum_i \nu_i h_i

    The derivative with respect to :math:`h_i` is :math:`w_i - \nu_i`, where :math:`w_i` is the source mass of the cell
    in which plane i is the highest. For any heights, T is the optimal map from :math:`\mu` to the law with the masses
    w; the heights are optimal when w is :math:`\nu`.

    Training has two stages. In the first, for the share `network_share` of a run, a network predicts the heights,
    :math:`h(y) = (g_\theta(y) - |y|^2) / 2`. A step draws equally many source and target rows; its cost does not depend
    on the number of points. In the second stage the network is fixed and each point has a learned correction. A step is
    proportional to :math:`(\nu_i - w_i) / \nu_i` and to the mean margin between the two highest planes, the size of a
    Newton step. When the mass error stops decreasing, the batch size doubles, up to eight times its initial value.

    Parameters
    ----------
    n_features : int
    potential : torch.nn.Module, optional
        :math:`g_\theta`, the Kantorovich potential of the target, (n, d) -> (n,) or (n, 1). Its value at a row must
        not depend on other rows: no batch normalisation.
    network_share : float
        Share of a run in the first stage. With 0, only the corrections are trained, without a network.
    generator : torch.Generator, optional
        Seeds the weights of the default potential.

    Attributes
    ----------
    points, weights : Tensor of shape (m, d), (m,)
        The target: distinct points, and weights that sum to one.

    References
    ----------
    Li et al., "OT-Net: A reusable neural optimal transport solver", arXiv 2306.08233.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods import OTNet
    >>> from neuralot.solve import solve
    >>> normal = lambda n, generator: torch.randn(n, 2, generator=generator)
    >>> points = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> problem = solve(OTNet(n_features=2), normal, points, max_iter=50).problem
    >>> problem.map(torch.tensor([[-2.0, 3.0], [1.5, 0.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """

    points: Tensor
    weights: Tensor
    base: Tensor
    margin: Tensor
    reach: Tensor
    is_based: Tensor
    rate: Tensor
    source_rows: Tensor
    held_out_rows: Tensor
    held_out_weights: Tensor

    def __init__(
        self,
        n_features: int,
        potential: nn.Module | None = None,
        *,
        network_share: float = NETWORK_SHARE,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if potential is None:
            with seeded(torch.Generator().manual_seed(0) if generator is None else generator):
                potential = Potential(n_features)
        self.networks = nn.ModuleDict({"heights": Heights(potential)})
        self.players = {"heights": 1}
        self.capturable = False
        self.network_share = network_share
        for name in ("points", "source_rows", "held_out_rows"):
            self.register_buffer(name, torch.zeros(0, n_features))
        for name in ("weights", "base", "held_out_weights"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("margin", torch.tensor(1.0))
        self.register_buffer("reach", torch.tensor(0.0))
        self.register_buffer("is_based", torch.tensor(False))
        # current learning rates as a share of the initial ones
        self.register_buffer("rate", torch.zeros(()), persistent=False)
        self._by_network = False
        self._growth = 1
        self._error = torch.zeros((), dtype=torch.double)
        self._best_error = math.inf
        self._n_steps = self._n_monte_carlo = 0
        self._planes: Planes | None = None  # planes of the corrections, reused within a window

    # hooks of the training loop

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        if not self.is_based:
            if isinstance(target, ArraySampler):
                indices, weights = target.distinct()
                self._set_points(target.data[indices], weights)
            else:
                self._set_points(target(N_POINTS, generator), torch.full((N_POINTS,), 1 / N_POINTS))
        self._by_network = not self.is_based
        # corrections of nearly optimal heights need the largest batches from the start
        self._growth, self._best_error = MAX_GROWTH if self.is_based else 1, math.inf
        self._begin_window()
        self.follow(0.0)

    def follow(self, progress: float) -> dict[str, float]:
        if self._by_network and progress >= self.network_share:
            self._set_base()
            self._by_network = False
        if self._n_steps == WINDOW:
            error = current().from_first(float(self._error) / WINDOW)
            if error > PLATEAU * self._best_error:
                self._growth = min(2 * self._growth, MAX_GROWTH)
            self._best_error = min(error, self._best_error)
            self._begin_window()
        # the corrections follow the cosine schedule of the whole run, without a restart at 1
        stage_progress = progress / self.network_share if self._by_network else progress
        self.rate.fill_((1 + math.cos(math.pi * stage_progress)) / 2)
        return {"n_monte_carlo": self._n_monte_carlo}

    def optimizers(
        self, names: Sequence[str], kind: str, learning_rate: float | None, weight_decay: float
    ) -> list[UpdateRule]:
        network_optimizers = make_optimizers(self._heights.potential, kind, learning_rate, weight_decay)
        # the gradient of the corrections is already the step, see `_correction_loss`
        corrections_optimizer = Descent([self._heights.corrections], 1.0)
        return [AtRate(optimizer, self.rate) for optimizer in (*network_optimizers, corrections_optimizer)]

    def gradients(self, names: Sequence[str], batches: Batches) -> Gradients:
        return super().gradients(names, lambda times: batches(times * self._growth))

    def loss(self, player: str, batch: Batch) -> Tensor:
        self._n_monte_carlo = current().size * len(batch.x)
        return self._network_loss(batch.x, batch.y) if self._by_network else self._correction_loss(batch.x)

    def get_extra_state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in RUN_STATE}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def map(self, x: Tensor) -> Tensor:
        heights = self.heights  # (m,); evaluates the network in the first stage
        indices = Planes(self.points, heights).highest(x)  # (n,)
        return self.points[indices] + 0 * heights[indices, None]  # (n, d); not finite if the heights are not

    @torch.no_grad()
    def potential(self, y: Tensor) -> Tensor:
        heights = self._by(y)  # (n,)
        old_indices = indices_of(self.points, y)
        is_old = old_indices >= 0
        heights = torch.where(is_old, self.heights[old_indices.clamp(min=0)], heights)
        return 2 * heights + y.square().sum(1)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        # hook of torch: buffers of the laws take the shapes in the state dict
        for name in LAW_BUFFERS:
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != getattr(self, name).shape:
                setattr(self, name, torch.zeros_like(saved, device=self.margin.device))
        if self.weights.shape != self._heights.corrections.shape:
            self._heights.corrections = nn.Parameter(torch.zeros_like(self.weights))
        super()._load_from_state_dict(state_dict, prefix, *args)

    # the learned map

    @property
    def heights(self) -> Tensor:
        """Heights h_i of all points, shape (m,)."""
        with torch.no_grad():
            return self.base + self._heights.corrections if self.is_based else self._by(self.points)

    def assign(self, x: Tensor) -> Tensor:
        """Return the index of each row's target point, shape (n,)."""
        return Planes(self.points, self.heights).highest(x)

    def blend(self, x: Tensor, reach: float | None = None) -> tuple[Tensor, Tensor]:
        r"""Return images under a continuous map, and the excluded weight.

        An image is a weighted mean of the points of the highest planes, shape (n, d). The weights decay exponentially
        with the distance to the highest plane in mean margins: nearly the gradient of a smooth convex function.

        The planes of y_i and y_j are inclined by the angle :math:`\arctan |y_j - y_i|`. Where two planes meet at a
        large angle, u has a crease and the map a jump. The target determines which angles are large: a point is
        included if a chain of points with steps of at most `reach` links it to the point of the highest plane. The
        default `reach` is the distance within which nine in ten points have six neighbours. The other points are beyond
        a crease. Their share of the weight is the second result, shape (n,): 0 away from creases, about 0.5 at one.
        """
        values, indices = Planes(self.points, self.heights).top(x, N_BLENDED)  # (n, k), (n, k)
        shares = ((values - values[:, :1]) / self.margin).exp()
        shares = shares / shares.sum(dim=1, keepdim=True)  # (n, k)
        candidates = self.points[indices]  # (n, k, d)
        near = torch.cdist(candidates, candidates) <= (self.reach if reach is None else reach)  # (n, k, k)
        linked = near[:, 0]  # (n, k)
        for _ in range(2, values.shape[1]):
            linked = (near & linked[:, :, None]).any(dim=1)
        included = shares * linked
        excluded = (shares * ~linked).sum(dim=1)  # (n,)
        return (included[:, :, None] * candidates).sum(dim=1) / included.sum(dim=1, keepdim=True), excluded

    def keep(self, source_rows: Tensor, held_out_rows: Tensor, held_out_weights: Tensor) -> None:
        """Store source rows for `retarget` and for the certificate."""
        self.source_rows = source_rows
        self.held_out_rows, self.held_out_weights = held_out_rows, held_out_weights

    def certificate(self) -> Certificate:
        """Return the error estimates on the held-out rows."""
        masses = Planes(self.points, self.heights).masses(self.held_out_rows, self.held_out_weights).double()
        n = 1 / float(self.held_out_weights.double().square().sum())
        potential = 2 * self.heights.double() + self.points.double().square().sum(1)
        return Certificate(
            float(unbiased_square(masses, self.weights, n)),
            float(square_error(self.weights, n)),
            float((masses - self.weights.double()) @ potential),
        )

    def retarget(self, points: Tensor, weights: Tensor) -> OTNet:
        """Return a copy for other target points."""
        other = copy.deepcopy(self)
        other._set_points(points, weights)
        other._set_base()
        with torch.no_grad():
            old_indices = indices_of(self.points, points)
            is_old = old_indices >= 0  # old points keep their heights, the network predicts those of new points
            other.base[is_old] = self.heights[old_indices[is_old]]
            if len(points) > 1 and len(other.source_rows):
                planes = Planes(points, other.heights)
                other.margin.copy_(mean_margin(planes, other.source_rows[:N_MARGIN_ROWS]))
        return other

    # training

    @property
    def _heights(self) -> Heights:
        heights = self.networks["heights"]
        assert isinstance(heights, Heights)
        return heights

    def reopened(self) -> OTNet:
        """Return a copy whose network trains on the next target."""
        other = copy.deepcopy(self)
        other.is_based.fill_(False)
        return other

    def _set_points(self, points: Tensor, weights: Tensor) -> None:
        """Set the target; the network predicts heights until `_set_base`."""
        self.points = points.detach().clone()
        self.weights = weights.to(points)
        self.base = torch.zeros_like(self.weights)
        self.reach = reach_of(self.points)
        self.is_based.fill_(False)
        self._heights.corrections = nn.Parameter(torch.zeros_like(self.weights))

    def _set_base(self) -> None:
        """Fix the heights to which the corrections are added."""
        with torch.no_grad():
            self.base = self._by(self.points) if self.network_share > 0 else -self.points.square().sum(1) / 2
        self.is_based.fill_(True)

    def _by(self, y: Tensor) -> Tensor:
        """Return the heights that the network predicts, shape (n,)."""
        return (evaluate(self._heights.potential, y) - y.square().sum(1)) / 2

    def _begin_window(self) -> None:
        self._error = torch.zeros((), dtype=torch.double, device=self.points.device)
        self._n_steps, self._planes = 0, None

    def _network_loss(self, x: Tensor, y: Tensor) -> Tensor:
        heights, processes = self._by(y), current()  # (n,)
        # the planes are those of all processes that share the batch; each has the heights and masses of its own rows
        planes = Planes(processes.gather(y), processes.gather(heights.detach()))
        excess = processes.share(processes.mean(planes.masses(x))) - 1 / planes.n_planes  # (n,)
        return processes.size * (heights * excess).sum()

    def _correction_loss(self, x: Tensor) -> Tensor:
        """Return a scalar whose gradient is the correction step."""
        corrections = self._heights.corrections  # (m,)
        heights = self.base + corrections.detach()  # (m,)
        if self._planes is None:
            self._planes = Planes(self.points, heights)
        self._planes.move_to(heights)
        processes = current()
        masses, n_rows = processes.mean(self._planes.masses(x)), processes.size * len(x)  # (m,)
        if self._n_steps == 0 and len(self.points) > 1:
            self.margin.copy_(processes.mean(mean_margin(self._planes, x)))
        self._error += unbiased_square(masses, self.weights, n_rows)
        self._n_steps += 1
        # bounds the step in cells with few rows of the batch
        min_weight = max(1 / len(self.points), MIN_HITS / n_rows)
        step = STEP * self.margin / 2 * (masses - self.weights) / self.weights.clamp(min=min_weight)  # (m,)
        return (corrections * step).sum()
