"""Does anything break, or grow, in an hour of random use? Fits, streams, images, draws, files and reports.

python benchmarks/soak.py                  # one hour
python benchmarks/soak.py --quick          # does it run? (make bench)

Each round draws an estimator, its parameters, two samples and a few calls from one seed, so that a failure can be
repeated with --first and --rounds. Some parameters and samples are invalid. An error counts as named if it is of the
documented types and its message has the name of an argument. Images of finite rows must be finite, and a saved
transport must have the images of the loaded one.
"""

import collections
import gc
import pickle
import re
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import GIB, heading, make_parser, row
from sklearn.exceptions import NotFittedError

import neuralot
from neuralot import CriticLoss, Optimizer, OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport
from neuralot.costs import Lp

ESTIMATORS = [SNOTTransport, OTPTransport, OTNetTransport, W2GNTransport]
NAMED = (ValueError, TypeError, NotFittedError, AttributeError, NotImplementedError, FloatingPointError)
ARGUMENTS = "X|y|X_target|sample_domain|sample_weight|sample_weight_target|n_draws|random_state|out|path|t|refine_steps"
PARTS = 10

VALUES = {
    "hidden_layer_sizes": [(8,), (8, 8), (16, 16, 16), "auto", (0,), "large"],
    "activation": ["auto", "silu", "tanh", "celu", "cubic"],
    "batch_size": ["auto", 1, 7, 64, 0, 2.5],
    "n_monte_carlo": ["auto", 16, 64, -1],
    "learning_rate_init": ["auto", 1e-3, 0.02, 0, "fast"],
    "validation_fraction": [0.1, 0.5, 1.0],
    "early_stopping": [False, True, "yes"],
    "warm_start": [False, True],
    "map_form": ["auto", "gradient", "network", "convex"],
    "cost": ["sqeuclidean", Lp(1.5), "cosine"],
    "critic_loss": [None, CriticLoss(expectile_weight=0.0), CriticLoss(gradient_penalty=0.1), "loss"],
    "optimizer": ["muon", "adam", Optimizer("adam", weight_decay=0.0), Optimizer(n_map_steps=2), "sgd"],
    "noise_dim": [0, 2, -1],
    "eps_max": [0.25, 1.0, 0],
    "eps_min": ["auto", 1e-3, 0.1, -1.0],
    "noise_shape": ["auto", "isotropic", "covariance", "thin", "round"],
    "schedule": ["geometric", "linear", "square"],
    "output": ["hard", "smooth", "soft"],
    "mass_tol": [4e-3, 0.5, -1.0],
    "random_state": [0, 1, None, "seed"],
}


def parameters(cls: type, rng: np.random.Generator) -> dict[str, object]:
    """Random parameters; the last value of a list is usually invalid, and rarely drawn."""
    known = {name: values for name, values in VALUES.items() if name in cls().get_params(deep=False)}
    chosen = [name for name in known if rng.random() < 0.3]
    is_bad = rng.random() < 0.15
    drawn = {name: known[name][rng.integers(len(known[name]) - (not is_bad))] for name in chosen}
    sizes = {"hidden_layer_sizes": (8, 8)} | drawn
    return sizes | {"max_iter": int(rng.integers(1, 60))}


