"""Convolutional networks for rows that are images.

A row is an image of shape (c, h, w), flattened in this order. The rows of an estimator keep all pixels in their places
if its networks are custom ones, as these are. No layer depends on the other rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuralot.networks.perceptrons import ACTIVATIONS
from neuralot.parameters import is_integer

N_HALVINGS = 2


def check_image_shape(n_features: int, image_shape: Any) -> tuple[int, int, int]:
    """Return a valid image shape (c, h, w).

    Raises a ValueError that names `image_shape` unless it has three positive integers with the product `n_features`.
    """
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else ()
    if len(shape) != 3 or not all(is_integer(size, 1) for size in shape):
        raise ValueError(
            f"image_shape must be three integers of at least 1, (channels, height, width), got {image_shape!r}"
        )
    c, h, w = shape
    if c * h * w != n_features:
        raise ValueError(
            f"image_shape={shape} has {c * h * w} values, but the rows have {n_features} columns; pass the "
            f"(channels, height, width) of the images whose flattened values are the rows"
        )
    return c, h, w


def _check_sizes(n_channels: int, activation: str, smooth: bool = False) -> None:
    """Raise a ValueError unless width and activation are valid."""
    if not is_integer(n_channels, 1):
        raise ValueError(f"n_channels must be an integer of at least 1, got {n_channels!r}")
    names = [name for name in ACTIVATIONS if not (smooth and name == "relu")]
    if activation not in names:
        raise ValueError(f"activation must be one of {', '.join(names)}, got {activation!r}")


class ResidualBlock(nn.Module):
    """Residual block of two convolutions.

    It is x -> x + conv(a(conv(a(x)))), with the activation a.

    Parameters
    ----------
    n_channels : int
    activation : callable () -> torch.nn.Module
    """

    def __init__(self, n_channels: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            activation(),
            nn.Conv2d(n_channels, n_channels, 3, padding=1),
            activation(),
            nn.Conv2d(n_channels, n_channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _halvings(sizes: Sequence[int]) -> nn.ModuleList:
    """Return convolutions that halve height and width, rounded up."""
    return nn.ModuleList(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1) for n_in, n_out in pairwise(sizes))


class ConvMap(nn.Module):
    """Residual map of images, T(x) = x + UNet(x).

    It is initially the identity. The network is a small U-Net with three resolutions: the whole image, a half and a
    quarter of it. The coarsest features include their mean over all pixels. Heights and widths need not be divisible by
    4. With `noise_dim`, the map is T(x, z) = x + UNet(x, z) as in `NoiseMap`: the noise is added to the features, after
    a linear layer, at each resolution.

    Parameters
    ----------
    n_features : int
        Length c h w of a row.
    image_shape : tuple of int
        (c, h, w): channels, height and width. A row is the image flattened in this order.
    noise_dim : int
        Width of the noise z; 0 for a map without noise.
    n_channels : int
        Number of features per pixel at full resolution; twice and four times as many at the coarser ones.
    activation : {'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}

    Raises
    ------
    ValueError
        If `image_shape` does not have `n_features` values, or if another parameter is invalid.

    Examples
    --------
    An estimator calls the network with the number of columns. `functools.partial` sets the other parameters. Between
    digits of 28 x 28 pixels, fits with ``learning_rate_init=1.2e-3`` and the default optimizer converge, and fits with
    ``optimizer='adam'`` may oscillate.

    >>> from functools import partial
    >>> import torch
    >>> from neuralot import OTPTransport
    >>> from neuralot.networks import ConvMap, ResidualPotential
    >>> ConvMap(64, (1, 8, 8))(torch.ones(2, 64)).shape
    torch.Size([2, 64])
    >>> transport = OTPTransport(
    ...     map_form=partial(ConvMap, image_shape=(1, 8, 8)),
    ...     potential_network=partial(ResidualPotential, image_shape=(1, 8, 8)),
    ... )
    """

    def __init__(
        self,
        n_features: int,
        image_shape: Sequence[int],
        noise_dim: int = 0,
        n_channels: int = 32,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(n_features, image_shape)
        _check_sizes(n_channels, activation)
        if not is_integer(noise_dim, 0):
            raise ValueError(f"noise_dim must be an integer of at least 0, got {noise_dim!r}")
        self.noise_dim = noise_dim
        act, c = ACTIVATIONS[activation], self.image_shape[0]
        sizes = [n_channels * 2**level for level in range(N_HALVINGS + 1)]
        self.first = nn.Conv2d(c, n_channels, 3, padding=1)
        self.noise = nn.ModuleList(nn.Linear(noise_dim, size) for size in sizes) if noise_dim else None
        self.down = _halvings(sizes)
        self.before = nn.ModuleList(ResidualBlock(size, act) for size in sizes)
        self.mean = nn.Linear(sizes[-1], sizes[-1])
        self.after = nn.ModuleList(ResidualBlock(size, act) for size in sizes)
        self.up = nn.ModuleList(nn.Conv2d(wide, size, 3, padding=1) for size, wide in pairwise(sizes))
        self.last = nn.Sequential(act(), nn.Conv2d(n_channels, c, 3, padding=1))
        for weight in self.last.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Return images of rows `x`, under noise `z` if any.

        `x` and the images have shape (n, c h w), `z` has shape (n, noise_dim).
        """
        if (z is None) != (self.noise is None):
            raise ValueError(
                f"noise_dim of ConvMap must be that of the transport, got {self.noise_dim} in ConvMap and "
                f"{'no noise' if z is None else f'noise of width {z.shape[1]}'}"
            )
        features, levels = self.first(x.unflatten(1, self.image_shape)), []
        for level, block in enumerate(self.before):
            if level:
                features = self.down[level - 1](features)
            if self.noise is not None:
                features = features + self.noise[level](z)[:, :, None, None]
            features = block(features)  # (n, size, h / 2^level, w / 2^level), rounded up
            levels.append(features)
        features = features + self.mean(features.mean((2, 3)))[:, :, None, None]
        features = self.after[-1](features)
        for level in reversed(range(N_HALVINGS)):
            wide = F.interpolate(features, size=levels[level].shape[2:], mode="nearest")
            features = self.after[level](levels[level] + self.up[level](wide))
        return x + self.last(features).flatten(1)


class ResidualPotential(nn.Module):
    r"""Kantorovich potential of images: a residual network to one number.

    .. math:: f(x) = \sum_p x_p' B x_p + r(x)

    :math:`x_p` are the c channels of pixel p, B is a learned matrix of shape (c, c), and r a residual convolutional
    network with three resolutions, whose last layer is linear in all of the coarsest features. The potential is
    initially zero, and its map ``x - grad f(x) / 2`` the identity.

    Parameters
    ----------
    n_features : int
        Length c h w of a row.
    image_shape : tuple of int
        (c, h, w): channels, height and width. A row is the image flattened in this order.
    n_channels : int
        Number of features per pixel at full resolution; twice and four times as many at the coarser ones.
    activation : {'celu', 'gelu', 'silu', 'softplus', 'tanh'}
        Smooth, because a map may be computed from the gradient.
    quadratic : bool
        Whether to include B. Omit it for a cost that grows more slowly than the squared distance, as in `Potential`.

    Raises
    ------
    ValueError
        If `image_shape` does not have `n_features` values, or if another parameter is invalid.

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import ResidualPotential
    >>> ResidualPotential(192, (3, 8, 8))(torch.ones(2, 192)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        n_features: int,
        image_shape: Sequence[int],
        n_channels: int = 32,
        activation: str = "silu",
        *,
        quadratic: bool = True,
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(n_features, image_shape)
        _check_sizes(n_channels, activation, smooth=True)
        act, (c, h, w) = ACTIVATIONS[activation], self.image_shape
        sizes = [n_channels * 2**level for level in range(N_HALVINGS + 1)]
        self.first = nn.Conv2d(c, n_channels, 3, padding=1)
        self.down = _halvings(sizes)
        self.blocks = nn.ModuleList(ResidualBlock(size, act) for size in sizes)
        self.activation = act()
        factor = 2**N_HALVINGS
        self.last = nn.Linear(sizes[-1] * -(-h // factor) * -(-w // factor), 1)
        self.quadratic = nn.Parameter(torch.zeros(c, c)) if quadratic else None
        for weight in self.last.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        images = x.unflatten(1, self.image_shape)
        features = self.blocks[0](self.first(images))
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            features = block(down(features))
        value = self.last(self.activation(features).flatten(1)).squeeze(-1)
        if self.quadratic is None:
            return value
        return torch.einsum("nchw,cd,ndhw->n", images, self.quadratic, images) + value
