"""Samplers: the law of their draws, and that the given generator is all the randomness there is."""

import numpy as np
import pytest
import torch
from conftest import seeded
from torch.utils.data import DataLoader, TensorDataset

from neuralot.sampling import ArraySampler, as_sampler, canonical_order, hold_out, spaced


def numbered(n):
    return torch.arange(float(n)).reshape(n, 1)


def test_a_sampler_of_an_array_stays_one():
    """Methods read what it holds: moments, the points of a target."""
    sampler = ArraySampler(torch.randn(5, 2))
    assert as_sampler(sampler) is sampler


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 4.0], [2.0, 0.0, 0.0, 1e-3]])
def test_rows_are_drawn_in_proportion_to_their_weights(weights):
    n = 20_000
    draws = as_sampler(numbered(4), weights)(n, seeded()).long().ravel()
    shares = np.bincount(draws, minlength=4) / n
    expected = np.full(4, 0.25) if weights is None else np.array(weights) / np.sum(weights)
    assert (np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_the_unit_of_weights_does_not_matter(factor):
    weights = torch.tensor([1.0, 2.0, 4.0])
    expected = ArraySampler(numbered(3), weights)(100, seeded())
    assert torch.equal(ArraySampler(numbered(3), factor * weights.double())(100, seeded()), expected)


def test_rows_of_weight_zero_are_never_drawn():
    weights = torch.ones(1000)
    weights[::2] = 0
    draws = ArraySampler(numbered(1000), weights)(100_000, seeded()).ravel()
    assert (draws % 2 == 1).all()
    assert len(draws.unique()) == 500


def test_a_row_of_weight_two_is_drawn_like_one_that_stands_twice():
    twice = ArraySampler(torch.tensor([[0.0], [1.0], [1.0], [2.0]]))
    weighted = ArraySampler(numbered(3), torch.tensor([1.0, 2.0, 1.0]))
    assert torch.equal(twice(1000, seeded()), weighted(1000, seeded()))


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.0, 4.0]])
def test_a_batch_takes_one_row_from_each_part_of_the_mass(weights):
    sampler = ArraySampler(numbered(4), None if weights is None else torch.tensor(weights), stratified=True)
    counts = np.bincount(sampler(16, seeded()).long().ravel(), minlength=4)
    assert counts.tolist() == ([4, 4, 4, 4] if weights is None else [2, 6, 0, 8])


def test_rows_of_a_batch_are_in_random_order():
    """Those of two samplers are paired."""
    x, y = (
        ArraySampler(numbered(1000), stratified=True)(1000, generator).ravel() for generator in (seeded(), seeded(1))
    )
    assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 0.1


@pytest.mark.parametrize(("d", "factor"), [(1, 0.003), (2, 0.05), (4, 0.25), (16, 0.8)])
def test_means_of_batches_vary_less_than_those_of_independent_rows(d, factor):
    rows = np.random.default_rng(0).normal(size=(2**14, d)).astype(np.float32)
    sampler = ArraySampler(torch.from_numpy(rows[canonical_order(rows, np.ones(len(rows)))]), stratified=True)
    generator = seeded()

    def variance(draw):
        means = torch.stack([draw(256, generator).sin().mean(0) for _ in range(200)])
        return float(means.var(0).mean())

    assert variance(sampler) < factor * variance(sampler.independent)


def canonical(rows, weights):
    """The rows in their order, and where the mass that each of them ends at lies."""
    order = canonical_order(rows, weights)
    mass = np.cumsum(weights[order])
    return rows[order], mass / mass[-1]


def awkward_rows():
    rng = np.random.default_rng(0)
    ties = rng.integers(3, size=(300, 4)).astype(float)
    heavy = np.concatenate([rng.standard_t(1, size=(300, 2)), [[1e300, -1e300]]])
    return [ties, heavy, rng.normal(size=(5, 3)), np.zeros((10, 2)), 1e9 + rng.normal(size=(300, 1))]


@pytest.mark.parametrize("which", range(5))
def test_the_canonical_order_is_that_of_the_weighted_law(which):
    rng, rows = np.random.default_rng(1), awkward_rows()[which]
    times = rng.integers(0, 4, size=len(rows))
    shuffled = rng.permutation(len(rows))
    expected, mass = canonical(rows, times)
    for other in (
        canonical(rows[shuffled], times[shuffled]),
        canonical(rows.repeat(times, axis=0), np.ones(times.sum())),
    ):
        for level in np.linspace(0, 1, 57)[1:-1] + 1e-6:
            assert (other[0][np.searchsorted(other[1], level)] == expected[np.searchsorted(mass, level)]).all()


@pytest.mark.parametrize("weight", [0.1, 1 / 20_480, 7.0])
def test_the_canonical_order_does_not_depend_on_the_unit_of_weights(weight):
    """Of 20 480 rows the tree sees every tenth, just where one ends and the next begins."""
    rows = np.random.default_rng(0).normal(size=(20_480, 2))
    expected = canonical_order(rows, np.ones(len(rows)))
    assert np.array_equal(canonical_order(rows, np.full(len(rows), weight)), expected)


