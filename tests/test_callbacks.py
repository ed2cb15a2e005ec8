"""Callbacks: early stopping on a scripted fit, and the progress bar with rich and without."""

import io
import sys

import pytest
import torch
from torch import nn

from neuralot.forms import make_form
from neuralot.methods import SNOT
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.callbacks import EarlyStopping, ProgressBar
from neuralot.solve.problem import Problem

X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))


class Shift(Problem):
    """Images at a distance from the target that the test sets."""

    def __init__(self):
        super().__init__()
        self.networks = nn.ModuleDict()
        self.players = {}
        self.distance = nn.Parameter(torch.tensor(0.0))

    def loss(self, player, batch):
        raise AssertionError("never played")

    def map(self, x):
        return x + self.distance


def follow(distances, every=10, settles=0.0, **options):
    """Feed distances, one per record; return the callback, the problem and the record at which it stopped."""
    problem = Shift()
    stopping = EarlyStopping(X, X, settled=lambda progress: progress >= settles, **options)
    for i, distance in enumerate(distances):
        with torch.no_grad():
            problem.distance.fill_(distance)
        if stopping(every * i, problem, {"progress": i / len(distances)}):
            return stopping, problem, i
    return stopping, problem, None


def test_stops_after_so_many_steps_without_an_improvement():
    distances = [3, 2, 1, 1.5, 1.4, 1.3, 1.2, 1.1, 1.05]
    assert follow(distances, tol=0.0, n_iter_no_change=30)[2] == 5
    assert follow(distances, tol=0.0, n_iter_no_change=25)[2] == 5
    assert follow(distances, tol=0.0, n_iter_no_change=50)[2] == 7


def test_goes_on_while_it_improves():
    assert follow([5 - 0.1 * i for i in range(20)], tol=0.0, n_iter_no_change=10)[2] is None


def test_an_improvement_below_tol_is_none():
    distances = [1 - 0.01 * i for i in range(20)]
    assert follow(distances, tol=1e-6, n_iter_no_change=30)[2] is None
    assert follow(distances, tol=0.1, n_iter_no_change=30)[2] == 3


def test_counts_from_where_the_problem_has_settled():
    distances = [0, 1, 2, 3, 4, 2.5, 3, 3, 3, 3]
    assert follow(distances, tol=0.0, n_iter_no_change=30)[2] == 3
    stopping, problem, stopped = follow(distances, settles=0.4, tol=0.0, n_iter_no_change=30)
    assert stopped == 8
    stopping.finish(problem)
    assert problem.distance == 2.5


def test_restores_the_best_weights():
    stopping, problem, _ = follow([3, 1, 2, 2, 2], tol=0.0, n_iter_no_change=30)
    assert problem.distance == 2
    stopping.finish(problem)
    assert problem.distance == 1


def test_before_the_first_record_there_is_nothing_to_restore():
    problem = Shift()
    EarlyStopping(X, X, tol=0.0, n_iter_no_change=1).finish(problem)
    assert problem.distance == 0


def test_writes_the_validation_value_into_the_record():
    record = {"progress": 0.5}
    EarlyStopping(X, X + 1, tol=0.0, n_iter_no_change=1)(1, Shift(), record)
    assert record["validation"] > 0.1


def bar_of(record, stream=None):
    with ProgressBar(stream) as bar:
        assert bar(3, Shift(), record) is False
    return bar


RECORD = {"step": 3, "seconds": 4.0, "progress": 0.25, "map_loss": 1.5, "V_loss": 2.0, "discrepancy": 0.125, "eps": 0.5}


@pytest.fixture
def without_rich(monkeypatch):
    for name in ["rich", *(name for name in sys.modules if name.startswith("rich."))]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_rich")
def test_the_plain_bar_writes_one_line():
    stream = io.StringIO()
    assert bar_of(RECORD, stream).bar is None
    assert "25%  12 s left  step 3  loss 1.5/2  eps 0.5  discrepancy 0.125" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


@pytest.mark.usefixtures("without_rich")
def test_the_plain_bar_goes_to_standard_error(capsys):
    bar_of(RECORD)
    shown = capsys.readouterr()
    assert "step 3" in shown.err
    assert shown.out == ""


def test_the_rich_bar_goes_to_standard_error(capsys):
    pytest.importorskip("rich")
    assert bar_of(RECORD).bar is not None
    shown = capsys.readouterr()
    assert "step 3" in shown.err.replace("\n", " ")
    assert shown.out == ""


def test_both_work_in_the_loop():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8)))
    stopping = EarlyStopping(X, X, tol=1.0, n_iter_no_change=10)
    with ProgressBar(io.StringIO()) as bar:
        solution = solve(problem, as_sampler(X), as_sampler(X), max_iter=50, batch_size=16, callbacks=[stopping, bar])
    assert solution.status is Status.STOPPED
    assert solution.n_iter == 11
    assert "validation" in solution.history[-1]
