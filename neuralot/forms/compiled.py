"""Functions compiled by torch, with a fallback."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

Params = ParamSpec("Params")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Compiled(Generic[Params, Result]):
    """Function compiled by torch on its first call.

    If the compilation or a call fails, the original function is used from then on.

    Parameters
    ----------
    function : callable
        Function of tensors with fixed shapes.

    Attributes
    ----------
    works : bool
        False once the compilation or a compiled call has failed.
    """

    def __init__(self, function: Callable[Params, Result]) -> None:
        self.function = function
        self.works = True
        self._compiled: Callable[Params, Result] | None = None

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        if self.works:
            try:
                if self._compiled is not None:
                    return self._compiled(*args, **kwargs)
                with warnings.catch_warnings(action="ignore"):  # internal warnings of the compiler
                    # without fullgraph, torch silently stops compiling after too many recompilations
                    self._compiled = torch.compile(self.function, dynamic=False, fullgraph=True)
                    return self._compiled(*args, **kwargs)
            except Exception:  # compilation may raise any exception
                logger.info("the step could not be compiled", exc_info=True)
                self.works = False
        return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: object) -> Compiled[Params, Result]:
        return self  # a copy would have to be compiled again

    def __reduce__(self) -> tuple[object, ...]:
        return Compiled, (self.function,)


def has_compiler() -> bool:
    """Return whether a C++ compiler is available.

    torch needs one to compile for a CPU.
    """
    return any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))
