"""Tests on a GPU; skipped if there is none."""

import os
import pickle
import subprocess
import sys

import numpy as np
import ot
import pandas as pd
import pytest
import torch
from conftest import GAMES, make_tiny, single_rows, streams

from neuralot import (
    Optimizer,
    OTNetTransport,
    OTPTransport,
    SNOTTransport,
    TrajectoryTransport,
    Verdict,
    W2GNTransport,
    load,
)
from neuralot._torch import matmul_precision
from neuralot.datasets import make_gaussians
from neuralot.estimators.streams import StreamTransport
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT
from neuralot.methods.planes import Planes
from neuralot.metrics import d_target, l2_uvp
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.capture import Captured
from neuralot.solve.pace import step_timer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device, or not asked for with -m gpu"),
]
FORMS = [{"map_form": "gradient"}, {"map_form": "network"}]


def fit_on(device, cls, samples, **parameters):
    # enough steps for the last ones to be captured
    return make_tiny(cls, **{"max_iter": 8, "device": device, **parameters}).fit(*samples)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("cls", GAMES)
def test_gpu_fit_is_as_accurate_as_cpu_fit(cls, form):
    # the generators of the devices differ, so the fits have the same accuracy but not the same weights
    pair = make_gaussians(2)
    X, Y = pair.sample(1000, random_state=0)
    images = {}
    for device in ("cpu", "cuda"):
        transport = cls(max_iter=600, batch_size=128, random_state=0, device=device, **form).fit(X, Y)
        assert next(transport.problem_.parameters()).device.type == device
        images[device] = transport.transform(X)
    exact = pair.exact_map(X)
    assert l2_uvp(images["cuda"], exact, pair.target_variance) < 2 * l2_uvp(images["cpu"], exact) + 2
    assert d_target(images["cuda"], images["cpu"]) < 0.1


def test_cells_on_gpu_have_target_masses():
    rng = np.random.default_rng(0)
    X, Y, other, new = (rng.normal(size=(n, 2)) for n in (4000, 100, 100, 100_000))
    transport = OTNetTransport(max_iter=300, random_state=0, device="cuda").fit(X, Y)
    for fitted in (transport, transport.retarget(other, refine_steps=100)):
        assert fitted.problem_.points.is_cuda
        masses = np.bincount(fitted.assign(new), minlength=100) / len(new)
        assert np.linalg.norm(masses - 0.01) < 0.03
    assert np.array_equal(transport.retarget(Y).assign(new), transport.assign(new))


def test_fit_on_gpu_is_reproducible_with_seed(transport_class, samples):
    one, other = (fit_on("cuda", transport_class, samples).transform(samples[0]) for _ in range(2))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", torch.device("cuda"), torch.device("cuda", 0)])
def test_all_device_names_select_gpu(transport_class, samples, device):
    transport = fit_on(device, transport_class, samples)
    assert next(transport.problem_.parameters()).is_cuda
    loaded = pickle.loads(pickle.dumps(transport))
    assert next(loaded.problem_.parameters()).is_cuda
    np.testing.assert_allclose(loaded.transform(samples[0]), transport.transform(samples[0]), atol=1e-5)


