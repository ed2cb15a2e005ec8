"""Callbacks: early stopping on prescribed distances, and the progress bar with and without rich."""

import io
import sys

import pytest
import torch
from conftest import single_rows
from torch import nn

from neuralot.forms import make_form
from neuralot.methods import SNOT
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.callbacks import EarlyStopping, ProgressBar
from neuralot.solve.problem import Problem

X = single_rows(100)


class Shift(Problem):
    """Problem whose images have a prescribed distance from the target."""

    def __init__(self):
        super().__init__()
        self.networks = nn.ModuleDict()
        self.players = {}
        self.distance = nn.Parameter(torch.tensor(0.0))

    def loss(self, player, batch):
        raise AssertionError("never trained")

    def map(self, x):
        return x + self.distance


def run_early_stopping(distances, every=10, settles=0.0, **options):
    """Pass one distance per record; return callback, problem and index of the record that stopped the fit."""
    problem = Shift()
    stopping = EarlyStopping(X, X, settled=lambda progress: progress >= settles, **options)
    for i, distance in enumerate(distances):
        with torch.no_grad():
            problem.distance.fill_(distance)
        if stopping(every * i, problem, {"progress": i / len(distances)}):
            return stopping, problem, i
    return stopping, problem, None


def test_early_stopping_stops_after_n_iter_no_change_steps():
    distances = [3, 2, 1, 1.5, 1.4, 1.3, 1.2, 1.1, 1.05]
    assert run_early_stopping(distances, tol=0.0, n_iter_no_change=30)[2] == 5
    assert run_early_stopping(distances, tol=0.0, n_iter_no_change=25)[2] == 5
    assert run_early_stopping(distances, tol=0.0, n_iter_no_change=50)[2] == 7


def test_early_stopping_continues_while_distance_decreases():
    assert run_early_stopping([5 - 0.1 * i for i in range(20)], tol=0.0, n_iter_no_change=10)[2] is None


def test_decrease_below_tol_is_no_improvement():
    distances = [1 - 0.01 * i for i in range(20)]
    assert run_early_stopping(distances, tol=1e-6, n_iter_no_change=30)[2] is None
    assert run_early_stopping(distances, tol=0.1, n_iter_no_change=30)[2] == 3


def test_early_stopping_starts_once_problem_is_settled():
    distances = [0, 1, 2, 3, 4, 2.5, 3, 3, 3, 3]
    assert run_early_stopping(distances, tol=0.0, n_iter_no_change=30)[2] == 3
    stopping, problem, stopped = run_early_stopping(distances, settles=0.4, tol=0.0, n_iter_no_change=30)
    assert stopped == 8
    stopping.finish(problem)
    assert problem.distance == 2.5


def test_finish_restores_best_weights():
    stopping, problem, _ = run_early_stopping([3, 1, 2, 2, 2], tol=0.0, n_iter_no_change=30)
    assert problem.distance == 2
    stopping.finish(problem)
    assert problem.distance == 1


def test_finish_without_records_restores_nothing():
    problem = Shift()
    EarlyStopping(X, X, tol=0.0, n_iter_no_change=1).finish(problem)
    assert problem.distance == 0


def test_validation_distance_is_recorded():
    record = {"progress": 0.5}
    EarlyStopping(X, X + 1, tol=0.0, n_iter_no_change=1)(1, Shift(), record)
    assert record["validation"] > 0.1


def show_bar(record, stream=None):
    with ProgressBar(stream) as bar:
        assert bar(3, Shift(), record) is False
    return bar


RECORD = {"step": 3, "seconds": 4.0, "progress": 0.25, "map_loss": 1.5, "V_loss": 2.0, "discrepancy": 0.125, "eps": 0.5}


@pytest.fixture
def without_rich(monkeypatch):
    for name in ["rich", *(name for name in sys.modules if name.startswith("rich."))]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_rich")
def test_plain_bar_writes_one_line():
    stream = io.StringIO()
    assert show_bar(RECORD, stream).bar is None
    assert "25%  12 s left  step 3  loss 1.5/2  discrepancy 0.125  eps 0.5" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


@pytest.mark.usefixtures("without_rich")
def test_plain_bar_writes_to_standard_error(capsys):
    show_bar(RECORD)
    shown = capsys.readouterr()
    assert "step 3" in shown.err
    assert shown.out == ""


def test_rich_bar_writes_to_standard_error(capsys):
    pytest.importorskip("rich")
    assert show_bar(RECORD).bar is not None
    shown = capsys.readouterr()
    assert "step 3" in shown.err.replace("\n", " ")
    assert shown.out == ""


def test_early_stopping_and_bar_work_in_training_loop():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8)))
    stopping = EarlyStopping(X, X, tol=1.0, n_iter_no_change=10)
    with ProgressBar(io.StringIO()) as bar:
        solution = solve(problem, as_sampler(X), as_sampler(X), max_iter=50, batch_size=16, callbacks=[stopping, bar])
    assert solution.status is Status.STOPPED
    assert solution.n_iter == 11
    assert "validation" in solution.history[-1]