@pytest.mark.parametrize(
    "rows", [[[0, 1], [2, 3]], np.arange(4).reshape(2, 2), np.arange(4.0).reshape(2, 2), torch.arange(4).reshape(2, 2)]
)
def test_any_array_of_rows_gives_float32_rows(rows):
    draws = as_sampler(rows)(5, seeded())
    assert draws.shape == (5, 2)
    assert draws.dtype == torch.float32


def test_rows_that_torch_cannot_share_are_copied():
    rows = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    rows.setflags(write=False)
    for given in (rows, rows[::-1]):
        assert torch.equal(as_sampler(given).data, torch.tensor(given.copy()))


def test_a_callable_is_a_sampler_of_float32_rows():
    rows = as_sampler(lambda n, generator: torch.full((n, 2), 0.5, dtype=torch.double))(3, torch.Generator())
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize("weights", [[1.0, 2.0], [-1.0] * 10, [0.0] * 10, [float("nan")] * 10])
def test_weights_belong_to_the_rows(weights):
    with pytest.raises(ValueError, match="weights must"):
        as_sampler(torch.zeros(10, 2), weights)


@pytest.mark.parametrize("rows", [torch.zeros(0, 2), torch.zeros(3)])
def test_rows_are_rows(rows):
    with pytest.raises(ValueError, match="data must be rows"):
        as_sampler(rows)


def test_an_empty_loader_is_an_error():
    sampler = as_sampler(DataLoader(TensorDataset(torch.zeros(3, 2)), batch_size=4, drop_last=True))
    with pytest.raises(ValueError, match="DataLoader is empty"):
        sampler(1, torch.Generator())


def loader(**options):
    return DataLoader(TensorDataset(numbered(10), torch.zeros(10)), batch_size=4, **options)


@pytest.mark.parametrize("source", [loader(), lambda n, generator: torch.zeros(n, 2)], ids=["loader", "callable"])
def test_weights_are_for_rows_only(source):
    with pytest.raises(ValueError, match="weights are only for an array of rows"):
        as_sampler(source, weights=[1.0, 2.0])


@pytest.mark.parametrize("n", [1, 3, 4, 7, 25])
def test_a_loader_gives_any_number_of_rows_epoch_after_epoch(n):
    sampler, generator = as_sampler(loader(shuffle=True)), seeded()
    rows = torch.cat([sampler(n, generator) for _ in range(10)])
    assert rows.shape == (10 * n, 1)
    for epoch in rows.ravel().split(10):
        assert len(epoch.unique()) == len(epoch)


def test_a_loader_of_plain_tensors_works():
    rows = as_sampler(DataLoader(numbered(10), batch_size=4))(10, seeded())
    assert torch.equal(rows, numbered(10))


def test_a_shuffling_loader_follows_the_given_generator_alone():
    def rows(seed):
        return as_sampler(loader(shuffle=True))(30, seeded(seed))

    torch.manual_seed(1)
    first = rows(0)
    torch.manual_seed(2)
    assert torch.equal(rows(0), first)
    assert not torch.equal(rows(1), first)


@pytest.mark.parametrize("source", [numbered(10), loader(shuffle=True)], ids=["rows", "loader"])
def test_drawing_leaves_the_global_generators_alone(source):
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    as_sampler(source)(25, seeded())
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


def held(weights, n_cells, fraction=0.25, seed=0):
    return hold_out(np.asarray(weights, dtype=float), n_cells, fraction, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weight", [1.0, 0.1, 1e-9, 1e9])
def test_rows_of_equal_weight_are_held_out_whole(weight):
    kept, out = held(np.full(1000, weight), 1000)
    assert np.isin(out, [0, 1]).all()
    assert out.sum() == 250
    assert np.array_equal(kept, 1 - out)


def test_a_weight_is_held_out_like_repetitions():
    weights, copies = np.array([3.0, 1.0, 2.0, 5.0, 1.0]), np.array([3, 1, 2, 5, 1])
    for seed in range(5):
        for found, repeated in zip(held(weights, 5, seed=seed), held(np.ones(12), 5, seed=seed), strict=True):
            of_rows = [part.sum() for part in np.split(repeated, np.cumsum(copies)[:-1])]
            np.testing.assert_allclose(found, of_rows, atol=1e-8)
        assert sum(of_rows) == pytest.approx(2)


def test_what_is_held_out_follows_the_law():
    # of one row with half of the weight among a thousand, half of what is held out and half of what is kept
    weights = np.ones(1001)
    weights[500] = 1000
    for seed in range(5):
        for part in held(weights, 1001, seed=seed):
            assert part[500] / part.sum() == pytest.approx(0.5, abs=0.1)


def test_spaced_rows_follow_the_weights():
    assert spaced(np.ones(10), 5).tolist() == [0, 2, 4, 6, 8]
    assert spaced(np.array([0.0, 3.0, 0.0, 1.0]), 4).tolist() == [1, 1, 1, 3]
