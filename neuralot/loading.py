"""`neuralot.load`: a fitted transport from its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from neuralot import persistence
from neuralot.base import BaseTransport
from neuralot.forms import NetworkFactory


def load(
    path: str | os.PathLike[str],
    *,
    cost: Any = None,
    map_network: NetworkFactory | None = None,
    potential_network: NetworkFactory | None = None,
    height_network: NetworkFactory | None = None,
) -> BaseTransport:
    """Load a transport that `save` wrote; no code of the file's runs.

    Parameters
    ----------
    path : str or path-like
    cost : Cost or callable, optional
        What the transport was fitted with, if it was no cost of this package.
    map_network, potential_network, height_network : callable ``n_features -> torch.nn.Module``, optional
        What the transport was fitted with, if it was given any. Their weights are the file's.

    Returns
    -------
    estimator
        Of the class that was saved, fitted, on its `device` if that is there, else on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or not a transport's, if a function is missing or was none of the fit's, or if the
        networks have other shapes. Nothing can tell another cost from the one of the fit.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import neuralot
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> transport = neuralot.SNOTTransport(max_iter=5, random_state=0).fit(X, X + 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     transport.save(f"{folder}/transport.safetensors")
    ...     loaded = neuralot.load(f"{folder}/transport.safetensors")
    >>> bool((loaded.transform(X) == transport.transform(X)).all())
    True
    """
    functions = {
        "cost": cost,
        "map_network": map_network,
        "potential_network": potential_network,
        "height_network": height_network,
    }
    return persistence.read(path, _subclasses(BaseTransport), functions)


def _subclasses(cls: type[Any]) -> Iterator[type[BaseTransport]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)
