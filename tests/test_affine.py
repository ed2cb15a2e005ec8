"""Moments from draws alone, the optimal map between Gaussians, and what networks see of two laws."""

import ot
import pytest
import torch
from conftest import seeded

from neuralot.affine import Moments, affine_transport, common_axes, preconditioners
from neuralot.sampling import ArraySampler, as_sampler


def covariance(d, seed, scale=1.0):
    root = torch.randn(d, d, dtype=torch.double, generator=seeded(seed))
    return scale * (root @ root.T / d + 0.1 * torch.eye(d))


def moments(d, seed, scale=1.0, n_rows=10**9):
    mean = torch.randn(d, dtype=torch.double, generator=seeded(seed + 1))
    return Moments(mean, covariance(d, seed, scale), n_rows)


def test_moments_are_those_of_the_rows():
    rows = torch.randn(500, 3, generator=seeded()) @ torch.randn(3, 3, generator=seeded(1)) + 2
    found = Moments.of(as_sampler(rows), seeded())
    assert found.n_rows == pytest.approx(500, rel=0.01)
    torch.testing.assert_close(found.mean, rows.double().mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(found.covariance, torch.cov(rows.double().T), atol=0.05, rtol=0)


def test_moments_of_weighted_rows_are_exact_and_those_of_repeated_ones():
    rows, weights = torch.randn(50, 3, generator=seeded()), torch.arange(50) % 3
    one = Moments.of(ArraySampler(rows, weights), seeded())
    other = Moments.of(as_sampler(rows.repeat_interleave(weights, dim=0)), seeded())
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.covariance, other.covariance)
    torch.testing.assert_close(one.covariance, torch.cov(rows.double().T, fweights=weights, correction=0))
    assert one.n_rows == other.n_rows == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()))


def test_moments_of_many_rows_come_from_draws():
    rows = torch.randn(500, 3, generator=seeded())
    of_rows, of_draws = (
        Moments.of(as_sampler(rows), seeded()),
        Moments.of(lambda n, g: as_sampler(rows)(n, g), seeded()),
    )
    assert of_draws.n_rows == pytest.approx(500, rel=0.01)
    torch.testing.assert_close(of_draws.covariance, of_rows.covariance, atol=0.02, rtol=0)
    torch.testing.assert_close(of_draws.mean, of_rows.mean, atol=0.02, rtol=0)


def test_the_map_pushes_one_gaussian_to_the_other_and_back():
    source, target = moments(4, 0), moments(4, 2, scale=3.0)
    there, back = affine_transport(source, target)
    torch.testing.assert_close(there.matrix, there.matrix.T)
    assert torch.linalg.eigvalsh(there.matrix).min() > 0  # symmetric, positive, right moments: the optimal map
    for one, other, image in ((source, target, there), (target, source, back)):
        torch.testing.assert_close(image.matrix @ one.covariance @ image.matrix, other.covariance, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(image.matrix @ one.mean + image.offset, other.mean)
    cost = (there.matrix @ source.mean + there.offset - source.mean).square().sum() + torch.trace(
        source.covariance @ (torch.eye(4) - there.matrix).matrix_power(2)
    )
    expected = ot.gaussian.bures_wasserstein_distance(
        *(each.numpy() for each in (source.mean, target.mean, source.covariance, target.covariance))
    )
    assert float(cost) == pytest.approx(float(expected) ** 2, rel=1e-3)


def test_a_singular_covariance_gives_finite_maps():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded()).double())[0]
    for thickness in (0.0, 1e-12, 1e-8):
        covariance = turn @ torch.diag(torch.tensor([1.0, 1.0, thickness])).double() @ turn.T
        flat = Moments(torch.zeros(3).double(), covariance, 10**6)
        for source, target in ((flat, moments(3, 0)), (moments(3, 0), flat), (flat, flat)):
            there, back = affine_transport(source, target)
            assert torch.isfinite(back.matrix).all()
            assert torch.linalg.eigvalsh(there.matrix).min() > 0
            for lens in preconditioners(there.matrix, source.covariance, torch.eye(3).double()[:, :1]):
                assert torch.isfinite(lens).all()


def test_between_two_samples_of_one_law_the_map_is_a_shift():
    rows = torch.randn(4000, 20, generator=seeded())
    one, other = (Moments.of(as_sampler(half), seeded()) for half in rows.split(2000))
    there, _ = affine_transport(one, other)
    assert torch.equal(there.matrix.round(decimals=9), torch.eye(20).double())
    # and not so for a law that differs
    wider = Moments(other.mean, 4 * other.covariance, other.n_rows)
    torch.testing.assert_close(affine_transport(one, wider)[0].matrix, 2 * torch.eye(20).double(), atol=0.5, rtol=0)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_common_axes_turn_two_covariances_into_diagonal_matrices(rank):
    one, other = (root[:, :rank] @ root[:, :rank].T for root in (covariance(4, 0), covariance(4, 0) @ covariance(4, 2)))
    if rank < 4:  # one law has fewer directions, within those of the other
        one = other @ one @ other
    axes, shares = common_axes(one, other)
    torch.testing.assert_close(axes @ axes.T, other, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close((axes * shares) @ axes.T, one, rtol=1e-6, atol=1e-9)
    assert (shares >= 0).all()


def test_preconditioners_keep_inner_products_and_give_both_laws_one_covariance():
    source, target = moments(4, 0), moments(4, 2, scale=3.0)
    there, _ = affine_transport(source, target)
    for n_thin in (0, 1):
        of_source, of_target = preconditioners(there.matrix, source.covariance, torch.eye(4).double()[:, :n_thin])
        seen = [lens @ law.covariance @ lens.T for lens, law in ((of_source, source), (of_target, target))]
        torch.testing.assert_close(*seen, rtol=1e-3, atol=1e-3)
    of_source, of_target = preconditioners(there.matrix, source.covariance, torch.eye(4).double()[:, :0])
    product = of_source.T @ of_target
    torch.testing.assert_close(product, product[0, 0] * torch.eye(4).double())


def test_a_direction_that_the_target_has_not_got_is_small_on_both_sides():
    source = Moments(torch.zeros(2).double(), torch.eye(2).double(), 10**9)
    target = Moments(torch.zeros(2).double(), torch.diag(torch.tensor([4.0, 0.0])).double(), 10**9)
    there, _ = affine_transport(source, target)
    of_both = preconditioners(there.matrix, source.covariance, torch.eye(2).double()[:, :0])
    for lens, law in zip(of_both, (source, target), strict=True):
        first, second = (lens @ law.covariance @ lens.T).diagonal()
        assert second < 0.01 * first


def test_a_lens_enlarges_the_one_thin_direction_and_gives_a_layer_rows_of_mean_square_four():
    d, identity = 100, torch.eye(100).double()
    lens, _ = preconditioners(identity, identity, identity[:, -1:])
    seen = lens.square().sum(0)
    assert float(seen[-1] / seen[:-1].sum()) == pytest.approx(16, rel=1e-6)
    rows = torch.randn(1000, d, generator=seeded()).double() @ lens.T
    assert float(rows.square().mean()) == pytest.approx(4, rel=0.1)
