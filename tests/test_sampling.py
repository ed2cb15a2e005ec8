"""Samplers: the law of the draws, and the use of the generator."""

import numpy as np
import pytest
import torch
from conftest import gaussian, seeded, unchanged_generators
from torch.utils.data import DataLoader, TensorDataset

from neuralot.sampling import ArraySampler, as_sampler, canonical_order, hold_out, spaced


def numbered(n):
    return torch.arange(float(n)).reshape(n, 1)


def test_as_sampler_returns_array_sampler_unchanged():
    """Methods use the rows and weights of an array sampler."""
    sampler = ArraySampler(torch.randn(5, 2))
    assert as_sampler(sampler) is sampler


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 4.0], [2.0, 0.0, 0.0, 1e-3]])
def test_rows_are_drawn_in_proportion_to_weights(weights):
    n = 20_000
    draws = as_sampler(numbered(4), weights)(n, seeded()).long().ravel()
    shares = np.bincount(draws, minlength=4) / n
    expected = np.full(4, 0.25) if weights is None else np.array(weights) / np.sum(weights)
    assert (np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_unit_of_weights_has_no_influence(factor):
    weights = torch.tensor([1.0, 2.0, 4.0])
    expected = ArraySampler(numbered(3), weights)(100, seeded())
    assert torch.equal(ArraySampler(numbered(3), factor * weights.double())(100, seeded()), expected)


def test_rows_of_weight_zero_are_not_drawn():
    weights = torch.ones(1000)
    weights[::2] = 0
    draws = ArraySampler(numbered(1000), weights)(100_000, seeded()).ravel()
    assert (draws % 2 == 1).all()
    assert len(draws.unique()) == 500


def test_row_of_weight_two_is_drawn_like_repeated_row():
    twice = ArraySampler(torch.tensor([[0.0], [1.0], [1.0], [2.0]]))
    weighted = ArraySampler(numbered(3), torch.tensor([1.0, 2.0, 1.0]))
    assert torch.equal(twice(1000, seeded()), weighted(1000, seeded()))


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.0, 4.0]])
def test_stratified_batch_has_one_row_per_stratum(weights):
    sampler = ArraySampler(numbered(4), None if weights is None else torch.tensor(weights), stratified=True)
    counts = np.bincount(sampler(16, seeded()).long().ravel(), minlength=4)
    assert counts.tolist() == ([4, 4, 4, 4] if weights is None else [2, 6, 0, 8])


def test_rows_of_stratified_batch_are_in_random_order():
    """Otherwise the rows of two samplers, which are paired, would be correlated."""
    x, y = (
        ArraySampler(numbered(1000), stratified=True)(1000, generator).ravel() for generator in (seeded(), seeded(1))
    )
    assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 0.1


@pytest.mark.parametrize(("d", "factor"), [(1, 0.003), (2, 0.05), (4, 0.25), (16, 0.8)])
def test_stratified_batch_means_have_smaller_variance(d, factor):
    rows = np.random.default_rng(0).normal(size=(2**14, d)).astype(np.float32)
    sampler = ArraySampler(torch.from_numpy(rows[canonical_order(rows, np.ones(len(rows)))]), stratified=True)
    generator = seeded()

    def variance(draw):
        means = torch.stack([draw(256, generator).sin().mean(0) for _ in range(200)])
        return float(means.var(0).mean())

    assert variance(sampler) < factor * variance(sampler.independent)


def ordered_law(rows, weights):
    """Return the rows in canonical order, and their cumulative weights."""
    order = canonical_order(rows, weights)
    mass = np.cumsum(weights[order])
    return rows[order], mass / mass[-1]


def unusual_rows():
    rng = np.random.default_rng(0)
    ties = rng.integers(3, size=(300, 4)).astype(float)
    heavy = np.concatenate([rng.standard_t(1, size=(300, 2)), [[1e300, -1e300]]])
    return [ties, heavy, rng.normal(size=(5, 3)), np.zeros((10, 2)), 1e9 + rng.normal(size=(300, 1))]


@pytest.mark.parametrize("which", range(5))
def test_canonical_order_depends_on_weighted_law_only(which):
    rng, rows = np.random.default_rng(1), unusual_rows()[which]
    counts = rng.integers(0, 4, size=len(rows))
    shuffled = rng.permutation(len(rows))
    expected, mass = ordered_law(rows, counts)
    for other in (
        ordered_law(rows[shuffled], counts[shuffled]),
        ordered_law(rows.repeat(counts, axis=0), np.ones(counts.sum())),
    ):
        for level in np.linspace(0, 1, 57)[1:-1] + 1e-6:
            assert (other[0][np.searchsorted(other[1], level)] == expected[np.searchsorted(mass, level)]).all()


@pytest.mark.parametrize("weight", [0.1, 1 / 20_480, 7.0])
def test_canonical_order_does_not_depend_on_unit_of_weights(weight):
    """The k-d tree uses every tenth of 20 480 rows, at the boundary between two rows."""
    rows = gaussian(20_480, 2)
    expected = canonical_order(rows, np.ones(len(rows)))
    assert np.array_equal(canonical_order(rows, np.full(len(rows), weight)), expected)


