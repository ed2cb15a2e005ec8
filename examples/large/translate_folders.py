"""Translate the images of one folder into those of another, unpaired.

The papers translate male to female faces, and wild animals to cats, at 64 x 64 pixels. This script does the same for
two folders of images of your own: it reads them lazily, fits a stream, saves the fit every few minutes, resumes, and
measures the images on rows that it has not seen. See README.md of this folder for commands and measures.
"""

import argparse
import json
import random
import runpy
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

import neuralot
from neuralot import OTPTransport, SNOTTransport
from neuralot.networks import ConvMap, ResidualPotential

METHODS = {"otp": OTPTransport, "snot": SNOTTransport}
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
HELD_OUT = 0.1


class Images(Dataset):
    """Images as flat rows in [0, 1], read when they are asked for: resized and cropped to size x size, in colour."""

    def __init__(self, paths, size):
        self.paths, self.size = paths, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index]) as image:
            pixels = np.asarray(ImageOps.fit(image.convert("RGB"), (self.size, self.size)), dtype=np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1).ravel() / 255)  # (3 * size * size,)


def read_folder(folder, size):
    """Return the images for training and the held-out images of a folder and its subfolders."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < 20:
        raise SystemExit(f"{folder} must have at least 20 images ({', '.join(sorted(SUFFIXES))}), found {len(paths)}")
    random.Random(0).shuffle(paths)
    n_held_out = max(1, int(HELD_OUT * len(paths)))
    return Images(paths[n_held_out:], size), Images(paths[:n_held_out], size)


def parts(images, n_rows, n_workers):
    """Yield arrays of rows, in another order in each epoch, without end."""
    loader = DataLoader(
        images, batch_size=min(n_rows, len(images)), shuffle=True, drop_last=True, num_workers=n_workers
    )
    while True:
        for rows in loader:
            yield rows.numpy()


def first_rows(images, n_rows):
    return torch.stack([images[index] for index in range(min(n_rows, len(images)))]).numpy()


def imported(argument):
    """Return the function of an argument ``file.py:name``; None for None."""
    if argument is None:
        return None
    path, _, name = argument.rpartition(":")
    try:
        return runpy.run_path(path)[name]
    except (FileNotFoundError, KeyError) as error:
        raise SystemExit(f"pass file.py:function, got {argument} ({error!r})") from error


def frechet_distance(features, others):
    """Return |m - m'|^2 + tr(C + C' - 2 (C^(1/2) C' C^(1/2))^(1/2)): the FID, for features of an Inception network."""
    means = [rows.mean(axis=0) for rows in (features, others)]
    # C = A'A and C' = B'B; the last trace is the sum of the singular values of AB', also for singular covariances
    A, B = ((rows - mean) / np.sqrt(len(rows) - 1) for rows, mean in zip((features, others), means, strict=True))
    traces = (A**2).sum() + (B**2).sum() - 2 * np.linalg.norm(A @ B.T, "nuc")
    return float(((means[0] - means[1]) ** 2).sum() + traces)


def measures(rows, draws, target, features, classifier):
    """Return the measures of draws for held-out source rows, each beside its value for the source rows themselves."""
    found = {"moved": float(np.sqrt(((draws - rows) ** 2).mean()))}
    if features is not None:
        fs = [np.asarray(features(each), dtype=float).reshape(len(each), -1) for each in (draws, rows, target)]
        found |= {"fid": frechet_distance(fs[0], fs[2]), "fid_source": frechet_distance(fs[1], fs[2])}
    if classifier is not None:
        drawn, before, wanted = (np.asarray(classifier(each)) for each in (draws, rows, target))
        labels = np.unique(np.r_[drawn, before, wanted])
        shares = np.array([[(each == label).mean() for label in labels] for each in (drawn, before, wanted)])
        found["label_kept"] = float((drawn == before).mean())
        found["label_distance"] = float(np.abs(shares[0] - shares[2]).sum() / 2)
        found["label_distance_source"] = float(np.abs(shares[1] - shares[2]).sum() / 2)
    return found


def save_grid(path, rows, draws, size):
    """Save source rows, one per line, and their draws beside them."""
    columns = np.concatenate([rows[None], draws]).clip(0, 1)[:, :8]  # (1 + n_draws, n, d)
    pixels = columns.reshape(*columns.shape[:2], 3, size, size).transpose(1, 3, 0, 4, 2)
    grid = pixels.reshape(pixels.shape[0] * size, pixels.shape[2] * size, 3)
    Image.fromarray((255 * grid).astype(np.uint8)).save(path)


def transport_of(args):
    """Return a new or, with --resume, the saved transport."""
    shape = (3, args.size, args.size)
    networks = {
        "map_form": partial(ConvMap, image_shape=shape, n_channels=args.channels),
        "potential_network": partial(ResidualPotential, image_shape=shape, n_channels=args.channels),
    }
    path = args.out / "transport.safetensors"
    if args.resume and path.exists():
        return neuralot.load(path, **networks).set_params(device=args.device)
    return METHODS[args.method](
        max_iter=args.steps,
        batch_size=args.batch_size,
        learning_rate_init=args.learning_rate,
        random_state=args.seed,
        device=args.device,
        **networks,
    )


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the images to translate")
    parser.add_argument("target", type=Path, help="folder with images of the other kind")
    parser.add_argument("--out", type=Path, default=Path("translated"), help="folder of the results")
    parser.add_argument("--size", type=int, default=64, help="pixels of an image in each direction")
    parser.add_argument("--method", choices=METHODS, default="otp")
    parser.add_argument("--steps", type=int, default=50_000, help="steps of the whole fit; schedules follow them")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--part", type=int, default=4096, help="images of each folder in memory at a time")
    parser.add_argument("--channels", type=int, default=48, help="features per pixel of both networks")
    parser.add_argument("--learning-rate", type=float, default=4e-4, help="of the map; a quarter for the potential")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="minutes between two files")
    parser.add_argument("--resume", action="store_true", help="continue from the file in --out")
    parser.add_argument("--features", help="file.py:function, rows in [0, 1] to features, for the FID")
    parser.add_argument("--classifier", help="file.py:function, rows in [0, 1] to labels")
    parser.add_argument("--judged", type=int, default=2000, help="held-out images that the measures use")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse(arguments)
    features, classifier = imported(args.features), imported(args.classifier)
    args.out.mkdir(parents=True, exist_ok=True)
    (source, held_source), (target, held_target) = (read_folder(each, args.size) for each in (args.source, args.target))
    rows, goal = first_rows(held_source, args.judged), first_rows(held_target, args.judged)
    transport = transport_of(args)

    def save():
        """Save the fit, replacing the last file only when the new one is complete, and measure it."""
        transport.save(args.out / "transport.safetensors")
        draws = transport.sample(rows, n_draws=4, random_state=0)
        save_grid(args.out / "draws.png", rows, draws, args.size)
        found = {"step": transport.n_iter_} | measures(rows, draws[0], goal, features, classifier)
        print(", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
        with (args.out / "measures.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")

    pairs = zip(parts(source, args.part, args.workers), parts(target, args.part, args.workers), strict=True)
    saved = time.monotonic()
    for part, target_part in pairs:
        if getattr(transport, "n_iter_", 0) >= args.steps:
            break
        transport.partial_fit(part, X_target=target_part)
        if time.monotonic() - saved > 60 * args.save_minutes:
            save()
            saved = time.monotonic()
    save()


if __name__ == "__main__":
    main()
