"""The scripts of examples/large, end to end on a few small images and rows."""

import json
import runpy
from functools import partial

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import neuralot
from neuralot import OTPTransport
from neuralot.networks import ConvMap, ResidualPotential

LARGE = ROOT / "examples" / "large"
FUNCTIONS = """
def features(rows):
    return rows.reshape(len(rows), 3, -1).mean(axis=2)

def label(rows):
    return (rows.reshape(len(rows), 3, -1).mean(axis=2)[:, 0] > 0.5).astype(int)
"""


@pytest.fixture
def folders(tmp_path):
    """Two folders of small images: dark ones, in a subfolder, and bright ones of another size."""
    rng = np.random.default_rng(0)
    for name, low, shape in (("dark/a", 0, (20, 16, 3)), ("bright", 128, (16, 24, 3))):
        (tmp_path / name).mkdir(parents=True)
        for index in range(24):
            pixels = rng.integers(low, low + 128, size=shape).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return tmp_path


def run(name, *arguments):
    runpy.run_path(str(LARGE / name))["main"](list(map(str, arguments)))


@pytest.mark.parametrize("method", ["otp", "snot"])
def test_translation_saves_measures_and_resumes(folders, method, capsys):
    functions = [
        f"--{name}={folders / 'functions.py'}:{function}"
        for name, function in (("features", "features"), ("classifier", "label"))
    ]
    options = [
        "--out",
        folders / "out",
        "--size",
        8,
        "--channels",
        2,
        "--batch-size",
        8,
        "--method",
        method,
        "--workers",
        0,
        "--save-minutes",
        0,
        *functions,
    ]
    run("translate_folders.py", folders / "dark", folders / "bright", "--steps", 3, *options)
    records = [json.loads(line) for line in (folders / "out" / "measures.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 3]  # one part has 22 images, that is, 3 batches
    assert set(records[0]) == {
        "step",
        "moved",
        "fid",
        "fid_source",
        "label_kept",
        "label_distance",
        "label_distance_source",
    }
    # 24-bit colours in [0, 0.5) and [0.5, 1): the means of three channels are 0.5 apart
    assert records[0]["fid_source"] == pytest.approx(3 * 0.5**2, rel=0.2)
    assert records[0]["label_distance_source"] == 1
    with Image.open(folders / "out" / "draws.png") as grid:
        assert grid.size == (5 * 8, 2 * 8)
    with (folders / "out" / "transport.safetensors").open("rb") as file:
        before = file.read()
    run("translate_folders.py", folders / "dark", folders / "bright", "--steps", 6, "--resume", *options)
    records = [json.loads(line) for line in (folders / "out" / "measures.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 6
    assert (folders / "out" / "transport.safetensors").read_bytes() != before
    assert "step 6" in capsys.readouterr().out


@pytest.mark.slow
def test_translation_at_64_by_64_pixels(tmp_path):
    """The target is the source, brighter by 128 of 255: the draws must be too, also those of the resumed fit."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 128)):
        (tmp_path / name).mkdir()
        for index in range(20):
            pixels = rng.integers(low, low + 64, size=(1, 1, 3)) + rng.integers(0, 64, size=(72, 64, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    out, options = tmp_path / "out", {"image_shape": (3, 64, 64), "n_channels": 4}
    networks = {"map_form": partial(ConvMap, **options), "potential_network": partial(ResidualPotential, **options)}
    arguments = [tmp_path / "dark", tmp_path / "bright", "--out", out, "--channels", 4, "--batch-size", 9]
    arguments += ["--workers", 0, "--save-minutes", 0, "--features", f"{tmp_path / 'functions.py'}:features"]
    fits = []
    for steps in (2, 4):  # one pass over 18 images, and another one
        run("translate_folders.py", *arguments, "--steps", steps, *["--resume"] * (steps > 2))
        fits.append(neuralot.load(out / "transport.safetensors", **networks))
        found = json.loads((out / "measures.jsonl").read_text().splitlines()[-1])
        assert found["step"] == fits[-1].n_iter_ == steps
        assert found["moved"] == pytest.approx(128 / 255, rel=0.05)
        assert found["fid"] < 0.1 * found["fid_source"]
        with Image.open(out / "draws.png") as grid:
            assert grid.size == (5 * 64, 2 * 64)
    rows = np.full((1, 3 * 64 * 64), 0.2, dtype=np.float32)
    assert not np.array_equal(*(fit.transform(rows) for fit in fits))


def test_translation_names_what_is_missing(folders):
    (folders / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"empty must have at least 20 images .*, found 0"):
        run("translate_folders.py", folders / "empty", folders / "bright")
    with pytest.raises(SystemExit, match=r"pass file.py:function, got functions.py:none"):
        run("translate_folders.py", folders / "dark", folders / "bright", "--features", "functions.py:none")


def test_frechet_distance_of_shifted_rows_is_their_squared_distance():
    distance = runpy.run_path(str(LARGE / "translate_folders.py"))["frechet_distance"]
    rows = np.random.default_rng(0).normal(size=(50, 3))
    assert distance(rows, rows + np.array([1, 2, 0])) == pytest.approx(5)
    assert distance(rows, 2 * rows - rows.mean(axis=0)) == pytest.approx(np.cov(rows.T).trace())


@pytest.mark.slow
def test_colourisation_runs_each_fit(tmp_path, capsys):
    fits = ["perceptrons", "deterministic", "noise", "convolutional"]
    options = ["--steps", 2, "--components", 6, "--channels", 2, "--digits", 200, "--draws", 3, "--out", tmp_path]
    run("colourise_mnist.py", "--fit", *fits, *options)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in fits]
    assert {path.stem for path in tmp_path.glob("*.png")} == set(fits)


@pytest.mark.slow
def test_flow_matching_compares_three_kinds_of_pairs(tmp_path, capsys):
    pytest.importorskip("torchcfm")
    options = ["--seeds", 0, "--rows", 100, "--steps", 5, "--fit-steps", 5, "--out", tmp_path]
    run("flow_matching.py", "--data", "digits, d = 10", *options)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[1] for line in lines] == ["pairs", "independent", "minibatch plan", "OT-Net"]
    costs = {pairs: float(cells[0]) for _, pairs, _, *cells in lines[1:]}
    assert costs["independent"] > 1.5 * costs["minibatch plan"]
    assert costs["independent"] > 1.5 * costs["OT-Net"]
    assert (tmp_path / "digits.png").exists()


def test_functions_for_spark_map_data_frames():
    pytest.importorskip("pandas")
    import pandas as pd

    functions = runpy.run_path(str(LARGE / "spark_images.py"))
    X, Y = (pd.DataFrame(np.random.default_rng(i).normal(i, 1, (60, 2)), columns=["a", "b"]) for i in (0, 1))
    transport = OTPTransport(max_iter=3, noise_shape="isotropic", random_state=0).fit(X, Y)
    images = pd.concat(functions["images_of"](transport)(iter([X[:20], X[20:]])))
    assert images.columns.tolist() == ["a", "b"]
    np.testing.assert_allclose(images, transport.transform(X), atol=1e-9)
    functions["draws_of"].__globals__["partition_number"] = lambda: 0  # asks Spark
    first, second = functions["draws_of"](transport, 3)(iter([X, X]))
    assert first.shape == (180, 2)
    assert not np.isclose(first, second).all(axis=1).any()
    assert np.ptp(first.to_numpy().reshape(60, 3, 2), axis=1).max() < np.ptp(X.to_numpy())
