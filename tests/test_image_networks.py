"""Convolutional networks: shapes, independent rows, and fits of estimators whose rows are images."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from conftest import make_tiny, perturbed, single_rows
from sklearn.base import clone

import neuralot
from neuralot import OTPTransport, SNOTTransport
from neuralot.costs import Lp
from neuralot.estimators import units
from neuralot.forms.losses import gradient
from neuralot.methods import otp
from neuralot.networks import ACTIVATIONS, ConvMap, ResidualPotential

SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 64, 64), (2, 5, 7), (1, 1, 3)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
BAD_SHAPES = {
    "has 48 values, but the rows have 64 columns": (3, 4, 4),
    "must be three integers": (8, 8),
    "got 64": 64,
    r"got \(1, 8.0, 8.0\)": (1, 8.0, 8.0),
    r"got \(1, 0, 64\)": (1, 0, 64),
    "got None": None,
}


def networks(shape, **options):
    """Return the parameters of an estimator whose networks are those of images."""
    return {
        "map_form": partial(ConvMap, image_shape=shape, n_channels=4, **options),
        "potential_network": partial(ResidualPotential, image_shape=shape, n_channels=4),
    }


def images(shape, n=40, seed=0):
    """Return rows that are images with a constant border, and a shifted copy with another border."""
    pixels = np.random.default_rng(seed).normal(size=(2, n, *shape))
    pixels[:, :, :, 0], pixels[:, :, :, :, -1] = 0, 0
    pixels[1] += 1
    return pixels.reshape(2, n, -1)


@shapes
@pytest.mark.parametrize("n", [0, 1, 3])
def test_networks_return_expected_shapes(shape, n):
    d = int(np.prod(shape))
    x = single_rows(n, d)
    assert perturbed(ConvMap(d, shape, n_channels=4))(x).shape == (n, d)
    assert perturbed(ConvMap(d, shape, noise_dim=2, n_channels=4))(x, single_rows(n)).shape == (n, d)
    assert perturbed(ResidualPotential(d, shape, n_channels=4))(x).shape == (n,)


@shapes
def test_initial_networks_give_identity_map(shape):
    d = int(np.prod(shape))
    x, z = single_rows(3, d), single_rows(3)
    assert torch.equal(ConvMap(d, shape, n_channels=4)(x), x)
    assert torch.equal(ConvMap(d, shape, noise_dim=2, n_channels=4)(x, z), x)
    assert not gradient(ResidualPotential(d, shape, n_channels=4), x).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_pixels_reach_map_and_potential(activation):
    shape, x = (2, 9, 6), single_rows(1, 108)
    image = perturbed(ConvMap(108, shape, n_channels=4, activation=activation), size=0.1)
    # the mean of the coarsest features connects all pixels
    slopes = torch.autograd.functional.jacobian(lambda x: image(x).sum(), x)
    assert slopes.abs().min() > 0
    if activation != "relu":
        potential = perturbed(ResidualPotential(108, shape, n_channels=4, activation=activation), size=0.1)
        assert gradient(potential, x).abs().min() > 0


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_rows_are_independent(shape):
    d = int(np.prod(shape))
    x, z = single_rows(5, d), single_rows(5, 2)
    for network in (ConvMap(d, shape, n_channels=4), ResidualPotential(d, shape, n_channels=4)):
        network = perturbed(network, size=0.1).double()
        torch.testing.assert_close(network(x.double())[3:4], network(x.double()[3:4]))
    network = perturbed(ConvMap(d, shape, noise_dim=2, n_channels=4), size=0.1).double()
    torch.testing.assert_close(network(x.double(), z.double())[3:4], network(x.double()[3:4], z.double()[3:4]))
    assert not torch.allclose(network(x.double(), z.double()), network(x.double(), -z.double()))


def test_fine_layers_are_local():
    """Without the coarser resolutions, a pixel acts on its neighbours only: rows are laid out as (c, h, w)."""
    network = perturbed(ConvMap(3 * 20 * 30, (3, 20, 30), n_channels=4), size=0.1)
    for weight in network.up.parameters():
        torch.nn.init.zeros_(weight)
    x, moved = torch.zeros(2, 3, 20, 30)
    moved[1, 9, 21] = 1
    change = (network(moved.reshape(1, -1)) - network(x.reshape(1, -1))).detach().reshape(3, 20, 30)
    rows, columns = change.abs().amax(0).nonzero().T
    reach = 6  # of six convolutions of 3 x 3 pixels
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9 - reach, 9 + reach, 21 - reach, 21 + reach)


def test_initial_weights_learn():
    x = single_rows(5, 64)
    for network in (ConvMap(64, (1, 8, 8)), ResidualPotential(64, (1, 8, 8))):
        loss = (network(x) - 1).square().mean()
        moved = torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)
        assert any(each.abs().max() > 0 for each in moved)


def test_potential_without_quadratic_has_no_matrix():
    assert ResidualPotential(64, (1, 8, 8), quadratic=False).quadratic is None
    potential, x = ResidualPotential(12, (3, 2, 2)), single_rows(4, 12)
    with torch.no_grad():
        potential.quadratic.copy_(single_rows(3, 3))
    B = torch.kron(potential.quadratic.detach(), torch.eye(4))
    torch.testing.assert_close(potential(x), ((x @ B) * x).sum(1))


@pytest.mark.parametrize("message", BAD_SHAPES)
@pytest.mark.parametrize("network", [ConvMap, ResidualPotential])
def test_bad_image_shape_is_named(network, message):
    with pytest.raises(ValueError, match=f"image_shape.*{message}"):
        network(64, BAD_SHAPES[message])


@pytest.mark.parametrize("options", [{"n_channels": 0}, {"n_channels": 2.0}, {"activation": "none"}])
@pytest.mark.parametrize("network", [ConvMap, ResidualPotential])
def test_bad_options_are_named(network, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        network(64, (1, 8, 8), **options)
    with pytest.raises(ValueError, match="noise_dim must be"):
        ConvMap(64, (1, 8, 8), noise_dim=-1)
    with pytest.raises(ValueError, match="activation must be one of celu, gelu, silu"):
        ResidualPotential(64, (1, 8, 8), activation="relu")


def test_fit_names_bad_image_shape_and_noise():
    X, Y = images((1, 8, 8))
    with pytest.raises(ValueError, match=r"map_form .* raised: image_shape=\(1, 8, 9\) has 72 values"):
        make_tiny(OTPTransport, **networks((1, 8, 9))).fit(X, Y)
    with pytest.raises(ValueError, match=r"map_form \(noise_dim=0\).*noise_dim of ConvMap .* got 2 in ConvMap"):
        make_tiny(SNOTTransport, **networks((1, 8, 8), noise_dim=2)).fit(X, Y)
    with pytest.raises(ValueError, match=r"noise_dim of ConvMap .* got 0 in ConvMap and noise of width 2"):
        make_tiny(SNOTTransport, noise_dim=2, **networks((1, 8, 8))).fit(X, Y)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28)], ids=str)
@pytest.mark.parametrize("cls", [OTPTransport, SNOTTransport])
def test_fit_transform_sample_save_and_pickle(cls, shape, tmp_path):
    X, Y = images(shape)
    transport = make_tiny(cls, **networks(shape)).fit(X, Y)
    assert isinstance(transport.problem_.networks["map"], ConvMap)
    result, draws = transport.transform(X), transport.sample(X, n_draws=2, random_state=0)
    assert result.shape == X.shape
    assert draws.shape == (2, *X.shape)
    assert np.isfinite(result).all()
    assert np.array_equal(draws[0], draws[1]) == (cls is SNOTTransport)
    np.testing.assert_allclose(transport.transform(X[7:8]), result[7:8], rtol=1e-4, atol=1e-4)
    transport.save(tmp_path / "images.safetensors")
    loaded = neuralot.load(tmp_path / "images.safetensors", **networks(shape))
    for copy in (loaded, pickle.loads(pickle.dumps(transport))):
        assert np.array_equal(copy.transform(X), result)
        assert np.array_equal(copy.sample(X, n_draws=2, random_state=0), draws)
    assert clone(transport).get_params()["map_form"].keywords["image_shape"] == shape


@pytest.mark.parametrize("cost", ["sqeuclidean", Lp(1.5)])
def test_noise_input_gives_different_draws(cost):
    X, Y = images((1, 8, 8))
    transport = make_tiny(SNOTTransport, cost=cost, noise_dim=2, max_iter=20, **networks((1, 8, 8), noise_dim=2))
    draws = transport.fit(X, Y).sample(X, n_draws=2, random_state=0)
    assert not np.allclose(draws[0], draws[1])


@pytest.mark.parametrize("cls", [OTPTransport, SNOTTransport])
def test_gradient_form_has_inverse(cls):
    X, Y = images((3, 8, 8))
    transport = make_tiny(cls, potential_network=networks((3, 8, 8))["potential_network"]).fit(X, Y)
    assert all(isinstance(network, ResidualPotential) for network in transport.problem_.networks.values())
    assert transport.inverse_transform(Y).shape == Y.shape


def test_pixels_stay_in_their_places():
    """Constant pixels are kept, and the network sees each image up to one shift per pixel and one scale."""
    X, Y = images((1, 8, 8))
    seen = []

    class Recorder(ConvMap):
        def forward(self, x, z=None):
            seen.append(x.detach().clone())
            return super().forward(x, z)

    options = networks((1, 8, 8))
    transport = make_tiny(SNOTTransport, **{**options, "map_form": partial(Recorder, image_shape=(1, 8, 8))}).fit(X, Y)
    assert transport.units_.basis is None
    seen.clear()
    transport.transform(X)
    expected = (X - transport.units_.source_centre) / transport.units_.scale
    np.testing.assert_allclose(torch.cat(seen)[-len(X) :].numpy(), expected, rtol=1e-4, atol=1e-4)
    # without custom networks, the 15 constant pixels would be left out
    assert make_tiny(SNOTTransport).fit(*images((1, 8, 8), n=200)).units_.n_directions == 49


def test_wide_rows_are_mapped_in_small_blocks(monkeypatch):
    """A block has about as many numbers for images as for other rows: the features of a network need memory."""
    X, Y = images((1, 8, 8))
    transport = make_tiny(SNOTTransport, **networks((1, 8, 8))).fit(X, Y)
    expected, sizes, forward = transport.transform(X), [], ConvMap.forward
    monkeypatch.setattr(units, "NUMBERS_PER_MAP", 64 * 15)
    monkeypatch.setattr(ConvMap, "forward", lambda self, x, z=None: (sizes.append(len(x)), forward(self, x, z))[1])
    np.testing.assert_allclose(transport.transform(X), expected, rtol=1e-4, atol=1e-4)
    assert sizes == [15, 15, 10]


def test_no_matrix_of_all_pixels(monkeypatch):
    """With isotropic noise, a fit of images computes no covariance and saves no (d, d) matrix."""
    monkeypatch.setattr(otp.Moments, "of", None)
    X, Y = images((1, 8, 8))
    Y[:, 20] += 5 * X[:, 20] ** 2  # the images of a few steps are far from this target
    transport = make_tiny(OTPTransport, noise_shape="isotropic", **networks((1, 8, 8))).fit(X, Y)
    assert not any(
        weight.size >= 64 * 64
        for name, weight in transport.__getstate__()["problem_"].items()
        if "networks" not in name
    )


def test_files_with_axes_of_isotropic_noise_are_read():
    """Older versions saved the axes of the noise also where they were the identity."""
    X, Y = images((1, 8, 8))
    transport = make_tiny(OTPTransport, noise_shape="isotropic", **networks((1, 8, 8))).fit(X, Y)
    state = transport.__getstate__()
    state["problem_"] = state["problem_"] | {"axes": np.eye(64), "shares": np.zeros(64)}
    older = clone(transport)
    older.__setstate__(state)
    assert np.array_equal(older.transform(X), transport.transform(X))


def test_stream_and_warm_start_continue():
    X, Y = images((1, 8, 8))
    stream = make_tiny(OTPTransport, **networks((1, 8, 8)))
    for _ in range(2):
        stream.partial_fit(X, X_target=Y)
    assert stream.n_iter_ == 6
    warm = make_tiny(OTPTransport, warm_start=True, **networks((1, 8, 8))).fit(X, Y)
    assert warm.fit(X, Y).n_iter_ == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device, or not asked for with -m gpu")
def test_fit_and_map_on_gpu():
    X, Y = images((1, 8, 8))
    transport = make_tiny(OTPTransport, device="cuda", **networks((1, 8, 8))).fit(X, Y)
    assert next(transport.problem_.parameters()).is_cuda
    on_cpu = pickle.loads(pickle.dumps(transport)).set_params(device="cpu")
    np.testing.assert_allclose(on_cpu.transform(X), transport.transform(X), rtol=1e-2, atol=1e-2)
