"""Does OTP recover the plan of a thin source in high dimension? Flat and curved supports, optionally rotated.

python benchmarks/high_dimension.py            # the table of benchmarks/results/high_dimension.md
python benchmarks/high_dimension.py --quick    # does it run? (make bench)
"""

import statistics
import warnings
from collections.abc import Callable

import numpy as np
from common import add_sizes, heading, make_parser, median_and_range, row, timed
from sklearn.exceptions import ConvergenceWarning

from neuralot import OTPTransport
from neuralot.datasets import TransportPair, make_circles, make_one_to_many, make_perpendicular
from neuralot.metrics import d_target, spread_ratio, target_floor, transport_cost

N_SCORE, N_PAIRS = 2000, 4
# position of a draw between its two branches, which are at -1 and 1
Position = Callable[[np.ndarray], np.ndarray]
COLUMNS = (
    "D_target / floor - 1, %",
    "cost - exact",
    "spread from",
    "spread to",
    "branch",
    "near a branch",
    "steps",
    "s",
)


PAIRS: list[tuple[Callable[[int], TransportPair], Position | None]] = [
    (make_perpendicular, None),
    (make_one_to_many, lambda draws: draws[:, -1]),
    (make_circles, lambda draws: np.linalg.norm(draws, axis=1) - 2),
]


def run(
    pair: TransportPair, position: Position | None, n_rows: int, seconds: float, seed: int, rotated: bool, floor: float
) -> list[float]:
    d = pair.n_features
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0] if rotated else np.eye(d)
    X, Y = pair.sample(n_rows, random_state=seed)
    transport = OTPTransport(max_iter=10**9, max_time=seconds, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        _, duration = timed(lambda: transport.fit(*((rows @ rotation).astype(np.float32) for rows in (X, Y))))
    X, Y = pair.sample(N_PAIRS * N_SCORE, random_state=1000 + seed)
    draws = transport.sample(X @ rotation, random_state=seed)[0] @ rotation.T
    distance = statistics.mean(map(d_target, np.split(draws, N_PAIRS), np.split(Y, N_PAIRS)))
    varying = Y.std(axis=0) > 0
    spread = spread_ratio(draws[:, varying], Y[:, varying])
    # half of any symmetric law is closer to each branch, so the share of draws near a branch is measured too
    positions = position(draws) if position else np.array([np.nan])
    branch = np.mean(positions < 0) if position else np.nan
    near = np.mean(np.abs(np.abs(positions) - 1) < 0.3) if position else np.nan
    cost = transport_cost(X, draws) - pair.cost
    return [100 * (distance / floor - 1), cost, spread.min(), spread.max(), branch, near, transport.n_iter_, duration]


def main() -> None:
    parser = make_parser(__doc__, "one seed, d = 32, 5 seconds")
    add_sizes(parser, [64, 256], [10, 11, 12], "0 and 1", 2**16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rotated", action="store_true", help="apply a random rotation to both laws")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.seeds, options.rows, options.seconds = [32], [0], 2**13, 5
        print("Fits of 5 seconds: the figures are meaningless.")
    print(heading(["pair", "d", *COLUMNS]), flush=True)
    for d in options.dims:
        for make, position in PAIRS:
            pair = make(d)
            floor = target_floor(pair.target, n=N_SCORE, n_pairs=2 * N_PAIRS, random_state=0).mean
            results = [
                run(pair, position, options.rows, options.seconds, seed, options.rotated, floor)
                for seed in options.seeds
            ]
            columns = zip(*results, strict=True)
            cells = ["" if np.isnan(values[0]) else median_and_range(values, ".4g") for values in columns]
            print(row([pair.name, d, *cells]), flush=True)


if __name__ == "__main__":
    main()
