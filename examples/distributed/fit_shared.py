"""One fit shared by several processes.

    torchrun --standalone --nproc-per-node=2 examples/distributed/fit_shared.py
    sbatch examples/distributed/fit_shared.slurm

Every process passes the same rows and computes the gradients on its share of each batch. All end with the same
transport; only the first one saves it. Without torchrun, the script makes the same fit in one process.
"""

import argparse
import os
from pathlib import Path

from neuralot import OTPTransport
from neuralot.datasets import make_moons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-iter", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=1024, help="rows of all processes together")
    parser.add_argument("--out", type=Path, default=Path("build/distributed"), help="folder of the saved transport")
    options = parser.parse_args()
    X, Y = make_moons().sample(20_000, random_state=0)
    est = OTPTransport(max_iter=options.max_iter, batch_size=options.batch_size, random_state=0, verbose=True)
    est.fit(X, Y)
    if os.environ.get("RANK", "0") == "0":
        options.out.mkdir(parents=True, exist_ok=True)
        est.save(options.out / "transport.safetensors")
        print(f"saved a fit of {est.n_iter_} steps: {est.status_.message}")


if __name__ == "__main__":
    main()
