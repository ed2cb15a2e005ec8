"""A function that torch compiles, where it can."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Compiled(Generic[Given, Result]):
    """A function that is compiled when it is first called, and used as it is from then on if that fails.

    Parameters
    ----------
    function : callable
        Of tensors of fixed shapes.

    Attributes
    ----------
    works : bool
        Whether no call of what was compiled has failed.
    """

    def __init__(self, function: Callable[Given, Result]) -> None:
        self.function = function
        self.works = True
        self._compiled: Callable[Given, Result] | None = None

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        if self.works:
            try:
                if self._compiled is not None:
                    return self._compiled(*args, **kwargs)
                with warnings.catch_warnings(action="ignore"):  # the compiler's own, about itself
                    # a whole graph or an error: else torch goes on without a word where it has compiled too often
                    self._compiled = torch.compile(self.function, dynamic=False, fullgraph=True)
                    return self._compiled(*args, **kwargs)
            except Exception:  # whatever a compiler may raise
                logger.info("the step could not be compiled", exc_info=True)
                self.works = False
        return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: object) -> Compiled[Given, Result]:
        return self  # a copy would be compiled once more

    def __reduce__(self) -> tuple[object, ...]:
        return Compiled, (self.function,)


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which torch needs for code on a CPU."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))
