"""How much faster is a GPU? Milliseconds per step, with and without CUDA graphs, and L2-UVP against seconds of fit.

python benchmarks/gpu.py --folder PATH     # the published Wasserstein-2 benchmark; about 10 minutes
python benchmarks/gpu.py                   # without its weights: make_convex_potential pairs
python benchmarks/gpu.py --quick           # does it run? (make bench)
"""

import statistics

import torch
from common import Job, add_w2, heading, load_rows, make_parser, median_and_range, row, seconds_per_step, w2_name

from neuralot import SNOTTransport
from neuralot.defaults import default_rate, default_sizes
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
    """Median over the records of one run, without the first fifth, which contains warm-up and capture."""
    d = rows["X"].shape[1]
    form = make_form(d, hidden_layer_sizes=(width,) * 3)
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
    return 1e3 * seconds_per_step(solution.history[len(solution.history) // 5 :])


def main() -> None:
    parser = make_parser(__doc__, "one seed, d = 2, 5 seconds, two steps")
    add_w2(parser, budgets=[5, 15, 60], seeds=[20])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    steps = STEPS
    if options.quick:
        options.dims, options.budgets, options.seeds, options.rows, steps = [2], [5.0], [0], 2**14, STEPS[1:3]
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(message="torch does not find a CUDA device\n")
    device = torch.device(options.device)
    print(torch.__version__, torch.cuda.get_device_name(device) if device.type == "cuda" else device)
    name = w2_name(options.folder)
    data = {
        d: [load_rows(Job(name, d, "", 0, seed), options.folder, options.rows) for seed in options.seeds]
        for d in options.dims
    }
    print(heading(["d", "method", "width", "rows", "captured", "compiled", "stratified", "ms"]))
    for d in options.dims:
        for method, given_width, n_rows, *flags in steps:
            width = given_width or default_sizes(d)[0]
            duration = milliseconds(method, width, n_rows, data[d][0], *flags, device)
            cells = [d, method.__name__, width, n_rows, *("yes" if flag else "" for flag in flags), f"{duration:.3g}"]
            print(row(cells), flush=True)
    print("\n" + heading(["d", "budget s", "L2-UVP %", "steps", "rows"]))
    for d in options.dims:
        for budget in options.budgets:
            uvp, n_steps, batch_sizes = [], [], []
            for seed, rows in zip(options.seeds, data[d], strict=True):
                transport = SNOTTransport(max_time=budget, random_state=seed, device=device)
                transport.fit(rows["X"], rows["Y"])
                uvp.append(l2_uvp(transport.transform(rows["X_test"]), rows["exact"], float(d)))
                n_steps.append(transport.n_iter_)
                batch_sizes.append(transport._fitted_params.batch_size)
            medians = map(statistics.median_low, (n_steps, batch_sizes))
            print(row([d, f"{budget:g}", median_and_range(uvp, ".3g"), *medians]), flush=True)


if __name__ == "__main__":
    main()
