"""What does a GPU give: steps per second, launched one by one and captured, and L2-UVP against seconds of fit?

python benchmarks/gpu.py --folder PATH     # the published Wasserstein-2 benchmark
python benchmarks/gpu.py                   # without its weights: make_convex_potential pairs
python benchmarks/gpu.py --quick           # does it run? (make bench)
"""

import argparse
import statistics
from itertools import pairwise

import torch
from w2 import Job, rows_of

from neuralot import SNOTTransport
from neuralot.defaults import MANY_ROWS, default_batch, default_rate, default_sizes
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT
from neuralot.metrics import l2_uvp
from neuralot.sampling import as_sampler
from neuralot.solve import solve

DEVICE = torch.device("cuda")
N_STEPS = 5000


def steps_per_second(method: type, X, Y, capture: bool) -> float:
    """Median over the records of one run, the first ones, which warm up and capture, left out."""
    d = X.shape[1]
    problem = method(d, make_form(d, hidden_layer_sizes=default_sizes(d))).to(DEVICE)
    solution = solve(
        problem,
        as_sampler(X, device=DEVICE),
        as_sampler(Y, device=DEVICE),
        max_iter=N_STEPS,
        batch_size=default_batch(d, MANY_ROWS),
        learning_rate=default_rate(d),
        weight_decay=0.01,
        generator=torch.Generator(DEVICE).manual_seed(0),
        capture=capture,
    )
    records = solution.history[len(solution.history) // 5 :]
    return statistics.median(
        (after["step"] - before["step"]) / (after["seconds"] - before["seconds"]) for before, after in pairwise(records)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="the benchmark's published weights")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--budgets", type=float, nargs="+", default=[15, 60], help="seconds of fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--rows", type=int, default=2**19, help="of each sample")
    parser.add_argument("--quick", action="store_true", help="one seed, d = 2, 5 seconds")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.budgets, options.seeds, options.rows = [2], [5.0], [0], 2**14
    if not torch.cuda.is_available():
        parser.exit(message="torch sees no CUDA device\n")
    print(torch.cuda.get_device_name(DEVICE))
    name = "w2_benchmark" if options.folder else "convex_potential"
    for d in options.dims:
        data = [rows_of(Job(name, d, "", 0, seed), options.folder, options.rows) for seed in options.seeds]
        for method in (SNOT, OTP):
            eager, captured = (steps_per_second(method, data[0]["X"], data[0]["Y"], each) for each in (False, True))
            print(
                f"d = {d}, {method.__name__}: {eager:.0f} steps a second launched one by one, {captured:.0f} captured, "
                f"{captured / eager:.1f} times as many"
            )
        for budget in options.budgets:
            uvp, steps = [], []
            for seed, rows in zip(options.seeds, data, strict=True):
                transport = SNOTTransport(max_iter=10**9, max_time=budget, random_state=seed, device=DEVICE)
                transport.fit(rows["X"], rows["Y"])
                uvp.append(l2_uvp(transport.transform(rows["X_test"]), rows["exact"], float(d)))
                steps.append(transport.n_iter_)
            print(
                f"d = {d}, {budget:g} s: L2-UVP {statistics.median(uvp):.3g} ({min(uvp):.3g}..{max(uvp):.3g}) %, "
                f"{statistics.median_low(steps)} steps"
            )


if __name__ == "__main__":
    main()
