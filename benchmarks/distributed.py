"""How much faster are two processes that share a fit? Milliseconds and processor time of a step, on two cores.

python benchmarks/distributed.py            # the table of benchmarks/results/distributed.md
python benchmarks/distributed.py --quick    # does it run? (make bench)

One and two processes take turns, so that other load of the machine meets both. Processor time is that of the busier
process: on two free cores, the wall time is at least that long.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
from common import heading, make_parser, median_and_range, row, seconds_per_step

# features, width of the three hidden layers, rows of a batch
STEPS = [(2, 64, 256), (64, 256, 1024), (64, 256, 4096)]
LINE = "measured "


def measure(d: int, width: int, n_rows: int, n_steps: int) -> None:
    """Print milliseconds per step and processor milliseconds per step of this process."""
    from neuralot import SNOTTransport

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(8192, d)), rng.normal(size=(8192, d)) + 2
    options = {"batch_size": n_rows, "hidden_layer_sizes": (width,) * 3, "random_state": 0}
    SNOTTransport(max_iter=2, **options).fit(X, Y)
    # the difference of two fits, in which set-up and final figures cancel
    seconds = []
    for n in (n_steps, 2 * n_steps):
        start = time.process_time()
        history = SNOTTransport(max_iter=n, **options).fit(X, Y).history_
        seconds.append(time.process_time() - start)
    figures = [1e3 * seconds_per_step(history), 1e3 * (seconds[1] - seconds[0]) / n_steps]
    print(LINE + json.dumps(figures), flush=True)


def run(n_processes: int, *step: int) -> tuple[float, float]:
    """Median milliseconds and the largest processor milliseconds of a step."""
    arguments = [__file__, "--step", *map(str, step)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    command = [sys.executable, *(torchrun if n_processes > 1 else []), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    # the lines of two processes may run into each other
    walls, processor = zip(*map(json.loads, re.findall(LINE + r"(\[.*?\])", out.stdout.decode())), strict=True)
    return statistics.median(walls), max(processor)


def main() -> None:
    parser = make_parser(__doc__, "one small step, one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step", type=int, nargs=4, help="measure one step in this process; used by the script")
    options = parser.parse_args()
    if options.step:
        measure(*options.step)
        return
    columns = ["d", "width", "rows", "ms, 1 process", "ms, 2 processes", "CPU ms, 1 process", "CPU ms, 2 processes"]
    print(heading([*columns, "ratio", "CPU ratio"]))
    for step in STEPS[:1] if options.quick else STEPS:
        n_steps = 10 if options.quick else max(8, 10_000 // step[2] // (step[1] // 64))
        rounds = [[run(n, *step, n_steps) for n in (1, 2)] for _ in range(1 if options.quick else options.rounds)]
        of_kind = np.array(rounds).transpose(2, 1, 0)  # wall and processor; one and two processes; rounds
        cells = [median_and_range(list(values), ".1f") for kind in of_kind for values in kind]
        ratios = [format(statistics.median(kind[0] / kind[1]), ".2f") for kind in of_kind]
        print(row([*step, *cells, *ratios]), flush=True)


if __name__ == "__main__":
    main()
