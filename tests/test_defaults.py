"""Default values for 'auto': dependence on the data, and bounds."""

import pytest

from neuralot.defaults import (
    MANY_ROWS,
    decay_to_points,
    default_activation,
    default_batch,
    default_decay,
    default_gap_weight,
    default_rate,
    default_sizes,
)


def test_networks_are_wider_from_sixteen_features():
    assert default_sizes(2) == default_sizes(15) == (64, 64, 64)
    assert default_sizes(16) == default_sizes(1000) == (128, 128, 128)


def test_rate_decreases_with_dimension():
    rates = [default_rate(n_features) for n_features in (1, 15, 16, 64, 256)]
    assert rates == [0.008, 0.008, 0.006, 0.006, 0.0015]


def test_rate_decreases_with_steps_for_3_to_63_features():
    assert [default_rate(8, n_steps) / default_rate(8) for n_steps in (1, 1200, 2400, 10**9)] == pytest.approx(
        [1, 1, 0.5**0.5, 0.5]
    )
    assert all(default_rate(n_features, 10**9) == default_rate(n_features) for n_features in (1, 2, 64, 256))


def test_decay_is_proportional_to_one_over_n_within_bounds():
    for d in (16, 64):
        decays = [default_decay(d, n_rows, usual=0.2) for n_rows in (1, 512, 2048, 4096, 16_384, 10**7)]
        assert decays == pytest.approx([1.6, 1.6, 0.4, 0.2, 0.05, 0.01 * d / 64])
    assert default_decay(16, 1, usual=0.5) == 3
    assert default_decay(16, 1, usual=0.5, map_form="network") == 1
    # in low dimension, few rows cause less overfitting
    assert [default_decay(d, 1024, usual=0.2) for d in (2, 4, 8)] == pytest.approx([0.2, 0.2, 0.4])
    assert default_decay(2, 10**7, usual=0.2) == 0.01 / 32
    assert default_decay(64, 10**7, usual=0.2) == default_decay(1000, 10**7, usual=0.2) == 0.01
    assert default_decay(2, 1, usual=0.2) == default_decay(2, 512, usual=0.2) == 0.2


def test_decay_is_smaller_for_few_points_with_many_rows_each():
    assert decay_to_points(0.3, 960, 5) == pytest.approx(0.3 * 5 / 64)
    assert decay_to_points(0.3, 500, 2) == decay_to_points(0.02, 500, 2) == 0.02
    assert decay_to_points(0.01, 500, 2) == 0.01
    # no reduction for samples of similar size or for many points, where overfitting is possible
    assert decay_to_points(0.3, 5, 5) == decay_to_points(0.3, 39, 5) == decay_to_points(0.3, 4096, 64) == 0.3


def test_gap_weight_decreases_with_dimension():
    assert [default_gap_weight(n_features) for n_features in (1, 2, 8, 16, 64)] == [1, 1, 0.25, 0.1, 0.1]


def test_activation_is_tanh_for_many_rows_in_the_plane():
    assert default_activation(2, MANY_ROWS) == "tanh"
    assert default_activation(2, MANY_ROWS - 1) == default_activation(3, MANY_ROWS) == "silu"


def test_batches_are_larger_for_many_rows():
    for n_features, large in ((2, 1024), (63, 1024), (64, 512)):
        assert [default_batch(n_features, n_rows) for n_rows in (1, MANY_ROWS - 1, MANY_ROWS)] == [256, 256, large]
