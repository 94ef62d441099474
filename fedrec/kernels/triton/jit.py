"""Compilation of kernels."""

import inspect
from collections.abc import Callable
from typing import Any

import triton


def kernel(function: Callable[..., Any]) -> Any:
    """Return Triton's `jit` of a function, without the type checker that the tests wrap around it.

    The number of clusters k changes during a run, and so do the keys of streams between two starts
    of a kernel. It must not be compiled again for them.
    """
    same = ["k", "key_low", "key_high"]
    return triton.jit(inspect.unwrap(function), do_not_specialize=same)
