"""How kernels are compiled."""

import inspect
from collections.abc import Callable
from typing import Any

import triton


def kernel(function: Callable[..., Any]) -> Any:
    """Triton's `jit`; a type checker that the tests wrap around every function is taken off.

    The number of clusters changes in a run, and is not to have the kernel compiled anew.
    """
    return triton.jit(inspect.unwrap(function), do_not_specialize=["k"])
