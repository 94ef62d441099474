"""Compilation of kernels."""

import inspect
from collections.abc import Callable
from typing import Any

import triton


def kernel(function: Callable[..., Any]) -> Any:
    """Return Triton's `jit` of a function, without the type checker that the tests wrap around it.

    The number of clusters k changes during a run; the kernel must not be compiled again for it.
    """
    return triton.jit(inspect.unwrap(function), do_not_specialize=["k"])
