"""Custom operations: one kernel on a GPU, and plain code with the same result on any device."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """A function that runs as plain code, or as a kernel if the tensors are on a GPU.

    The kernel is the function of the same name in a file of `kernels.triton`. The file is imported
    on first use, because Triton comes only with PyTorch's CUDA builds.
    """

    twin: Callable[..., Any]
    file: str

    def __call__(self, *given: Any) -> Any:
        """Run the operation on the device of its tensors."""
        return run(self, *given)

    @property
    def kernel(self) -> Callable[..., Any]:
        """The function that runs on a GPU.

        Raises:
            RuntimeError: Triton is not installed.
        """
        try:
            file = import_module(f"fedrec.kernels.triton.{self.file}")
        except ModuleNotFoundError as missing:
            raise RuntimeError(
                "a GPU needs Triton, which PyTorch's CUDA builds for Linux include: "
                "install one, or run with --device cpu"
            ) from missing
        found: Callable[..., Any] = getattr(file, self.twin.__name__)
        return found


def operation(file: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a function run as the kernel of the same name in `kernels/triton/<file>.py` on a GPU."""

    def decorate(twin: Callable[..., T]) -> Callable[..., T]:
        return Operation(twin, file)

    return decorate


def run(operation: Operation, *given: Any) -> Any:
    """Run an operation on the device of its first tensor."""
    first = next(x for x in given if isinstance(x, torch.Tensor))
    return (operation.kernel if first.is_cuda else operation.twin)(*given)
