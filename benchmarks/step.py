"""What does a training step cost? Milliseconds, page faults, and GFLOP/s compared with torch's matrix products alone.

python benchmarks/step.py                     # every shape, about three minutes
python benchmarks/step.py --quick             # does it run? (make bench)
python benchmarks/step.py --compile           # also the compiled step, which takes up to a minute per shape
python benchmarks/step.py --two               # also during a second fit, and during a busy loop
git worktree add /tmp/base COMMIT
python benchmarks/step.py --baseline /tmp/base    # compared with another commit

Each process has one core and one thread, and short rounds of steps alternate between the processes, so that other load
on the machine slows all of them equally. A number is the median over the rounds. GFLOP/s count the matrix products of
the gradient form only, over the time of the whole step; *of bmm* is the rate of one such product. On a CPU with
bfloat16 units, Muon's products of matrices at least 128 wide use these.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import heading, make_parser, row
from torch import Generator

import neuralot
from neuralot.defaults import MANY_FEATURES, default_rate, default_sizes
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT, OTNet
from neuralot.networks import Potential
from neuralot.sampling import as_sampler

try:
    from neuralot.solve.environment import keep_freed_memory
    from neuralot.solve.problem import Batch
    from neuralot.solve.training import Training
except ImportError:  # an older baseline
    from neuralot.training import Training

    from neuralot import solve
    from neuralot.semidual import Batch

    keep_freed_memory = getattr(solve, "_keep_freed_memory", lambda: None)

ROOT = Path(__file__).resolve().parents[1]
N_ROWS, N_POINTS, DEPTH, WARM_UP = 8192, 10_000, 3, 3
SHAPES = [(2, 64, 256), (2, 64, 1024), (16, 128, 256), (16, 128, 1024), (64, 128, 512)]
GRADIENT_FORM = ("SNOT", "OTP")
STAGES = ("OT-Net, network", "OT-Net, corrections")

Cost = tuple[float, float]  # seconds and page faults per step
MISSING = math.nan, math.nan
MEASURED = ("ours", "baseline", "compiled", "bmm", "second", "busy")


@dataclass(frozen=True)
class Case:
    method: str
    d: int
    width: int
    batch: int


def n_operations(case: Case) -> float:
    """Multiplications and additions in the matrix products of a gradient-form step, including its optimiser."""
    if case.method not in GRADIENT_FORM:
        return math.nan
    from neuralot.solve.optimizers import MIN_INPUTS, N_ITERATIONS  # not in older baselines

    total = 0
    for layer, (n_in, n_out) in enumerate([(case.d, case.width), *[(case.width, case.width)] * (DEPTH - 1)]):
        at_rows = 1 + 1 + 1 + 2 + (layer > 0)  # value, slope, tangent, two for the weights' gradient, error
        at_images = 1 + 1 + 1  # value, slope, one for the weights' gradient
        total += (at_rows + at_images) * 2 * case.batch * n_in * n_out
        if n_in >= MIN_INPUTS:
            short, long = sorted((n_in, n_out))
            total += N_ITERATIONS * (2 * 2 * short**2 * long + 2 * short**3)
    total += (4 + 3) * 2 * case.batch * case.d**2  # the quadratic, or base and preconditioner, at rows and images
    return 2 * total  # two networks


# in a worker, which imports neuralot from PYTHONPATH


def make_problem(case: Case) -> torch.nn.Module:
    is_wide, sizes = case.d >= MANY_FEATURES, (case.width,) * DEPTH
    if case.method in STAGES:
        return OTNet(case.d, Potential(case.d, sizes))
    if case.method == "OTP":
        form = make_form(case.d, hidden_layer_sizes=sizes, affine_base=is_wide)
        return OTP(case.d, form, noise_shape="thin" if is_wide else "covariance")
    map_form = "gradient" if case.method == "SNOT" else "network"
    return SNOT(case.d, make_form(case.d, hidden_layer_sizes=sizes, map_form=map_form))


def make_step(case: Case, is_compiled: bool) -> tuple[torch.nn.Module, Callable[[], object]]:
    """A problem, and a function that makes one step of the training loop."""
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    n_rows = N_ROWS, N_POINTS if case.method in STAGES else N_ROWS
    source, target = (as_sampler(torch.randn(n, case.d, generator=generator)) for n in n_rows)
    problem = make_problem(case).train()
    problem.prepare(source, target, generator)
    if case.method == "OT-Net, corrections":
        problem.follow(1.0)
    if is_compiled:
        problem.compile_step()
    training = Training(problem, "auto", default_rate(case.d), 0.01, 0.99)
    n, (progress, rate) = case.batch, torch.tensor([0.5, 0.1])
    return problem, lambda: training.step(
        lambda times=1: Batch(source(n, generator), target(n, generator), progress, generator), rate
    )


def spin() -> None:
    """Keep the core busy for a millisecond."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass


def reply(value: object) -> None:
    print(json.dumps(value), flush=True)


def run_worker() -> None:
    """Run each case from stdin in a new process, so that it cannot reuse the freed memory of the previous one."""
    torch.set_num_threads(1)
    reply(neuralot.__file__)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return run_case(*json.loads(line))
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


def run_case(case: list[Any], is_compiled: bool) -> None:
    """Time the functions of one case, with the numbers of calls on stdin."""
    keep_freed_memory()
    problem, step = make_step(Case(*case), is_compiled)
    *_, width, batch = case
    bmm = partial(torch.bmm, torch.randn(2, batch, width), torch.randn(2, width, width))
    functions = {"step": step, "bmm": bmm, "spin": spin}
    for _ in range(WARM_UP):
        step()
    levels = getattr(problem, "levels", problem.follow)(0.0)  # `levels` is for older baselines
    reply((levels or {}).get("compiled", 0.0) == is_compiled)
    for line in sys.stdin:
        name, n = json.loads(line)
        if not n:
            return reply(None)  # the next case is sent after this reply, so that it is not read here
        functions[name]()  # untimed: other processes have used the cache
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        for _ in range(n):
            functions[name]()
        seconds = time.perf_counter() - start
        reply((seconds / n, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / n))


