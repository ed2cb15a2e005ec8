"""Moments of samplers, the optimal map between Gaussians, and preconditioners of the networks."""

import ot
import pytest
import torch
from conftest import rotation, seeded, single_rows

from neuralot.affine import Moments, affine_transport, common_axes, preconditioners
from neuralot.sampling import ArraySampler, as_sampler


def covariance(d, seed, scale=1.0):
    root = torch.randn(d, d, dtype=torch.double, generator=seeded(seed))
    return scale * (root @ root.T / d + 0.1 * torch.eye(d))


def moments(d, seed, scale=1.0, n_rows=10**9):
    mean = torch.randn(d, dtype=torch.double, generator=seeded(seed + 1))
    return Moments(mean, covariance(d, seed, scale), n_rows)


def test_moments_equal_those_of_rows():
    rows = single_rows(500, 3) @ single_rows(3, 3, seed=1) + 2
    found = Moments.of(as_sampler(rows), seeded())
    assert found.n_rows == pytest.approx(500, rel=0.01)
    torch.testing.assert_close(found.mean, rows.double().mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(found.covariance, torch.cov(rows.double().T), atol=0.05, rtol=0)


def test_moments_of_weighted_rows_equal_those_of_repeated_rows():
    rows, weights = single_rows(50, 3), torch.arange(50) % 3
    one = Moments.of(ArraySampler(rows, weights), seeded())
    other = Moments.of(as_sampler(rows.repeat_interleave(weights, dim=0)), seeded())
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.covariance, other.covariance)
    torch.testing.assert_close(one.covariance, torch.cov(rows.double().T, fweights=weights, correction=0))
    assert one.n_rows == other.n_rows == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()))


def test_moments_of_callable_are_estimated_from_draws():
    rows = single_rows(500, 3)
    of_rows, of_draws = (
        Moments.of(as_sampler(rows), seeded()),
        Moments.of(lambda n, g: as_sampler(rows)(n, g), seeded()),
    )
    assert of_draws.n_rows == pytest.approx(500, rel=0.01)
    torch.testing.assert_close(of_draws.covariance, of_rows.covariance, atol=0.02, rtol=0)
    torch.testing.assert_close(of_draws.mean, of_rows.mean, atol=0.02, rtol=0)


def test_affine_transport_maps_gaussians_in_both_directions():
    source, target = moments(4, 0), moments(4, 2, scale=3.0)
    forward, backward = affine_transport(source, target)
    torch.testing.assert_close(forward.matrix, forward.matrix.T)
    assert torch.linalg.eigvalsh(forward.matrix).min() > 0  # with the right moments, it is the optimal map
    for one, other, image in ((source, target, forward), (target, source, backward)):
        torch.testing.assert_close(image.matrix @ one.covariance @ image.matrix, other.covariance, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(image.matrix @ one.mean + image.offset, other.mean)
    cost = (forward.matrix @ source.mean + forward.offset - source.mean).square().sum() + torch.trace(
        source.covariance @ (torch.eye(4) - forward.matrix).matrix_power(2)
    )
    expected = ot.gaussian.bures_wasserstein_distance(
        *(each.numpy() for each in (source.mean, target.mean, source.covariance, target.covariance))
    )
    assert float(cost) == pytest.approx(float(expected) ** 2, rel=1e-3)


def test_singular_covariance_gives_finite_maps():
    axes = torch.from_numpy(rotation(3))
    for thickness in (0.0, 1e-12, 1e-8):
        covariance = axes @ torch.diag(torch.tensor([1.0, 1.0, thickness])).double() @ axes.T
        flat = Moments(torch.zeros(3).double(), covariance, 10**6)
        for source, target in ((flat, moments(3, 0)), (moments(3, 0), flat), (flat, flat)):
            forward, backward = affine_transport(source, target)
            assert torch.isfinite(backward.matrix).all()
            assert torch.linalg.eigvalsh(forward.matrix).min() > 0
            for P in preconditioners(forward.matrix, source.covariance, torch.eye(3).double()[:, :1]):
                assert torch.isfinite(P).all()


def test_direction_outside_of_both_samples_is_only_shifted():
    rows = single_rows(100, 60)
    one, other = (Moments.of(as_sampler(half), seeded()) for half in (rows[:20], 2 * rows[20:40]))
    forward, backward = affine_transport(one, other)
    values, vectors = torch.linalg.eigh(one.covariance + other.covariance)
    outside = vectors[:, values < 1e-9]
    assert outside.shape == (60, 22)
    for affine in (forward, backward):
        torch.testing.assert_close(affine.matrix @ outside, outside, rtol=0, atol=1e-6)


def test_map_between_two_samples_of_one_law_is_a_shift():
    rows = single_rows(4000, 20)
    one, other = (Moments.of(as_sampler(half), seeded()) for half in rows.split(2000))
    forward, _ = affine_transport(one, other)
    assert torch.equal(forward.matrix.round(decimals=9), torch.eye(20).double())
    # a different law gives a different matrix
    wide = Moments(other.mean, 4 * other.covariance, other.n_rows)
    torch.testing.assert_close(affine_transport(one, wide)[0].matrix, 2 * torch.eye(20).double(), atol=0.5, rtol=0)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_common_axes_diagonalise_two_covariances(rank):
    one, other = (root[:, :rank] @ root[:, :rank].T for root in (covariance(4, 0), covariance(4, 0) @ covariance(4, 2)))
    if rank < 4:  # the first law varies in a subspace of the second
        one = other @ one @ other
    axes, shares = common_axes(one, other)
    torch.testing.assert_close(axes @ axes.T, other, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close((axes * shares) @ axes.T, one, rtol=1e-6, atol=1e-9)
    assert (shares >= 0).all()


def test_preconditioners_preserve_inner_products_and_equalise_covariances():
    source, target = moments(4, 0), moments(4, 2, scale=3.0)
    forward, _ = affine_transport(source, target)
    for n_thin in (0, 1):
        P_source, P_target = preconditioners(forward.matrix, source.covariance, torch.eye(4).double()[:, :n_thin])
        transformed = [P @ law.covariance @ P.T for P, law in ((P_source, source), (P_target, target))]
        torch.testing.assert_close(*transformed, rtol=1e-3, atol=1e-3)
    P_source, P_target = preconditioners(forward.matrix, source.covariance, torch.eye(4).double()[:, :0])
    product = P_source.T @ P_target
    torch.testing.assert_close(product, product[0, 0] * torch.eye(4).double())


def test_direction_missing_in_target_is_small_in_both_laws():
    source = Moments(torch.zeros(2).double(), torch.eye(2).double(), 10**9)
    target = Moments(torch.zeros(2).double(), torch.diag(torch.tensor([4.0, 0.0])).double(), 10**9)
    forward, _ = affine_transport(source, target)
    P_both = preconditioners(forward.matrix, source.covariance, torch.eye(2).double()[:, :0])
    for P, law in zip(P_both, (source, target), strict=True):
        first, second = (P @ law.covariance @ P.T).diagonal()
        assert second < 0.01 * first


def test_preconditioner_enlarges_single_thin_direction_and_gives_rows_of_mean_square_four():
    d, identity = 100, torch.eye(100).double()
    P, _ = preconditioners(identity, identity, identity[:, -1:])
    transformed = P.square().sum(0)
    assert float(transformed[-1] / transformed[:-1].sum()) == pytest.approx(16, rel=1e-6)
    rows = single_rows(1000, d).double() @ P.T
    assert float(rows.square().mean()) == pytest.approx(4, rel=0.1)