@pytest.mark.parametrize(
    "rows", [[[0, 1], [2, 3]], np.arange(4).reshape(2, 2), np.arange(4.0).reshape(2, 2), torch.arange(4).reshape(2, 2)]
)
def test_arrays_give_float32_rows(rows):
    draws = as_sampler(rows)(5, seeded())
    assert draws.shape == (5, 2)
    assert draws.dtype == torch.float32


def test_arrays_that_torch_cannot_share_are_copied():
    rows = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    rows.setflags(write=False)
    for source_rows in (rows, rows[::-1]):
        assert torch.equal(as_sampler(source_rows).data, torch.tensor(source_rows.copy()))


def test_callable_gives_float32_rows():
    rows = as_sampler(lambda n, generator: torch.full((n, 2), 0.5, dtype=torch.double))(3, torch.Generator())
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize("weights", [[1.0, 2.0], [-1.0] * 10, [0.0] * 10, [float("nan")] * 10])
def test_bad_weights_are_rejected(weights):
    with pytest.raises(ValueError, match="weights must"):
        as_sampler(torch.zeros(10, 2), weights)


@pytest.mark.parametrize("rows", [torch.zeros(0, 2), torch.zeros(3)])
def test_bad_rows_are_rejected(rows):
    with pytest.raises(ValueError, match="data must be rows"):
        as_sampler(rows)


def test_empty_loader_raises():
    sampler = as_sampler(DataLoader(TensorDataset(torch.zeros(3, 2)), batch_size=4, drop_last=True))
    with pytest.raises(ValueError, match="DataLoader is empty"):
        sampler(1, torch.Generator())


def loader(**options):
    return DataLoader(TensorDataset(numbered(10), torch.zeros(10)), batch_size=4, **options)


@pytest.mark.parametrize("source", [loader(), lambda n, generator: torch.zeros(n, 2)], ids=["loader", "callable"])
def test_weights_require_array_of_rows(source):
    with pytest.raises(ValueError, match="weights are only for an array of rows"):
        as_sampler(source, weights=[1.0, 2.0])


@pytest.mark.parametrize("n", [1, 3, 4, 7, 25])
def test_loader_gives_any_number_of_rows(n):
    sampler, generator = as_sampler(loader(shuffle=True)), seeded()
    rows = torch.cat([sampler(n, generator) for _ in range(10)])
    assert rows.shape == (10 * n, 1)
    for epoch in rows.ravel().split(10):
        assert len(epoch.unique()) == len(epoch)


def test_loader_of_tensors_is_accepted():
    rows = as_sampler(DataLoader(numbered(10), batch_size=4))(10, seeded())
    assert torch.equal(rows, numbered(10))


def test_shuffling_depends_only_on_given_generator():
    def rows(seed):
        return as_sampler(loader(shuffle=True))(30, seeded(seed))

    torch.manual_seed(1)
    first = rows(0)
    torch.manual_seed(2)
    assert torch.equal(rows(0), first)
    assert not torch.equal(rows(1), first)


@pytest.mark.parametrize("source", [numbered(10), loader(shuffle=True)], ids=["rows", "loader"])
def test_global_generators_are_unchanged(source):
    with unchanged_generators():
        as_sampler(source)(25, seeded())


def split_weights(weights, n_cells, fraction=0.25, seed=0):
    return hold_out(np.asarray(weights, dtype=float), n_cells, fraction, seeded(seed))


@pytest.mark.parametrize("weight", [1.0, 0.1, 1e-9, 1e9])
def test_rows_of_equal_weight_are_held_out_entirely(weight):
    kept, out = split_weights(np.full(1000, weight), 1000)
    assert np.isin(out, [0, 1]).all()
    assert out.sum() == 250
    assert np.array_equal(kept, 1 - out)


def test_weights_are_held_out_like_repetitions():
    weights, copies = np.array([3.0, 1.0, 2.0, 5.0, 1.0]), np.array([3, 1, 2, 5, 1])
    for seed in range(5):
        for found, repeated in zip(
            split_weights(weights, 5, seed=seed), split_weights(np.ones(12), 5, seed=seed), strict=True
        ):
            row_sums = [part.sum() for part in np.split(repeated, np.cumsum(copies)[:-1])]
            np.testing.assert_allclose(found, row_sums, atol=1e-8)
        assert sum(row_sums) == pytest.approx(2)


def test_held_out_weights_represent_law():
    # a row with half of the weight has half of the held-out weight and half of the remaining weight
    weights = np.ones(1001)
    weights[500] = 1000
    for seed in range(5):
        for part in split_weights(weights, 1001, seed=seed):
            assert part[500] / part.sum() == pytest.approx(0.5, abs=0.1)


def test_spaced_rows_respect_weights():
    assert spaced(np.ones(10), 5).tolist() == [0, 2, 4, 6, 8]
    assert spaced(np.array([0.0, 3.0, 0.0, 1.0]), 4).tolist() == [1, 1, 1, 3]
