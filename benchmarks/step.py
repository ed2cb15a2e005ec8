"""What does one training step cost? Milliseconds, page faults, and how near its matrix products come to torch's alone.

python benchmarks/step.py                     # every shape, about three minutes
python benchmarks/step.py --quick             # does it run? (make bench)
python benchmarks/step.py --compile           # the compiled step too, which takes up to a minute for each shape
python benchmarks/step.py --two               # beside a second fit, and beside a process that is busy
git worktree add /tmp/base COMMIT
python benchmarks/step.py --baseline /tmp/base    # beside another commit

Every process has one core and one thread, and short rounds of steps alternate between them: what else runs on the
machine slows all of them alike. A number is the median over the rounds. GFLOP/s count the gradient form's products of
matrices alone, over the time of the whole step, beside those of one product of such matrices (*of bmm*); where a CPU
has units for bfloat16, Muon's products of matrices at least 128 wide use these.
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
from common import heading, parser_of, row
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
except ImportError:  # a baseline, before the modules moved
    from neuralot.training import Training

    from neuralot import solve
    from neuralot.semidual import Batch

    keep_freed_memory = getattr(solve, "_keep_freed_memory", lambda: None)

ROOT = Path(__file__).resolve().parents[1]
N_ROWS, N_POINTS, DEPTH, WARM_UP = 8192, 10_000, 3, 3
SHAPES = [(2, 64, 256), (2, 64, 1024), (16, 128, 256), (16, 128, 1024), (64, 128, 512)]
GRADIENT_FORM = ("SNOT", "OTP")
STAGES = ("OT-Net, network", "OT-Net, corrections")

Cost = tuple[float, float]  # of a step: seconds, page faults
NOTHING = math.nan, math.nan
MEASURED = ("ours", "baseline", "compiled", "bmm", "second", "busy")


@dataclass(frozen=True)
class Case:
    method: str
    d: int
    width: int
    batch: int


def n_operations(case: Case) -> float:
    """Multiplications and additions in the matrix products of a step in the gradient form, and of its optimiser."""
    if case.method not in GRADIENT_FORM:
        return math.nan
    from neuralot.solve.optimizers import FEWEST_INPUTS, N_ITERATIONS  # a baseline may not have them

    total = 0
    for layer, (n_in, n_out) in enumerate([(case.d, case.width), *[(case.width, case.width)] * (DEPTH - 1)]):
        at_rows = 1 + 1 + 1 + 2 + (layer > 0)  # value, slope, tangent, two for the weights' gradient, error
        at_images = 1 + 1 + 1  # value, slope, one for the weights' gradient
        total += (at_rows + at_images) * 2 * case.batch * n_in * n_out
        if n_in >= FEWEST_INPUTS:
            short, long = sorted((n_in, n_out))
            total += N_ITERATIONS * (2 * 2 * short**2 * long + 2 * short**3)
    total += (4 + 3) * 2 * case.batch * case.d**2  # the quadratic, or base and lens, at rows and images
    return 2 * total  # networks


# in a worker, which imports neuralot from where PYTHONPATH says


def make_problem(case: Case) -> torch.nn.Module:
    many, sizes = case.d >= MANY_FEATURES, (case.width,) * DEPTH
    if case.method in STAGES:
        return OTNet(case.d, Potential(case.d, sizes))
    if case.method == "OTP":
        form = make_form(case.d, hidden_layer_sizes=sizes, affine_base=many)
        return OTP(case.d, form, noise_shape="thin" if many else "covariance")
    map_form = "gradient" if case.method == "SNOT" else "network"
    return SNOT(case.d, make_form(case.d, hidden_layer_sizes=sizes, map_form=map_form))


def make_step(case: Case, is_compiled: bool) -> tuple[torch.nn.Module, Callable[[], object]]:
    """The problem, and its step as the loop makes it."""
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
    """Be busy for a millisecond."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def work() -> None:
    """Take cases from stdin, each in a process of its own: what one has freed is no memory for the next."""
    torch.set_num_threads(1)
    answer(neuralot.__file__)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return serve(*json.loads(line))
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


def serve(case: list[Any], is_compiled: bool) -> None:
    """Make steps of one case, as many as the lines on stdin say."""
    keep_freed_memory()
    problem, step = make_step(Case(*case), is_compiled)
    *_, width, batch = case
    bmm = partial(torch.bmm, torch.randn(2, batch, width), torch.randn(2, width, width))
    acts = {"step": step, "bmm": bmm, "spin": spin}
    for _ in range(WARM_UP):
        step()
    levels = getattr(problem, "levels", problem.follow)(0.0)  # `levels` is of older baselines
    answer((levels or {}).get("compiled", 0.0) == is_compiled)
    for line in sys.stdin:
        name, n = json.loads(line)
        if not n:
            return answer(None)  # and the next case comes after that, lest it be read here
        acts[name]()  # the others have used the cache
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        for _ in range(n):
            acts[name]()
        seconds = time.perf_counter() - start
        answer((seconds / n, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / n))


