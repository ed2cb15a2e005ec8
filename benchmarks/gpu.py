"""What does a GPU give: milliseconds of a step, launched one by one and captured, and L2-UVP against seconds of fit?

python benchmarks/gpu.py --folder PATH     # the published Wasserstein-2 benchmark; about 10 minutes
python benchmarks/gpu.py                   # without its weights: make_convex_potential pairs
python benchmarks/gpu.py --quick           # does it run? (make bench)
"""

import argparse
import statistics
from itertools import pairwise

import torch
from w2 import Job, rows_of

from neuralot import SNOTTransport
from neuralot.defaults import default_gap_weight, default_rate, default_sizes
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT
from neuralot.metrics import l2_uvp
from neuralot.sampling import ArraySampler
from neuralot.solve import solve

N_STEPS = 800
# method, width or None for the default, rows of a batch, captured, compiled, stratified rows
STEPS = [
    (SNOT, None, 1024, False, False, True),
    (SNOT, None, 1024, True, False, False),
    (SNOT, None, 1024, True, False, True),
    (SNOT, None, 1024, True, True, True),
    (OTP, None, 1024, True, False, True),
    (SNOT, None, 256, True, False, True),
    (SNOT, None, 4096, True, False, True),
    (SNOT, None, 16_384, True, False, True),
    (SNOT, 256, 1024, True, False, True),
    (SNOT, 256, 4096, True, False, True),
]


def milliseconds(
    method: type, width: int, n_rows: int, rows, capture: bool, compiled: bool, stratified: bool, device: torch.device
) -> float:
    """Median over the records of one run, the first ones, which warm up and capture, left out."""
    d = rows["X"].shape[1]
    form = make_form(d, hidden_layer_sizes=(width,) * 3, gap_weight=default_gap_weight(d))
    problem = method(d, form).to(device)
    if compiled:
        problem.compile_step()
    solution = solve(
        problem,
        *(ArraySampler(torch.from_numpy(rows[name]).to(device), None, stratified=stratified) for name in ("X", "Y")),
        max_iter=N_STEPS,
        batch_size=n_rows,
        learning_rate=default_rate(d),
        weight_decay=0.01,
        generator=torch.Generator(device).manual_seed(0),
        capture=capture,
    )
    records = solution.history[len(solution.history) // 5 :]
    return 1e3 * statistics.median(
        (after["seconds"] - before["seconds"]) / (after["step"] - before["step"]) for before, after in pairwise(records)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="the benchmark's published weights")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--budgets", type=float, nargs="+", default=[5, 15, 60], help="seconds of fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20], help="the defaults were tuned on others")
    parser.add_argument("--rows", type=int, default=2**19, help="of each sample")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="one seed, d = 2, 5 seconds, two steps")
    options = parser.parse_args()
    steps = STEPS
    if options.quick:
        options.dims, options.budgets, options.seeds, options.rows, steps = [2], [5.0], [0], 2**14, STEPS[1:3]
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(message="torch sees no CUDA device\n")
    device = torch.device(options.device)
    print(torch.__version__, torch.cuda.get_device_name(device) if device.type == "cuda" else device)
    name = "w2_benchmark" if options.folder else "convex_potential"
    data = {
        d: [rows_of(Job(name, d, "", 0, seed), options.folder, options.rows) for seed in options.seeds]
        for d in options.dims
    }
    print("| d | method | width | rows | captured | compiled | stratified | ms |\n|---|---|---|---|---|---|---|---|")
    for d in options.dims:
        for method, width, n_rows, *how in steps:
            chosen = width or default_sizes(d)[0]
            taken = milliseconds(method, chosen, n_rows, data[d][0], *how, device)
            cells = [d, method.__name__, chosen, n_rows, *("yes" if each else "" for each in how), f"{taken:.3g}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print("\n| d | budget s | L2-UVP % | steps | rows |\n|---|---|---|---|---|")
    for d in options.dims:
        for budget in options.budgets:
            uvp, n_steps, batches = [], [], []
            for seed, rows in zip(options.seeds, data[d], strict=True):
                transport = SNOTTransport(max_time=budget, random_state=seed, device=device)
                transport.fit(rows["X"], rows["Y"])
                uvp.append(l2_uvp(transport.transform(rows["X_test"]), rows["exact"], float(d)))
                n_steps.append(transport.n_iter_)
                batches.append(transport._fitted_params["batch_size"])
            spread = f" ({min(uvp):.3g}..{max(uvp):.3g})" if len(uvp) > 1 else ""
            cells = [d, f"{budget:g}", f"{statistics.median(uvp):.3g}{spread}", statistics.median_low(n_steps)]
            print("| " + " | ".join(map(str, [*cells, statistics.median_low(batches)])) + " |", flush=True)


if __name__ == "__main__":
    main()
