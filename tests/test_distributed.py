"""Fits that two processes share, compared with the same fits of one process.

The processes run this file as a script, with the environment variables of torchrun. Each saves what it found.
"""

import contextlib
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import PAIRS, ROOT, flat_weights, gaussian, rows, seeded

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport
from neuralot.exceptions import LostProcessError, ScaleWarning
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT, OTNet
from neuralot.sampling import ArraySampler
from neuralot.solve import distributed, solve
from neuralot.solve.distributed import Processes, alone, current, joined, may_join
from neuralot.solve.training import Training

SIZES = (16, 16)
X, Y = gaussian(300, 2), gaussian(200, 2, seed=1) + 2
SMALL = {"hidden_layer_sizes": SIZES, "max_iter": 50, "random_state": 0}
THIN = ("perpendicular", "parallel", "one_to_many", "multi_perpendicular")


def form(**options):
    return make_form(2, hidden_layer_sizes=SIZES, generator=seeded(), **options)


METHODS = {
    "SNOT": lambda: SNOT(2, form()),
    "SNOT, network": lambda: SNOT(2, form(map_form="network")),
    "SNOT, noise": lambda: SNOT(2, form(map_form="network", noise_dim=2)),
    "OTP": lambda: OTP(2, form()),
    "OTP, network": lambda: OTP(2, form(map_form="network")),
    "OTNet": lambda: OTNet(2, network_share=0.05, generator=seeded()),
}
ESTIMATORS = {
    "SNOT": SNOTTransport(batch_size=64, optimizer="adam", **SMALL),
    "OTP": OTPTransport(batch_size=64, optimizer="adam", **SMALL),
    "OTNet": OTNetTransport(n_monte_carlo=256, optimizer="adam", **SMALL),
    "W2GN": W2GNTransport(batch_size=64, **SMALL),
    "stopped early": OTPTransport(batch_size=64, early_stopping=True, n_iter_no_change=5, **SMALL),
    "seconds": OTPTransport(**SMALL | {"max_time": 0.3, "max_iter": "auto", "random_state": None}),
}


def solved(name, batch_size):
    """Return the weights after 50 steps in double precision.

    In single precision the game of the network form amplifies rounding errors, as it does if the rows of each batch are
    reversed in one process.
    """
    laws = ArraySampler(rows(300)), ArraySampler(rows(200, seed=1) + 2, stratified=True)
    options = {"max_iter": 500, "n_steps": 50, "optimizer": "adam", "learning_rate": 1e-3, "generator": seeded()}
    solution = solve(METHODS[name]().double(), *laws, batch_size=batch_size, **options)
    return flat_weights(solution.problem).numpy()


def fitted(name):
    """Return what a fit found, as arrays, numbers and names."""
    est = ESTIMATORS[name].fit(X, Y)
    return {
        "weights": flat_weights(est.problem_).numpy(),
        "images": est.transform(X),
        "draws": est.sample(X, random_state=0),
        "history": est.history_,
        "status": est.status_.name,
        "n_iter": est.n_iter_,
        "cost": est.transport_cost_,
        "parameters": (est._fitted_params.batch_size, est._fitted_params.learning_rate_init),
    }


def streamed():
    """Return the weights after two parts of a stream."""
    est = SNOTTransport(batch_size=50, optimizer="adam", **SMALL)
    for part in range(2):
        est.partial_fit(X[part::2], X_target=Y[part::2])
    return flat_weights(est.problem_).numpy()


# what the processes run


def heard(rank):
    """Return the warnings, the standard error and the number of calls of a callback."""
    calls = []
    est = SNOTTransport(verbose=True, callbacks=[lambda *_: calls.append(1)], **SMALL | {"max_iter": 5})
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(io.StringIO()) as stderr:
        warnings.simplefilter("always")
        est.fit(X, 1000 * Y)
    return {"warnings": [each.category for each in caught], "stderr": stderr.getvalue(), "calls": len(calls)}


def refused(rank, parameters, source):
    """Return the message of a fit with other arguments in each process."""
    est = SNOTTransport(**SMALL | parameters)
    try:
        est.fit(source, Y)
    except ValueError as error:
        return str(error), hasattr(est, "problem_")
    raise AssertionError("no error")


@contextlib.contextmanager
def signal_in_tenth_step(rank, number):
    """Send a signal to process 1 in the tenth step of a fit."""
    step, n_steps = Training.step, 0

    def counted(*arguments):
        nonlocal n_steps
        n_steps += 1
        if rank == 1 and n_steps == 10:
            os.kill(os.getpid(), number)
        return step(*arguments)

    Training.step = counted
    try:
        yield
    finally:
        Training.step = step


