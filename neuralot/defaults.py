"""What ``'auto'`` means: sizes, rates and decays that follow the dimension and the number of rows.

The rules were fitted to the runs in ``benchmarks/README.md``.
"""

from __future__ import annotations

BATCH = 256
N_STEPS = 1200
UNLIMITED = 10**9
MANY_ROWS = 2**15
MANY_FEATURES = 16
FEWEST_ROWS = 512
WIDE_FEATURES, WIDE_ROWS, WIDE_DRAWS = 64, 2**18, 6000 * 1024
LEAST_DECAY = 0.01
# with so little, maps get steep
STEEP_DECAY = 0.02
FEW_POINTS, ROWS_PER_POINT = 64, 8
MOST_DECAY = {"gradient": 3.0, "network": 1.0}


def default_sizes(n_features: int) -> tuple[int, ...]:
    """Hidden layer sizes: three layers, 64 wide below 16 features, else 128."""
    return (64 if n_features < MANY_FEATURES else 128,) * 3


def sizes_of_long_fits(n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...]:
    """Hidden layer sizes of a gradient-form SNOT that will draw so many rows with the usual ones.

    256 wide from 64 features and 2^18 rows on, where there is time for 6000 steps of 1024; else `default_sizes`.
    """
    is_long = n_features >= WIDE_FEATURES and n_rows >= WIDE_ROWS and n_draws >= WIDE_DRAWS
    return (256,) * 3 if is_long else default_sizes(n_features)


def default_activation(n_features: int, n_rows: int) -> str:
    """Tanh in the plane from 2^15 rows on, where its error was .5 to .7 of SiLU's; else SiLU, better at d = 4."""
    return "tanh" if n_features <= 2 and n_rows >= MANY_ROWS else "silu"


def default_rate(n_features: int, n_steps: float = N_STEPS) -> float:
    """Adam's first learning rate: .008 below 16 features, .006 up to 64, and then falling as 1 / n_features.

    Between the plane and 64 features it falls as the root of the steps from 1200 to 4800, where it is a half.
    """
    rate = min(0.008 if n_features < MANY_FEATURES else 0.006, 0.384 / n_features)
    falls = 2 < n_features < 64 and n_steps > N_STEPS
    return rate * max(0.5, (N_STEPS / n_steps) ** 0.5) if falls else rate


def default_decay(n_features: int, n_rows: int, usual: float, map_form: str = "gradient") -> float:
    """Weight decay against overfitting: `usual` for 4096 rows in the smaller sample, proportional to 1 / n.

    It stays above .01, or .01 n_features / 64 below 64 features: without decay the weights of a long fit grow until it
    diverges, and with more the map of a long fit is too flat. For few rows it ends at 3, where a gradient's map is
    affine, or at 1 for a network, which with more is not even that. Below 16 features the growth for fewer rows is in
    proportion to n_features. Fewer than 512 rows count as 512: with more decay, maps to a target of a few points do not
    get steep.
    """
    growth = 4096 / max(n_rows, FEWEST_ROWS)
    if growth > 1:
        growth = max(1.0, growth * min(1.0, n_features / MANY_FEATURES))
    least = LEAST_DECAY * min(1.0, n_features / WIDE_FEATURES)
    return max(least, min(usual * growth, MOST_DECAY[map_form]))


def decay_to_points(usual: float, n_source: int, n_target: int) -> float:
    """The usual decay, or less of it to a target of few points.

    n / 64 of it for n points with 8 source rows each or more, but not below .02: the map must be steep between their
    cells, and the rows of a cell keep it from overfitting.
    """
    few = n_target < FEW_POINTS and ROWS_PER_POINT * n_target <= n_source
    return min(usual, max(STEEP_DECAY, usual * n_target / FEW_POINTS)) if few else usual


def default_gap_weight(n_features: int) -> float:
    """Weight of the squared duality gap: 2 / n_features, at most 1, below 16 features, else .1.

    The gap grows with the dimension, as potentials do.
    """
    return min(1.0, 2 / n_features) if n_features < MANY_FEATURES else 0.1


def default_steps(max_iter: int | str, max_time: float | None) -> int:
    """Steps for a `max_iter` that may be ``'auto'``: 1200, or no limit beside a budget of seconds."""
    if max_iter != "auto":
        return int(max_iter)
    return N_STEPS if max_time is None else UNLIMITED


def default_batch(n_features: int, n_rows: int) -> int:
    """Rows per batch: 256, and where the smaller sample has at least 2^15 distinct rows 1024, or 512 from 64 features.

    Long fits end at the noise of their batches, and in high dimension more steps are worth more than larger ones.
    """
    if n_rows < MANY_ROWS:
        return BATCH
    return 1024 if n_features < 64 else 512