def test_gpu_fit_is_loaded_without_gpu(transport_class, samples, tmp_path):
    transport = fit_on("cuda", transport_class, samples)
    (tmp_path / "transport.pkl").write_bytes(pickle.dumps(transport))
    transport.save(tmp_path / "transport.safetensors")
    code = f"""
import pickle, neuralot, numpy as np, torch
assert not torch.cuda.is_available()
transport = pickle.load(open({str(tmp_path / "transport.pkl")!r}, "rb"))
images = transport.transform(np.ones((3, 2)))
assert (neuralot.load({str(tmp_path / "transport.safetensors")!r}).transform(np.ones((3, 2))) == images).all()
np.save({str(tmp_path / "images.npy")!r}, images)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    expected = transport.transform(np.ones((3, 2)))
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), expected, atol=1e-4)


@streams
def test_stream_stays_on_gpu(transport_class, samples):
    transport = make_tiny(transport_class, device="cuda")
    for _ in range(3):
        transport.partial_fit(*samples)
    assert next(transport.problem_.parameters()).is_cuda
    assert transport.n_iter_ == 9
    assert np.isfinite(transport.transform(samples[0])).all()


def test_cuda_tensors_give_cuda_tensors(transport_class, samples):
    X, Y = (torch.tensor(rows, dtype=torch.float32, device="cuda") for rows in samples)
    for device in ("cpu", "cuda"):
        transport = fit_on(device, transport_class, (X, Y))
        inverse = [transport.inverse_transform(Y)[:30]] if issubclass(transport_class, StreamTransport) else []
        for found in (transport.transform(X), transport.sample(X, 2, 0)[1], *inverse):
            assert found.is_cuda
            assert found.dtype == torch.float32
            assert found.shape == (30, 2)
            assert torch.isfinite(found).all()
        assert isinstance(transport.transform(samples[0]), np.ndarray)
        assert transport.transform(X.cpu()).device.type == "cpu"


def test_global_gpu_generator_is_unchanged(transport_class, samples):
    before = torch.cuda.get_rng_state()
    fit_on("cuda", transport_class, samples).sample(samples[0])
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_rows_are_drawn_on_gpu():
    generator = torch.Generator("cuda").manual_seed(0)
    for weights in (None, [1.0, 0.0, 3.0]):
        draws = as_sampler(np.arange(3.0).reshape(3, 1), weights, device="cuda")(100, generator)
        assert draws.is_cuda
        assert weights is None or not (draws == 1).any()


def fit_eager_and_captured(max_iter=50, cls=SNOT):
    rows = single_rows(4096)
    for capture in (False, True):
        problem = cls(2, make_form(2, hidden_layer_sizes=(32, 32))).to("cuda")
        source, target = as_sampler(rows, device="cuda"), as_sampler(rows + 1, device="cuda")
        generator = torch.Generator("cuda").manual_seed(0)
        yield solve(problem, source, target, max_iter=max_iter, generator=generator, capture=capture)


@pytest.mark.parametrize("cls", [SNOT, OTP])
def test_captured_fit_is_as_accurate_as_eager_fit(cls, monkeypatch):
    created = []
    monkeypatch.setattr("neuralot.solve.loop.Captured", lambda *given: created.append(Captured(*given)) or created[-1])
    eager, captured = fit_eager_and_captured(cls=cls, max_iter=400)
    assert [step.graph is None for step in created] == [False]
    assert captured.n_iter == eager.n_iter
    assert captured.status.ok
    assert captured.history[-1]["discrepancy"] < 2 * abs(eager.history[-1]["discrepancy"]) + 0.02


def test_captured_step_reads_changed_values():
    generator = torch.Generator("cuda").manual_seed(0)
    scale = torch.ones((), device="cuda")
    step = Captured(lambda: scale * torch.rand(100, generator=generator, device="cuda"), generator)
    draws = []
    for value in range(1, 8):
        scale.fill_(value)
        draws.append(step().clone() / value)
    assert step.graph is not None
    assert step.error is None
    assert all(((draw >= 0) & (draw < 1)).all() for draw in draws)
    assert len({float(draw[0]) for draw in draws}) == len(draws)


def test_step_that_synchronises_is_not_captured():
    generator = torch.Generator("cuda").manual_seed(0)
    step = Captured(lambda: float(torch.rand((), generator=generator, device="cuda")), generator)
    assert len({step() for _ in range(8)}) == 8
    assert step.waits
    assert step.graph is None
    assert step.error is None
    assert torch.cuda.get_sync_debug_mode() == 0


@pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < (2, 13), reason="no later capture of the process would work"
)
def test_failed_capture_restores_stream_and_generators():
    generator = torch.Generator("cuda").manual_seed(0)

    def draw():
        draws = torch.rand(3, generator=generator, device="cuda"), torch.rand(3, device="cuda")
        if torch.cuda.is_current_stream_capturing():
            draws[0].sum().item()
        return draws

    stream, step = torch.cuda.current_stream(), Captured(draw, generator)
    draws = [step() for _ in range(8)]
    assert step.graph is None
    assert step.error is not None
    assert torch.cuda.current_stream() == stream
    assert all(len({float(each[0]) for each in values}) == 8 for values in zip(*draws, strict=True))


def test_max_time_fit_times_captured_step(samples):
    transport = SNOTTransport(max_time=2, max_iter=100, random_state=0, device="cuda").fit(*samples)
    assert transport.status_ is Status.MAX_ITER
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(32, 32))).to("cuda")
    rows = as_sampler(samples[0], device="cuda")
    timer = [step_timer(problem, rows, rows, "auto", torch.Generator("cuda"), capture) for capture in (True, False)]
    assert 0 < timer[0](64) < timer[1](64)


def test_compiled_step_is_captured(monkeypatch):
    created = []
    monkeypatch.setattr("neuralot.solve.loop.Captured", lambda *given: created.append(Captured(*given)) or created[-1])
    pair = make_gaussians(2)
    X, Y = pair.sample(1000, random_state=0)
    images = []
    for compiled in (False, True):
        transport = SNOTTransport(
            max_iter=200, optimizer=Optimizer(compile=compiled), random_state=0, device="cuda"
        ).fit(X, Y)
        assert transport.history_[-1].get("compiled") == (1.0 if compiled else None)
        images.append(transport.transform(X))
    assert [step.graph is None for step in created] == [False, False]
    assert l2_uvp(images[1], images[0], pair.target_variance) < 0.1


def test_conditional_fit_on_gpu_knows_each_shift():
    rng = np.random.default_rng(0)
    drug, shift = rng.integers(3, size=2000), np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])
    X, Y = (pd.DataFrame(rng.normal(size=(2000, 2)) + treated * shift[drug]) for treated in (0, 1))
    X["drug"] = Y["drug"] = pd.Categorical.from_codes(drug, ["a", "b", "c"])
    X.columns = Y.columns = ["u", "v", "drug"]
    moved = ["u", "v"]
    for source, target in ((X, Y), (lambda: iter([X[:1000], X[1000:]]), lambda: iter([Y]))):
        transport = SNOTTransport(condition="drug", max_iter=300, random_state=0, device="cuda").fit(source, target)
        assert {buffer.device.type for buffer in transport.problem_.buffers()} == {"cuda"}
        found = transport.transform(X)
        assert found["drug"].equals(X["drug"])
        assert l2_uvp(found[moved].to_numpy(), X[moved].to_numpy() + shift[drug], 2.0) < 5
    report = transport.report(X, Y)
    assert len(report.reports) == 3
    assert report.verdict is Verdict.OPTIMAL


def test_unbalanced_fit_on_gpu_knows_masses():
    rng = np.random.default_rng(0)
    left = np.arange(1000) < np.array([[500], [667]])
    X, Y = (0.3 * rng.normal(size=(1000, 2)) + np.where(each[:, None], [-4, 0], [4, 0]) for each in left)
    transport = SNOTTransport(
        unbalanced="kl", reg_marginal_source=1.0, reg_marginal_target=1.0, max_iter=600, random_state=0, device="cuda"
    ).fit(X, Y)
    masses = transport.source_mass(X)
    assert abs(masses[left[0]].mean() / masses[~left[0]].mean() - (0.667 / 0.333) ** 0.5) < 0.1
    assert (np.sign(transport.transform(X)[:, 0]) == np.sign(X[:, 0])).all()
    assert transport.report(X, Y).verdict in (Verdict.OPTIMAL, Verdict.UNDECIDED)
    x, y = transport.sample_pairs(X, 500, random_state=0)
    assert (np.sign(x[:, 0]) == np.sign(y[:, 0])).all()


def test_trajectory_on_gpu_passes_through_the_laws(tmp_path):
    samples = [single_rows(1000, seed=k).numpy() + np.array([3.0 * k, 0.0]) for k in range(3)]
    transport = SNOTTransport(max_iter=300, random_state=0, device="cuda")
    trajectory = TrajectoryTransport(transport).fit(samples, time=[0, 1, 2])
    moved = trajectory.transform(samples[0], 2)
    assert l2_uvp(moved, samples[0] + [6.0, 0.0], 1.0) < 5
    trajectory.save(tmp_path / "trajectory")
    np.testing.assert_allclose(load(tmp_path / "trajectory").transform(samples[0], 2), moved, atol=1e-4)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
def test_few_points_on_gpu_have_the_exact_plan(cls):
    X, Y = single_rows(3).numpy(), single_rows(3, seed=1).numpy()
    order = ot.emd([], [], ot.dist(X, Y)).argmax(axis=1)
    np.testing.assert_allclose(make_tiny(cls, device="cuda").fit(X, Y).transform(X), Y[order], atol=1e-5)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, OTNetTransport, W2GNTransport])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_broken_fit_on_gpu_continues_from_its_checkpoint(cls, samples, tmp_path):
    def fail(step, problem, record):
        if step >= 30:
            raise RuntimeError("stop")
        return False

    options = {"max_iter": 60, "checkpoint_interval": 0}
    expected = fit_on("cuda", cls, samples, **options)
    options["checkpoint"] = tmp_path / "fit"
    with pytest.raises(RuntimeError, match="stop"):
        fit_on("cuda", cls, samples, **options, callbacks=[fail])
    found = fit_on("cuda", cls, samples, **options)
    assert found.n_iter_ == expected.n_iter_
    np.testing.assert_allclose(found.transform(samples[0]), expected.transform(samples[0]), atol=1e-3)


def test_memory_map_is_read_to_gpu(tmp_path):
    paths = [tmp_path / "x.npy", tmp_path / "y.npy"]
    for path, shift in zip(paths, (0.0, 3.0), strict=True):
        np.save(path, single_rows(200_000, seed=int(shift)).numpy() + np.float32(shift))
    X, Y = (np.load(path, mmap_mode="r") for path in paths)
    transport = SNOTTransport(max_iter=300, random_state=0, device="cuda").fit(X, Y)
    assert l2_uvp(transport.transform(X[:2000]), X[:2000] + 3, 1.0) < 1


def test_planes_are_compared_without_tf32():
    # with this many planes in two dimensions, TF32 selects another plane for every third row
    points, x = (single_rows(n, seed=n) for n in (10_000, 1000))
    heights = -points.square().sum(1) / 2
    with matmul_precision(torch.device("cuda"), "tf32"):
        found = Planes(points.cuda(), heights.cuda()).highest(x.cuda()).cpu()
    assert (found == Planes(points.double(), heights.double()).highest(x.double())).double().mean() > 0.999


def test_memory_does_not_grow_with_steps():
    def peak(max_iter):
        torch.cuda.reset_peak_memory_stats()
        list(fit_eager_and_captured(max_iter))
        return torch.cuda.max_memory_allocated()

    peak(50)  # memory that libraries reserve
    short, long = peak(50), peak(1000)
    assert long <= 1.05 * short
