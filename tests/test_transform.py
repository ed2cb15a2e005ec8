"""Images: independent rows, output arrays, memory and inverse maps."""

import copy
import tracemalloc

import numpy as np
import pytest
import torch
from conftest import games, gaussian, skip_unless_takes, unchanged_generators
from torch import nn

from neuralot.costs import Lp
from neuralot.estimators.streams import StreamTransport


def test_transform_applies_to_each_row_independently(fitted):
    X = gaussian(40_000, 2)
    images = fitted.transform(X)
    indices = [0, 16_383, 16_384, 20_000, 39_999]
    np.testing.assert_allclose(fitted.transform(X[indices]), images[indices], rtol=1e-12, atol=1e-12)
    assert np.array_equal(fitted.transform(X), images)


def test_out_may_be_input_but_must_not_overlap_it(fitted, samples):
    images = fitted.transform(samples[0])
    rows = np.r_[samples[0], np.zeros((1, 2))]
    with pytest.raises(ValueError, match="out must be X itself or share no memory with X"):
        fitted.transform(rows[:-1], out=rows[1:])
    assert np.array_equal(fitted.transform(rows[:-1], out=rows[:-1]), images)


def test_images_are_written_to_out(fitted, samples, tmp_path):
    X = samples[0].astype(np.float32)
    for name, shape, images in (("transform", X.shape, fitted.transform(X)), ("sample", (1, *X.shape), None)):
        images = fitted.sample(X, random_state=0) if images is None else images
        options = {} if name == "transform" else {"random_state": 0}
        out = np.lib.format.open_memmap(tmp_path / name, mode="w+", dtype=np.float32, shape=shape)
        assert getattr(fitted, name)(X, out=out, **options) is out
        assert np.array_equal(np.load(tmp_path / name), images)
        for wrong in (np.empty(shape), np.empty((*shape, 1), np.float32), [0.0]):
            with pytest.raises(ValueError, match="out must be a writeable numpy array of float32 and shape"):
                getattr(fitted, name)(X, out=wrong)


def test_fit_stores_one_copy_and_transform_uses_blocks(tiny, transport_class):
    # numpy allocates the standardised rows, and otherwise only indices and weights grow with n
    X = gaussian(200_000, 32).astype(np.float32)
    # if images are target rows, there are fewer of them, because each row is compared with all target rows
    n_target, share = (len(X), 1.5) if issubclass(transport_class, StreamTransport) else (1000, 1.6)
    Y, out = X[:n_target] + 1, np.empty_like(X)
    transport = tiny().fit(X[:99], Y[:99])  # the first fit imports modules, which use memory
    tracemalloc.start()
    try:
        transport.fit(X, Y)
        of_fit = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        transport.transform(X, out=out)
        transport.sample(X, out=out[None])
        of_maps = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert of_fit < share * (X.nbytes + Y.nbytes)
    assert of_maps < 0.6 * X.nbytes  # blocks of 16 384 rows, half of them in float64


def test_only_transports_with_potentials_have_inverse_transform(fitted):
    assert hasattr(fitted, "inverse_transform") == isinstance(fitted, StreamTransport)


@pytest.mark.parametrize("options", [{"map_form": "network"}, {"cost": Lp(3)}, {"output": "smooth"}], ids=str)
def test_inverse_transform_is_missing_without_inverse_map(tiny, transport_class, samples, options):
    skip_unless_takes(transport_class, options)
    transport = tiny(**options).fit(*samples)
    assert not hasattr(transport, "inverse_transform")
    with pytest.raises(AttributeError, match="inverse_transform"):
        transport.inverse_transform(samples[1])


@games
@pytest.mark.parametrize("layer", [lambda: nn.Dropout(0.5), lambda: nn.BatchNorm1d(8)], ids=["dropout", "batch norm"])
def test_layers_with_training_mode_are_in_evaluation_mode(tiny, samples, layer):
    X = samples[0]
    with unchanged_generators():
        first, second = (
            tiny(map_form=lambda d: nn.Sequential(nn.Linear(d, 8), layer(), nn.Linear(8, d))).fit(*samples)
            for _ in range(2)
        )
        images = first.transform(X)
    assert np.array_equal(images, first.transform(X))
    np.testing.assert_allclose(images[:5], first.transform(X[:5]), atol=1e-12)
    assert np.array_equal(images, copy.deepcopy(first).transform(X))
    assert np.array_equal(images, second.transform(X))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradient_mode_of_caller_has_no_influence(tiny, samples, mode):
    expected = tiny().fit(*samples).transform(samples[0])
    with mode():
        assert np.array_equal(tiny().fit(*samples).transform(samples[0]), expected)
