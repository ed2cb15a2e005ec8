"""Smoothing levels, intrinsic dimension and terminal level."""

import math

import pytest
import torch
from conftest import rotation, seeded, single_rows

from neuralot._torch import antithetic_noise
from neuralot.methods.smoothing import SCHEDULES, Smoothing, fills_its_span, intrinsic_dimension, terminal_level


def cube(n, d, ambient=None, seed=0):
    """Return uniform rows on a randomly rotated d-dimensional cube in the ambient space."""
    ambient = ambient or d
    axes = torch.from_numpy(rotation(ambient, seed=1)).float()
    return torch.rand(n, d, generator=seeded(seed)) @ axes[:d]


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("fraction", [0.4, 1.0])
def test_levels_decrease_from_eps_max_to_eps_min(kind, fraction):
    smoothing = Smoothing(0.5, 0.02, kind, fraction)
    levels = [smoothing.level(progress / 100) for progress in range(101)]
    as_tensors = torch.stack([smoothing.level(torch.tensor(progress / 100)) for progress in range(101)])
    torch.testing.assert_close(as_tensors, torch.tensor(levels))
    assert levels[0] == 0.5
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == 100 * fraction + 1
    assert all(level == pytest.approx(0.02) for level in levels[int(100 * fraction) :])


@pytest.mark.parametrize(("kind", "middle"), [("linear", 0.26), ("vp", 0.26), ("geometric", 0.1)])
def test_level_at_half_of_annealing_is_mean_of_first_and_last(kind, middle):
    assert Smoothing(0.5, 0.02, kind, 0.8).level(0.4) == pytest.approx(middle)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_smooth_adds_noise_of_current_level(kind):
    smoothing = Smoothing(0.5, 0.02, kind, 1.0)
    x, z = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 1.5]])
    eps = smoothing.level(0.3)
    signal = math.sqrt(1 - eps) if kind == "vp" else 1.0
    torch.testing.assert_close(smoothing.smooth(x, z, 0.3), signal * x + math.sqrt(eps) * z)


def test_vp_preserves_unit_variance():
    x, z = torch.randn(2, 100_000, 1, generator=seeded()).unbind(0)
    smoothed = Smoothing(0.9, 0.1, "vp").smooth(x, z, 0.0)
    assert smoothed.var().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"kind": "cosine"}, "schedule"),
        ({"eps_min": 0.0}, "eps_min"),
        ({"eps_min": -1.0}, "eps_min"),
        ({"eps_min": 0.5, "eps_max": 0.2}, "eps_min and eps_max"),
        ({"eps_max": math.inf}, "eps_max"),
        ({"eps_max": math.nan}, "eps_max"),
        ({"eps_max": 1.0, "kind": "vp"}, "eps_max"),
        ({"anneal_fraction": 0.0}, "anneal_fraction"),
        ({"anneal_fraction": 1.1}, "anneal_fraction"),
    ],
    ids=str,
)
def test_values_out_of_range_are_rejected(parameters, name):
    with pytest.raises(ValueError, match=name):
        Smoothing(**parameters)


@pytest.mark.parametrize(("d", "ambient"), [(1, 1), (1, 3), (2, 2), (2, 3), (2, 10), (3, 3)])
def test_intrinsic_dimension_of_cube_is_its_number_of_sides(d, ambient):
    assert intrinsic_dimension(cube(2000, d, ambient)) == pytest.approx(d, abs=0.15 * d)


def test_intrinsic_dimension_of_curve_is_one():
    t = 6 * torch.rand(2000, 1, generator=seeded())
    helix = torch.cat([t.cos(), t.sin(), t], dim=1)
    assert intrinsic_dimension(helix) == pytest.approx(1, abs=0.1)


def test_intrinsic_dimension_does_not_depend_on_units():
    x = cube(500, 2, 3)
    assert intrinsic_dimension(1e4 * x + 3) == pytest.approx(intrinsic_dimension(x), rel=1e-2)


@pytest.mark.parametrize(
    "x",
    [torch.zeros(1, 3), torch.zeros(2, 3), torch.zeros(50, 3), torch.tensor([[0.0, 0, 0]] * 20 + [[1.0, 1, 1]] * 20)],
    ids=["one row", "two rows", "equal rows", "two points"],
)
def test_degenerate_rows_give_valid_dimension_and_level(x):
    assert 1 <= intrinsic_dimension(x) <= 3
    assert 0 < terminal_level(x) < math.inf
    assert isinstance(fills_its_span(x), bool)


@pytest.mark.parametrize(("d", "ambient"), [(1, 2), (2, 2), (2, 5), (8, 8), (40, 64)])
def test_flat_law_fills_its_span_in_any_rotation(d, ambient):
    assert fills_its_span(cube(2000, d, ambient))
    assert fills_its_span(cube(2000, d, ambient) @ torch.from_numpy(rotation(ambient)).float())


def test_curves_spheres_and_segments_do_not_fill_their_span():
    t = 6 * torch.rand(2000, 1, generator=seeded())
    side = torch.randint(2, (2000, 1), generator=seeded())
    direction = single_rows(2000, 3)
    for x in (
        torch.cat([t.cos(), t.sin()], 1),
        torch.cat([t, side], 1),
        direction / direction.norm(dim=1, keepdim=True),
    ):
        assert not fills_its_span(x)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_terminal_level_decreases_with_sample_size_and_increases_with_dimension(d):
    levels = [terminal_level(cube(n, d)) for n in (100, 400, 1600, 6400)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1]
    assert terminal_level(cube(1600, 10)) > terminal_level(cube(1600, 2))


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_antithetic_noise_has_mean_zero_and_opposite_pairs(n):
    z = antithetic_noise(n, 3, seeded())
    assert z.shape == (n, 3)
    assert z.sum(0).abs().max() < 1e-5
    assert torch.equal(z[n // 2 : n // 2 * 2], -z[: n // 2])
    assert torch.equal(antithetic_noise(n, 3, seeded()), z)


@pytest.mark.parametrize("kind", ["linear", "geometric", "vp"])
def test_last_level_equals_eps_min(kind):
    for eps_min in (0.003 + 0.0039 * step for step in range(50)):
        smoothing = Smoothing(0.3, eps_min, kind, 0.7)
        assert smoothing.level(0.7) == smoothing.level(1.0) == eps_min
