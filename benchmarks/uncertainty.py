"""Does `uncertainty` rank rows by their error? Fits on several samples, at the same new rows.

python benchmarks/uncertainty.py           # the table of benchmarks/results/certificates.md
python benchmarks/uncertainty.py --quick   # does it run? (make bench)

The errors of one fit depend on its sample, so a function of the row can predict them in part only. The expected error
of a row is estimated by its mean error in the fits on other samples, and three rank correlations over the rows are
measured: of `uncertainty` with the errors of its own fit; of the expected error with the errors of one fit, which is
what a perfect estimate of it would reach; and of `uncertainty` with the expected error.
"""

import itertools
import warnings

import numpy as np
from common import heading, make_parser, median_and_range, row
from scipy.stats import spearmanr

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport
from neuralot.datasets import make_convex_potential, make_gaussians, make_parallel

N_FIT, N_NEW, N_DRAWS = 4000, 1500, 8
METHODS = {"SNOT": SNOTTransport, "OTP": OTPTransport, "OT-Net": OTNetTransport, "W2GN": W2GNTransport}
COLUMNS = ("pair", "d", "transport", "fits", "own error", "expected error, own error", "expected error")


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(spearmanr(first, second)[0])


def main() -> None:
    parser = make_parser(__doc__, "two fits of 20 steps, d = 2")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(60, 66)))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--max-iter", type=int, default=1200, help="steps of a fit")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.seeds, options.max_iter = [2], options.seeds[:2], 20
        print("Fits of 20 steps: the figures are meaningless.")
    print(heading(COLUMNS), flush=True)
    for d, make, name in itertools.product(
        options.dims, (make_gaussians, make_convex_potential, make_parallel), options.methods
    ):
        pair = make(d)
        new = pair.sample(N_NEW, random_state=9999)[0]
        exact, errors, estimates = pair.exact_map(new), [], []
        for seed in options.seeds:
            with warnings.catch_warnings(action="ignore"):
                fit = METHODS[name](max_iter=options.max_iter, random_state=seed)
                fit.fit(*pair.sample(N_FIT, random_state=seed))
            draws = fit.sample(new, N_DRAWS, random_state=1)
            errors.append(((draws - exact) ** 2).sum(axis=2).mean(axis=0))
            estimates.append(fit.uncertainty(new))
        own, best, expected = [], [], []
        for i, (error, estimate) in enumerate(zip(errors, estimates, strict=True)):
            others = np.mean(errors[:i] + errors[i + 1 :], axis=0)
            own.append(correlation(estimate, error))
            best.append(correlation(others, error))
            expected.append(correlation(estimate, others))
        cells = [median_and_range(values, ".2f") for values in (own, best, expected)]
        print(row([pair.name, d, name, len(errors), *cells]), flush=True)


if __name__ == "__main__":
    main()