def terminated(rank):
    """Return what remains of a fit in which process 1 receives SIGTERM in its tenth step."""
    with signal_in_tenth_step(rank, signal.SIGTERM):
        est = SNOTTransport(**SMALL).fit(X, Y)
    return {"status": est.status_.name, "n_iter": est.n_iter_, "weights": flat_weights(est.problem_).numpy()}


def fitted_alone(rank):
    """Return the weights of a fit that this process makes by itself."""
    with alone():
        return flat_weights(SNOTTransport(**SMALL | {"max_iter": 5, "random_state": rank}).fit(X, Y).problem_).numpy()


def fitted_in_own_group(rank):
    """Return the weights of a fit in a group that exists already, and whether it exists afterwards."""
    dist.init_process_group("gloo")
    weights = flat_weights(SNOTTransport(**SMALL | {"max_iter": 5, "random_state": None}).fit(X, Y).problem_).numpy()
    exists = dist.is_initialized()
    dist.destroy_process_group()
    return weights, exists


def work(rank):
    """Return all that the tests compare."""
    found = {"estimators": {name: fitted(name) for name in ESTIMATORS}, "stream": streamed()}
    with joined(torch.device("cpu")) as processes:
        found["size"] = processes.size, current().size
        found["methods"] = {name: solved(name, 65) for name in METHODS}
    found["after"] = current().size, dist.is_initialized()
    found["heard"] = heard(rank)
    found["other rows"] = refused(rank, {}, X + rank)
    found["other parameter"] = refused(rank, {"max_iter": 50 + rank}, X)
    found["small batch"] = refused(rank, {"batch_size": 1}, X)
    found["terminated"] = terminated(rank)
    found["alone"] = fitted_alone(rank)
    found["own group"] = fitted_in_own_group(rank)
    return found


def work_and_die(rank):
    """Yield all that the tests compare, and what process 0 finds when process 1 is killed."""
    yield work(rank)
    yield die(rank)


def die(rank):
    """Kill process 1 in its tenth step, and return the error of the other."""
    est = SNOTTransport(**SMALL)
    try:
        with signal_in_tenth_step(rank, signal.SIGKILL):
            est.fit(X, Y)
    except LostProcessError as error:
        return str(error), hasattr(est, "problem_"), dist.is_initialized()
    raise AssertionError("no error")


def recover(rank):
    """Yield fits of the thin pairs, with the defaults."""
    from test_recovery import fit

    yield {name: fit(OTPTransport, PAIRS[name]) for name in THIN}