def sample(rng: np.random.Generator, d: int) -> object:
    """Random rows, of any kind that users have."""
    n = int(np.exp(rng.uniform(0, np.log(600))))
    rows = rng.normal(size=(n, d)) * rng.choice([1, 1, 1, 1e-6, 1e6]) + rng.choice([0, 0, 3, 1e5])
    kind = rng.integers(12)
    if kind == 0:
        rows = rng.standard_cauchy(size=(n, d))
    elif kind == 1:
        rows = np.round(rows)
    elif kind == 2:
        rows[:, 0] = 1.0
    elif kind == 3:
        rows = rows[rng.integers(max(1, n // 10), size=n)]
    elif kind == 4:
        rows[rng.integers(n)] = 9999
    elif kind == 5:
        rows = (rows > rows.mean()).astype(float)
    elif kind == 6 and rng.random() < 0.3:
        rows[rng.integers(n), rng.integers(d)] = np.nan
    elif kind == 7:
        rows = np.outer(rows[:, 0], np.ones(d))
    form = rng.integers(8)
    if form == 0:
        return rows.astype(np.float32)
    if form == 1:
        return pd.DataFrame(rows, columns=[f"c{i}" for i in range(d)])
    if form == 2:
        return torch.from_numpy(rows)
    return rows[0] if form == 3 and rng.random() < 0.1 else rows


class Round:
    """One estimator, two samples and some calls, drawn from a seed."""

    def __init__(self, seed: int, folder: Path, found: collections.Counter[str]) -> None:
        self.rng, self.folder, self.found = np.random.default_rng(seed), folder, found
        self.cls = ESTIMATORS[self.rng.integers(len(ESTIMATORS))]
        self.parameters = parameters(self.cls, self.rng)
        d = int(self.rng.choice([1, 2, 3, 5, 20]))
        self.X, self.Y = sample(self.rng, d), sample(self.rng, d if self.rng.random() < 0.97 else d + 1)

    def run(self) -> None:
        weights = {}
        if self.rng.random() < 0.2:
            weights = {"sample_weight": self.rng.exponential(size=len(self.X)) - 0.05 * (self.rng.random() < 0.1)}
        if self.rng.random() < 0.2:
            weights |= {"checkpoint": self.folder / "checkpoint", "checkpoint_interval": 0.0}
        options = {name: weights.pop(name) for name in list(weights) if name.startswith("checkpoint")}
        self.transport = self.cls(**self.parameters, **options)
        learn = self.transport.fit
        if hasattr(self.transport, "partial_fit") and self.rng.random() < 0.2:
            learn = self.transport.partial_fit
        learn(self.X, X_target=self.Y, **weights)
        self.found["fits"] += 1
        calls = [self.transform, self.sample, self.inverse, self.score, self.files, self.report, self.stream]
        for call in self.rng.permutation(np.array(calls, dtype=object))[:3]:
            call()
            self.found[call.__name__] += 1

    def transform(self) -> None:
        self._check(self.transport.transform(self.X), "images")

    def sample(self) -> None:
        self._check(self.transport.sample(self.X, 2, random_state=0), "draws")

    def inverse(self) -> None:
        if hasattr(self.transport, "inverse_transform"):
            self._check(self.transport.inverse_transform(self.Y), "inverse images")

    def score(self) -> None:
        self._check(self.transport.score(self.X, X_target=self.Y), "score")

    def report(self) -> None:
        str(self.transport.report(self.X, self.Y))

    def stream(self) -> None:
        if hasattr(self.transport, "partial_fit"):
            self.transport.partial_fit(self.X, X_target=self.Y)

    def files(self) -> None:
        path = self.folder / "transport"
        self.transport.save(path)
        images = np.asarray(self.transport.transform(self.X))
        for copy in (neuralot.load(path), pickle.loads(pickle.dumps(self.transport))):
            if not np.array_equal(np.asarray(copy.transform(self.X)), images):
                self.found["PROBLEM: other images after loading"] += 1

    def _check(self, values: object, name: str) -> None:
        if not np.isfinite(np.asarray(values)).all():
            self.found[f"PROBLEM: {name} not finite"] += 1


def play(seed: int, folder: Path, found: collections.Counter[str]) -> None:
    """Play one round, and count what happens."""
    found["rounds"] += 1
    words = f"{ARGUMENTS}|{'|'.join(VALUES)}|checkpoint"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            Round(seed, folder, found).run()
        except NAMED as error:
            is_named = re.search(rf"\b({words})\b", str(error)) is not None
            found["errors that name an argument" if is_named else "PROBLEM: errors without a name"] += 1
            if not is_named:
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        except Exception:
            found["PROBLEM: other errors"] += 1
            print(f"seed {seed}: {traceback.format_exc()}", flush=True)
    for each in caught:
        is_ours = "neuralot" in each.category.__module__ or each.category.__name__ == "ConvergenceWarning"
        found[f"{'' if is_ours else 'other '}warnings: {each.category.__name__}"] += 1
        if issubclass(each.category, RuntimeWarning):
            print(f"seed {seed}: {each.filename}:{each.lineno}: {each.message}", flush=True)
    (folder / "checkpoint").unlink(missing_ok=True)


def resident() -> float:
    """Resident memory of this process, in GiB."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / GIB


def main() -> None:
    parser = make_parser(__doc__, "twenty seconds")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=0, help="seed of the first round")
    parser.add_argument("--rounds", type=int, help="number of rounds, in place of a time")
    args = parser.parse_args()
    minutes = 1 / 3 if args.quick else args.minutes
    found: collections.Counter[str] = collections.Counter()
    memory, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seed = args.first
        while seed - args.first < args.rounds if args.rounds else time.perf_counter() - start < 60 * minutes:
            play(seed, Path(folder), found)
            memory.append(resident())
            seed += 1
        litter = [path.name for path in Path(folder).iterdir() if path.name != "transport"]
    print(heading(["what", "number"]))
    for name, count in sorted(found.items()):
        print(row([name, count]))
    print(row(["files left behind", len(litter)]))
    parts = [np.median(part) for part in np.array_split(memory, PARTS) if len(part)]
    print("\n" + heading(["part of the run", *range(1, len(parts) + 1)]))
    print(row(["median memory in GiB", *(f"{part:.3f}" for part in parts)]))


if __name__ == "__main__":
    main()
