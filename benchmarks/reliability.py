"""How often is each promise about long fits, files, processes and awkward data kept?

python benchmarks/reliability.py           # about ten minutes on two cores
python benchmarks/reliability.py --quick   # does it run? (make bench)

Each row of the table runs some tests, slow ones included. *tried* is the number of tests times the number of attempts
in each, such as 20 kills of one fit. A test that fails counts as if none of its attempts had succeeded.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from common import heading, make_parser, row

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Promise:
    """Promise, the tests that try it, and the number of attempts in each test."""

    words: str
    file: str
    expression: str
    attempts: int = 1

    @property
    def command(self) -> list[str]:
        return ["-m", "slow or not slow", f"tests/{self.file}", "-k", self.expression]


PROMISES = [
    Promise("a fit that is killed continues with the same bits", "test_checkpoints.py", "twenty_random", 20),
    Promise("the same, killed at three records", "test_checkpoints.py", "bits_of_uninterrupted", 3),
    Promise("SIGTERM and Ctrl-C keep the weights, a second one leaves", "test_checkpoints.py", "terminated or second"),
    Promise("other parameters, samples or files are named", "test_checkpoints.py", "named or foreign"),
    Promise("no room for a checkpoint: a warning, and the fit goes on", "test_checkpoints.py", "stops_the_checkpoint"),
    Promise("a file with one flipped byte is refused", "test_persistence.py", "flipped_byte", 101),
    Promise("a truncated file is refused", "test_persistence.py", "truncated_file", 30),
    Promise(
        "foreign, deep, large and newer files are named", "test_persistence.py", "foreign or other_files or large_file"
    ),
    Promise("files of all earlier formats are read", "test_persistence.py", "formats or format_1_are_loaded"),
    Promise("a killed save leaves the old file or the new one", "test_persistence.py", "killed_at_any_moment", 20),
    Promise(
        "two processes equal one, with the same bits in both",
        "test_distributed.py",
        "equals_one or equal_one or same_bits",
    ),
    Promise("two processes recover thin pairs", "test_distributed.py", "recover_thin_pairs"),
    Promise("a killed process ends the others with an error", "test_distributed.py", "killed_process"),
    Promise("a stream gives the bits of an array, for any batches", "test_out_of_core.py", "bits"),
    Promise("a bad stream is named", "test_out_of_core.py", "named or no_weights or takes_long"),
    Promise("the environment changes no bits, and a fit no environment", "test_environment.py", "test"),
    Promise("awkward data: near the exact images, or a warning", "test_awkward.py", "test"),
]


def outcome(promise: Promise) -> tuple[int, int]:
    """Number of attempts, and of those that succeeded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *promise.command, f"--junitxml={path}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        cases = [case for case in ET.parse(path).iter("testcase") if case.find("skipped") is None]
    n_held = sum(case.find("failure") is None and case.find("error") is None for case in cases)
    return promise.attempts * len(cases), promise.attempts * n_held


def main() -> None:
    args = make_parser(__doc__, "two short promises").parse_args()
    promises = PROMISES[2:4] if args.quick else PROMISES
    print(heading(["promise", "tried", "held", "command: pytest -m 'slow or not slow' tests/..."]))
    for promise in promises:
        tried, held = outcome(promise)
        print(row([promise.words, tried, held, f"`{promise.file} -k '{promise.expression}'`"]), flush=True)


if __name__ == "__main__":
    main()
