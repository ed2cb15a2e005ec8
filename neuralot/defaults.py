"""Default values of parameters that are ``'auto'``.

Sizes, rates and decays depend on the number of features and of rows. The rules were fitted to the runs in
``benchmarks/TRIED.md``.
"""

from __future__ import annotations

BATCH = 256
N_STEPS = 1200
UNLIMITED = 10**9
MANY_ROWS = 2**15
MANY_FEATURES = 16
MIN_ROWS = 512
WIDE_FEATURES, WIDE_ROWS, WIDE_DRAWS = 64, 2**18, 6000 * 1024
MIN_DECAY = 0.01
# small enough for steep maps
STEEP_DECAY = 0.02
FEW_POINTS, ROWS_PER_POINT = 64, 8
MAX_DECAY = {"gradient": 3.0, "network": 1.0}


def default_sizes(n_features: int) -> tuple[int, ...]:
    """Default hidden layer sizes.

    Three layers, 64 wide below 16 features and 128 wide otherwise.
    """
    return (64 if n_features < MANY_FEATURES else 128,) * 3


def sizes_of_long_fits(n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...]:
    """Hidden layer sizes of a long gradient-form SNOT fit.

    256 wide from 64 features and 2^18 rows on, if the budget allows 6000 steps of 1024 rows; otherwise `default_sizes`.
    `n_draws` is the number of rows that the fit would draw with the default sizes.
    """
    is_long = n_features >= WIDE_FEATURES and n_rows >= WIDE_ROWS and n_draws >= WIDE_DRAWS
    return (256,) * 3 if is_long else default_sizes(n_features)


def default_activation(n_features: int, n_rows: int) -> str:
    """Default activation, ``'tanh'`` or ``'silu'``.

    Tanh for at most 2 features and at least 2^15 rows, where it is more accurate; otherwise SiLU.
    """
    return "tanh" if n_features <= 2 and n_rows >= MANY_ROWS else "silu"


def default_rate(n_features: int, n_steps: float = N_STEPS) -> float:
    """Initial learning rate of Adam.

    0.008 below 16 features, 0.006 up to 64, and then proportional to 1 / n_features. For more than 2 and fewer than 64
    features it is multiplied by sqrt(1200 / n_steps) from 1200 to 4800 steps, and by 0.5 beyond.
    """
    rate = min(0.008 if n_features < MANY_FEATURES else 0.006, 0.384 / n_features)
    is_reduced = 2 < n_features < 64 and n_steps > N_STEPS
    return rate * max(0.5, (N_STEPS / n_steps) ** 0.5) if is_reduced else rate


def default_decay(n_features: int, n_rows: int, usual: float, map_form: str = "gradient") -> float:
    """Weight decay against overfitting.

    It is `usual` for 4096 rows in the smaller sample, and proportional to 1 / n_rows.

    It is at least 0.01, or 0.01 n_features / 64 below 64 features: without decay the weights of a long fit grow until
    it diverges, and with a larger minimum the map of a long fit is too flat. It is at most 3 in the gradient form,
    where the map is then affine, and at most 1 in the network form, which does not even fit an affine map with more
    decay. Below 16 features, the increase for fewer rows is proportional to n_features. Fewer than 512 rows count as
    512: with more decay, maps to a target of a few points are not steep enough.
    """
    growth = 4096 / max(n_rows, MIN_ROWS)
    if growth > 1:
        growth = max(1.0, growth * min(1.0, n_features / MANY_FEATURES))
    min_decay = MIN_DECAY * min(1.0, n_features / WIDE_FEATURES)
    return max(min_decay, min(usual * growth, MAX_DECAY[map_form]))


def decay_to_points(usual: float, n_source: int, n_target: int) -> float:
    """Weight decay for a target of few points.

    For fewer than 64 points with at least 8 source rows per point, it is `usual` times n_target / 64, but at least 0.02
    and at most `usual`. Otherwise it is `usual`. The map must be steep between the cells of the points, and the many
    rows of a cell prevent overfitting.
    """
    is_reduced = n_target < FEW_POINTS and ROWS_PER_POINT * n_target <= n_source
    return min(usual, max(STEEP_DECAY, usual * n_target / FEW_POINTS)) if is_reduced else usual


def default_gap_weight(n_features: int) -> float:
    """Default weight of the squared duality gap.

    2 / n_features, at most 1, below 16 features, and 0.1 otherwise, because the gap grows with the dimension.
    """
    return min(1.0, 2 / n_features) if n_features < MANY_FEATURES else 0.1


def default_steps(max_iter: int | str, max_time: float | None) -> int:
    """Number of steps for a `max_iter`, possibly ``'auto'``.

    ``'auto'`` means 1200 steps, or no limit if `max_time` is given.
    """
    if max_iter != "auto":
        return int(max_iter)
    return N_STEPS if max_time is None else UNLIMITED


def default_batch(n_features: int, n_rows: int) -> int:
    """Default number of rows per batch.

    256; if the smaller sample has at least 2^15 distinct rows, 1024 below 64 features and 512 otherwise. The accuracy
    of long fits is limited by the noise of the batches. In high dimension, more steps help more than larger batches.
    """
    if n_rows < MANY_ROWS:
        return BATCH
    return 1024 if n_features < 64 else 512