# in the main process


class Worker:
    """Process on some cores, with the neuralot of a checkout."""

    def __init__(self, root: Path, cores: set[int]) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)  # inherited by the worker
        command, environment = [sys.executable, __file__, "--worker"], os.environ | {"PYTHONPATH": str(root)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        path = self.receive()
        if not Path(path).resolve().is_relative_to(root):
            sys.exit(f"the worker imported neuralot from {path} instead of {root}")

    def send(self, *request: object) -> None:
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def receive(self) -> Any:
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit("a worker failed")

    def call(self, *request: object) -> Any:
        self.send(*request)
        return self.receive()


def measure(case: Case, workers: dict[str, Worker], n_rounds: int, seconds: float) -> dict[str, Cost]:
    """Medians over rounds of about `seconds` seconds."""
    workers = {name: worker for name, worker in workers.items() if case.method in GRADIENT_FORM or name != "compiled"}
    is_valid = {name: worker.call(astuple(case), name == "compiled") for name, worker in workers.items()}
    ours = workers["ours"]
    n, n_products = (max(1, round(seconds / ours.call(name, WARM_UP)[0])) for name in ("step", "bmm"))

    def measure_during(name: str, *request: object) -> Cost:
        workers[name].send(*request)
        cost = ours.call("step", n)
        workers[name].receive()
        return cost

    calls: dict[str, Callable[[], Cost]] = {
        name: partial(workers[name].call, "step", n) for name in ("ours", "baseline", "compiled") if is_valid.get(name)
    }
    calls["bmm"] = partial(ours.call, "bmm", n_products)
    if "second" in workers:
        # these run for longer than our steps
        calls["second"] = partial(measure_during, "second", "step", 2 * n)
        calls["busy"] = partial(measure_during, "busy", "spin", 1 + round(3000 * seconds))
    rounds = [{name: call() for name, call in calls.items()} for _ in range(n_rounds)]
    for worker in workers.values():
        worker.call("end", 0)
    return {name: tuple(map(statistics.median, zip(*(costs[name] for costs in rounds), strict=True))) for name in calls}


def make_cells(case: Case, costs: dict[str, Cost], options: argparse.Namespace) -> dict[str, str]:
    """Cells of the table by their headings, empty where something was not measured."""
    seconds, faults = ({name: costs.get(name, MISSING)[i] for name in MEASURED} for i in (0, 1))
    ours, baseline = seconds["ours"], seconds["baseline"]
    cells = {name: str(value) for name, value in asdict(case).items()}
    cells |= {"ms": f"{1e3 * ours:.3g}", "page faults": f"{faults['ours']:.0f}"}
    cells |= {"GFLOP/s": f"{n_operations(case) / ours / 1e9:.0f}"}
    cells |= {"of bmm": f"{2 * 2 * case.batch * case.width**2 / seconds['bmm'] / 1e9:.0f}"}
    if options.baseline:
        cells |= {"baseline ms": f"{1e3 * baseline:.3g}", "its page faults": f"{faults['baseline']:.0f}"}
        cells |= {"ours / baseline": f"{ours / baseline:.2f}"}
    if options.compile:
        compiled = seconds["compiled"]
        cells |= {"compiled ms": f"{1e3 * compiled:.3g}", "compiled / ours": f"{compiled / ours:.2f}"}
    if options.two:
        cells |= {"during a fit": f"{seconds['second'] / ours:.2f}"}
        cells |= {"during a busy loop": f"{seconds['busy'] / ours:.2f}"}
    return {heading: "" if text == "nan" else text for heading, text in cells.items()}


def processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def commit(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = make_parser(__doc__, "two shapes and OT-Net at d = 2, short rounds")
    parser.add_argument("--baseline", type=Path, help="checkout of another commit")
    parser.add_argument("--compile", action="store_true", help="also measure the compiled step")
    parser.add_argument("--two", action="store_true", help="also measure during a second fit, and during a busy loop")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return run_worker()
    shapes, dims, n_rounds, seconds = SHAPES, (2, 32), 15, 0.1
    if options.quick:
        shapes, dims, n_rounds, seconds = [SHAPES[0], SHAPES[2]], (2,), 3, 0.02
    cases = [Case(method, *shape) for shape in shapes for method in (*GRADIENT_FORM, "SNOT, network")]
    cases += [Case(stage, d, default_sizes(d)[0], 1024) for d in dims for stage in STAGES]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    mine, other = cores[0], cores[1 % len(cores)]
    workers = {"ours": Worker(ROOT, {mine})}
    if options.baseline:
        workers["baseline"] = Worker(options.baseline.resolve(), {mine})
        print(f"baseline: {commit(options.baseline)}")
    if options.compile:
        workers["compiled"] = Worker(ROOT, {mine})
    if options.two:
        workers |= {"second": Worker(ROOT, {other}), "busy": Worker(ROOT, {mine, other})}
        print(f"the second fit has core {other}, the busy process {mine} and {other}")
    print(f"neuralot: {commit(ROOT)}; torch: {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"processor: {processor()}, core {mine}\n", flush=True)
    for index, case in enumerate(cases):
        cells = make_cells(case, measure(case, workers, n_rounds, seconds), options)
        if not index:
            print(heading(list(cells)))
        print(row(cells.values()), flush=True)


if __name__ == "__main__":
    main()
