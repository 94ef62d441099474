"""An operation of ours: one kernel on a GPU, and the same written plainly for any device."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """What is called like its plain twin, and runs as a kernel where the tensors are on a GPU.

    The kernel is the function of the same name in a file of `kernels.triton`, which is imported
    when it is first needed: Triton comes with PyTorch's CUDA builds only.
    """

    twin: Callable[..., Any]
    file: str

    def __call__(self, *given: Any) -> Any:
        """Run it on the device of its tensors."""
        return run(self, *given)

    @property
    def kernel(self) -> Callable[..., Any]:
        """What a GPU runs.

        Raises:
            RuntimeError: Triton is not there.
        """
        try:
            file = import_module(f"fedrec.kernels.triton.{self.file}")
        except ModuleNotFoundError as missing:
            raise RuntimeError(
                "a GPU needs Triton, which PyTorch's CUDA builds for Linux bring: "
                "install one, or run with --device cpu"
            ) from missing
        found: Callable[..., Any] = getattr(file, self.twin.__name__)
        return found


def operation(file: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Have a function run as the kernel of the same name in `kernels/triton/<file>.py` on a GPU."""

    def decorate(twin: Callable[..., T]) -> Callable[..., T]:
        return Operation(twin, file)

    return decorate


def run(operation: Operation, *given: Any) -> Any:
    """Run an operation where its first tensor is."""
    first = next(x for x in given if isinstance(x, torch.Tensor))
    return (operation.kernel if first.is_cuda else operation.twin)(*given)