def launch(task, folder, n_processes=2):
    """Run a task in processes; return their exit codes and the lists of what each found."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    names = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": n_processes, "OMP_NUM_THREADS": 1}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, task, str(folder)],
            env=os.environ | {name: str(value) for name, value in (names | {"RANK": rank}).items()},
        )
        for rank in range(n_processes)
    ]
    try:
        codes = [process.wait(timeout=600) for process in started]
    finally:
        for process in started:
            process.kill()
    paths = [sorted(folder.glob(f"{rank}-*.pkl")) for rank in range(n_processes)]
    return codes, [[pickle.loads(path.read_bytes()) for path in of_rank] for of_rank in paths]


def main(task, folder):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rank = int(os.environ["RANK"])
    for index, found in enumerate(globals()[task](rank)):
        (Path(folder) / f"{rank}-{index}.pkl").write_bytes(pickle.dumps(found))


# the tests


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return launch("work_and_die", tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def found(ended):
    return [of_rank[0] for of_rank in ended[1]]


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one(name, found):
    first, second = (each["methods"][name] for each in found)
    assert np.array_equal(first, second)
    assert np.linalg.norm(first - solved(name, 64)) < 1e-8  # a batch of 65 rows is rounded down


@pytest.mark.parametrize("name", ["SNOT", "OTP", "OTNet", "W2GN"])
def test_estimator_in_two_processes_equals_one(name, found):
    expected = fitted(name)
    shared = found[0]["estimators"][name]
    assert shared["status"] == expected["status"]
    assert np.linalg.norm(shared["weights"] - expected["weights"]) < 1e-4
    for name in ("images", "draws"):
        np.testing.assert_allclose(shared[name], expected[name], atol=1e-4)


def test_stream_in_two_processes_equals_one(found):
    assert np.array_equal(found[0]["stream"], found[1]["stream"])
    assert np.linalg.norm(found[0]["stream"] - streamed()) < 1e-4


@pytest.mark.parametrize("name", ESTIMATORS)
def test_both_processes_end_with_the_same_bits(name, found):
    first, second = (each["estimators"][name] for each in found)
    for key, value in first.items():
        assert np.array_equal(value, second[key]), key
    assert first["history"]


def test_group_ends_with_the_fit(found):
    for each in found:
        assert each["size"] == (2, 2)
        assert each["after"] == (1, False)


def test_group_that_exists_is_used_and_kept(found):
    for each in found:
        weights, exists = each["own group"]
        assert np.array_equal(weights, found[0]["own group"][0])
        assert exists


def test_first_process_alone_shows_warns_and_calls(found):
    first, second = (each["heard"] for each in found)
    assert ScaleWarning in first["warnings"]
    assert "loss" in first["stderr"]
    assert first["calls"] > 1
    assert second == {"warnings": [], "stderr": "", "calls": 0}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("other rows", r"^X of process 1 differs .*digest.* share of each process itself"),
        ("other parameter", r"^max_iter of process 1 differs .*: 51 instead of 50"),
        ("small batch", r"^a batch must have at least one row for each of the 2 processes, got 1"),
    ],
)
def test_invalid_fit_is_refused_in_both_processes(case, message, found):
    for each in found:
        text, is_fitted = each[case]
        with pytest.raises(ValueError, match=message):
            raise ValueError(text)
        assert not is_fitted


def test_fits_inside_alone_are_separate(found):
    for rank, each in enumerate(found):
        expected = SNOTTransport(**SMALL | {"max_iter": 5, "random_state": rank}).fit(X, Y)
        assert np.array_equal(each["alone"], flat_weights(expected.problem_).numpy())


def test_signal_to_one_process_ends_both_after_the_same_step(found):
    first, second = (each["terminated"] for each in found)
    assert first["status"] == second["status"] == "INTERRUPTED"
    assert first["n_iter"] == second["n_iter"] == 10
    assert np.array_equal(first["weights"], second["weights"])


def test_killed_process_ends_the_other_with_an_error(ended):
    codes, (first, second) = ended
    assert codes == [0, -signal.SIGKILL]
    assert len(second) == 1
    text, is_fitted, has_group = first[1]
    assert text.startswith("Process 0 of 2 lost another one")
    assert not is_fitted
    assert not has_group


def test_children_of_launched_processes_do_not_join(monkeypatch):
    assert not may_join()
    for name in distributed.LAUNCHED:
        monkeypatch.setenv(name, "2")
    assert may_join()
    monkeypatch.setattr(distributed.multiprocessing, "parent_process", lambda: "a parent")
    assert not may_join()


def test_gpu_is_that_of_the_local_rank(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    local = distributed._local
    assert local(torch.device("cuda")) == torch.device("cuda", 1)
    assert local(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert local(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="one CUDA device per process"):
        local(torch.device("cuda"))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_make_up_the_batch(size):
    batch = rows(size * 4)
    shares = [Processes(rank, size).share(batch) for rank in range(size)]
    assert torch.equal(torch.cat(shares), batch)


@pytest.mark.slow
def test_two_processes_recover_thin_pairs(tmp_path):
    from test_recovery import assert_cost_is_exact, assert_image_is_the_target, assert_map_is_exact

    codes, ([first], [second]) = launch("recover", tmp_path)
    assert codes == [0, 0]
    for name, transport in first.items():
        pair = PAIRS[name]
        assert torch.equal(flat_weights(transport.problem_), flat_weights(second[name].problem_))
        assert_image_is_the_target(transport, pair)
        if pair.tolerance.otp_l2_uvp is not None:
            assert_map_is_exact(transport, pair, pair.tolerance.otp_l2_uvp, cosine_needed=0.98)
        elif pair.cost is not None:
            assert_cost_is_exact(transport, pair)


@pytest.mark.slow
def test_example_runs_with_torchrun(tmp_path):
    script = ROOT / "examples" / "distributed" / "fit_shared.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    out = subprocess.run([*command, "--max-iter=30", f"--out={tmp_path}"], check=True, capture_output=True, text=True)
    assert out.stdout.count("saved") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["transport.safetensors"]


if __name__ == "__main__":
    main(*sys.argv[1:])