# in the process that asks them


class Worker:
    """A process on some cores, with the neuralot of a checkout."""

    def __init__(self, root: Path, cores: set[int]) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)  # it inherits them
        command, environment = [sys.executable, __file__, "--worker"], os.environ | {"PYTHONPATH": str(root)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        found = self.receive()
        if not Path(found).resolve().is_relative_to(root):
            sys.exit(f"not the neuralot of {root}: {found}")

    def send(self, *request: object) -> None:
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def receive(self) -> Any:
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit("a worker failed")

    def ask(self, *request: object) -> Any:
        self.send(*request)
        return self.receive()


def measure(case: Case, workers: dict[str, Worker], n_rounds: int, seconds: float) -> dict[str, Cost]:
    """Medians over rounds of about so many seconds."""
    workers = {name: worker for name, worker in workers.items() if case.method in GRADIENT_FORM or name != "compiled"}
    works = {name: worker.ask(astuple(case), name == "compiled") for name, worker in workers.items()}
    ours = workers["ours"]
    n, n_products = (max(1, round(seconds / ours.ask(name, WARM_UP)[0])) for name in ("step", "bmm"))

    def beside(name: str, *request: object) -> Cost:
        workers[name].send(*request)
        found = ours.ask("step", n)
        workers[name].receive()
        return found

    asks: dict[str, Callable[[], Cost]] = {
        name: partial(workers[name].ask, "step", n) for name in ("ours", "baseline", "compiled") if works.get(name)
    }
    asks["bmm"] = partial(ours.ask, "bmm", n_products)
    if "second" in workers:
        # the others are at it for longer than our steps take
        asks["second"] = partial(beside, "second", "step", 2 * n)
        asks["busy"] = partial(beside, "busy", "spin", 1 + round(3000 * seconds))
    rounds = [{name: ask() for name, ask in asks.items()} for _ in range(n_rounds)]
    for worker in workers.values():
        worker.ask("end", 0)
    return {name: tuple(map(statistics.median, zip(*(costs[name] for costs in rounds), strict=True))) for name in asks}


def cells_of(case: Case, costs: dict[str, Cost], asked: argparse.Namespace) -> dict[str, str]:
    """Cells of the table by their headings, empty where something was not measured."""
    seconds, faults = ({name: costs.get(name, NOTHING)[i] for name in MEASURED} for i in (0, 1))
    ours, baseline = seconds["ours"], seconds["baseline"]
    cells = {name: str(value) for name, value in asdict(case).items()}
    cells |= {"ms": f"{1e3 * ours:.3g}", "page faults": f"{faults['ours']:.0f}"}
    cells |= {"GFLOP/s": f"{n_operations(case) / ours / 1e9:.0f}"}
    cells |= {"of bmm": f"{2 * 2 * case.batch * case.width**2 / seconds['bmm'] / 1e9:.0f}"}
    if asked.baseline:
        cells |= {"baseline ms": f"{1e3 * baseline:.3g}", "its page faults": f"{faults['baseline']:.0f}"}
        cells |= {"ours / baseline": f"{ours / baseline:.2f}"}
    if asked.compile:
        compiled = seconds["compiled"]
        cells |= {"compiled ms": f"{1e3 * compiled:.3g}", "compiled / ours": f"{compiled / ours:.2f}"}
    if asked.two:
        cells |= {"beside a fit": f"{seconds['second'] / ours:.2f}"}
        cells |= {"beside a busy process": f"{seconds['busy'] / ours:.2f}"}
    return {heading: "" if text == "nan" else text for heading, text in cells.items()}


def processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def commit(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = parser_of(__doc__, "two shapes and OT-Net at d = 2, short rounds")
    parser.add_argument("--baseline", type=Path, help="a checkout of another commit")
    parser.add_argument("--compile", action="store_true", help="the compiled step too")
    parser.add_argument("--two", action="store_true", help="beside a second fit, and beside a busy process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work()
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
        cells = cells_of(case, measure(case, workers, n_rounds, seconds), options)
        if not index:
            print(heading(list(cells)))
        print(row(cells.values()), flush=True)


if __name__ == "__main__":
    main()
