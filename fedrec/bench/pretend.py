"""A simulated GPU: its operations run on the CPU, and what would cost time on a GPU is counted.

Within `pretending()`, tensors of the device "cuda" keep their numbers on the CPU and report that
they are on a GPU. An operation on operands from both devices fails as it would with a GPU.
It counts

- operations: those that launch kernels, once each, however many kernels CUDA needs for one. Views
  and empty tensors launch none; an `Operation` of this package counts as one.
- synchronisations: places where the host waits for the GPU, because it reads a number, needs the
  size of a result (`nonzero`, masks as indices, …), or copies without `non_blocking`.
- copies between host and GPU, and their bytes. An index on the host is copied too, and so is a
  number that is written at indices. A number as an operand is sent with the kernel.

Only the thread that entered `pretending()` sees the device, so work has to stay on one thread.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from fedrec.kernels import tape
from fedrec.kernels.device import operation

# PyTorch's own code sees simulated tensors as tensors of "meta", a device without memory. PyTorch
# does not support gradients and indices on a device that its build does not know.
CPU, INSIDE, OUTSIDE = torch.device("cpu"), torch.device("meta"), torch.device("cuda:0")

COPIES = {"aten::_to_copy", "aten::copy_"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index"}
READS = {"aten::_local_scalar_dense"}
# Operations that launch no kernel, in addition to those that PyTorch declares as views.
FREE = {
    "aten::empty",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::new_empty",
    "aten::new_empty_strided",
    "aten::lift_fresh",
    "aten::_unsafe_view",
    "aten::_reshape_alias",
}
# Operations for which the host reads the result or its size.
WAITING = {
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::unique_dim_consecutive",
    "aten::bincount",
    "aten::equal",
    "aten::_linalg_eigh",
}


@dataclass
class Counts:
    """The work that a GPU would have had."""

    operations: int = 0
    synchronisations: int = 0
    copies: int = 0
    copied_bytes: int = 0
    names: Counter[str] = field(default_factory=Counter, compare=False)  # "waits: " for waits etc.

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            self.operations - earlier.operations,
            self.synchronisations - earlier.synchronisations,
            self.copies - earlier.copies,
            self.copied_bytes - earlier.copied_bytes,
            self.names - earlier.names,
        )

    def snapshot(self) -> "Counts":
        """Return a copy of the current counts."""
        return replace(self, names=self.names.copy())

    def reset(self) -> None:
        """Set all counts to zero."""
        vars(self).update(vars(Counts()))

    def operation(self, name: str) -> None:
        """Count one operation."""
        self.operations += 1
        self.names[name] += 1

    def wait(self, name: str) -> None:
        """Count one synchronisation."""
        self.synchronisations += 1
        self.names[f"waits: {name}"] += 1

    def copy(self, name: str, source: Tensor, blocking: bool) -> None:
        """Count one copy; CUDA skips empty ones."""
        if source.numel() == 0:
            return
        self.copies += 1
        self.copied_bytes += source.numel() * source.element_size()
        self.names[f"copies: {name}"] += 1
        if blocking:
            self.wait(name)


class Pretend(Tensor):
    """A tensor of the simulated device."""

    plain: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, plain: Tensor) -> "Pretend":
        """Return a tensor that shares the memory of a CPU tensor."""
        made = Tensor._make_wrapper_subclass(
            cls,
            plain.shape,
            strides=plain.stride(),
            storage_offset=plain.storage_offset(),
            dtype=plain.dtype,
            device=INSIDE,
        )
        made.plain = plain
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that the tensor reports."""
        return OUTSIDE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """True, as for a GPU's tensor."""
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """False, as for a GPU's tensor."""
        return False

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"pretend({self.plain})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Raise an error: within `pretending()` the mode handles the call first.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{function}: a pretend tensor can be used only within pretending()")


def is_pretend(tensor: Tensor) -> bool:
    """Return whether a tensor is on the simulated device."""
    return isinstance(tensor, Pretend)


@contextmanager
def pretending() -> Iterator[Counts]:
    """Provide the device "cuda" in this context, and count the work on it."""
    counts, before = Counts(), (operation.run, tape.has_graphs)
    operation.run, tape.has_graphs = partial(_run, counts), lambda device: False
    try:
        with _Placing(), _Counting(counts):
            yield counts
    finally:
        operation.run, tape.has_graphs = before


class _Placing(TorchFunctionMode):
    """Redirects requests for a GPU to the simulated one."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs or len(args) > 1:  # otherwise a tensor's attribute, or a call without a device
            args, kwargs = tree_map_only((str, torch.device), _renamed, (args, kwargs))
            kwargs.pop("pin_memory", None)  # pinning needs a GPU
        return CALLS.get(function, function)(*args, **kwargs)


def _renamed(place: str | torch.device) -> str | torch.device:
    """Return the name by which PyTorch's own code knows the device."""
    return INSIDE if str(place).partition(":")[0] == "cuda" else place


def _built(
    function: Callable[..., Tensor], *args: Any, device: Any = None, **kwargs: Any
) -> Tensor:
    """Build a tensor from numbers, which happens on the host."""
    made = function(*args, **kwargs)
    return made if device is None else made.to(device)


def _built_like(like: Tensor, data: Any, device: Any = None, **kwargs: Any) -> Tensor:
    where = device or (INSIDE if is_pretend(like) else CPU)
    return _built(torch.tensor, data, device=where, **{"dtype": like.dtype, **kwargs})


def _pinned(tensor: Tensor, *args: Any) -> Tensor:
    return tensor


def _listed(tensor: Tensor) -> Any:
    return tensor.cpu().tolist()


def _as_array(tensor: Tensor, **kwargs: Any) -> Any:
    if is_pretend(tensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
    return tensor.numpy(**kwargs)


def _set(tensor: Tensor, index: Any, value: Any) -> None:
    """Set items; PyTorch makes a tensor of a number on the host for a GPU too."""
    tensor[index] = value if isinstance(value, Tensor) else torch.tensor(value, dtype=tensor.dtype)


# Calls that PyTorch handles differently for "meta".
CALLS: dict[Any, Callable[..., Any]] = {
    torch.tensor: partial(_built, torch.tensor),
    torch.as_tensor: partial(_built, torch.as_tensor),
    Tensor.new_tensor: _built_like,
    Tensor.pin_memory: _pinned,
    Tensor.tolist: _listed,
    Tensor.numpy: _as_array,
    Tensor.__setitem__: _set,
}


class _Counting(TorchDispatchMode):
    """Runs operations of the simulated device on the CPU."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        call = _Call(function, args, kwargs or {})
        if not (call.ends_there or call.pretend):
            return function(*args, **call.kwargs)
        call.check()
        call.count(self._counts)
        return call.done()


@dataclass(frozen=True)
class _Call:
    """One PyTorch operation, with its arguments."""

    function: Any
    args: Sequence[Any]
    kwargs: dict[str, Any]

    @cached_property
    def name(self) -> str:
        return str(self.function._schema.name)

    @cached_property
    def tensors(self) -> list[Tensor]:
        return [x for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]

    @cached_property
    def pretend(self) -> bool:
        return any(isinstance(x, Pretend) for x in self.tensors)

    @cached_property
    def ends_there(self) -> bool:
        """Whether the result is on the simulated device."""
        place = self.kwargs.get("device")
        return self.pretend if place is None else torch.device(place) == INSIDE

    @cached_property
    def indices(self) -> list[Tensor]:
        return _tensors(self.args[1]) if self.name in INDEXED else []

    @property
    def fills_a_mask(self) -> bool:
        """Whether a host number is written where a mask is true, which is one kernel."""
        value = self.args[2:3]
        number = bool(value) and not is_pretend(value[0]) and value[0].dim() == 0
        return number and len(self.indices) == 1 and _is_mask(self.indices[0])

    def check(self) -> None:
        """Raise an error if operands are on the host, except numbers and indices."""
        if self.name in COPIES:
            return
        first = next(iter(self.args), None)
        anywhere = self.indices if isinstance(first, Pretend) else []
        _check_places([x for x in self.tensors if not any(x is index for index in anywhere)])
        self._check_target()

    def _check_target(self) -> None:
        """Raise an error if a result is written to the other device; numbers are no exception."""
        wanted = zip(self.function._schema.arguments, self.args, strict=False)
        written = [x for what, x in wanted if what.alias_info and what.alias_info.is_write]
        if self.pretend and any(not is_pretend(x) for x in tree_leaves(written)):
            raise _misplaced()

    def count(self, counts: Counts) -> None:
        """Count what the operation costs on a GPU."""
        name = self.name
        if name in COPIES and (crossing := self._crossing()) is not None:
            counts.copy(name, crossing, blocking=not self._non_blocking)
        elif name in READS:
            counts.wait(name)
        elif self.ends_there or name in WAITING:
            self._count_operation(counts)

    def _count_operation(self, counts: Counts) -> None:
        if self.name in FREE or self.function.is_view or self._reshapes:
            return
        counts.operation(self.name)
        if self.name in WAITING or self._looks_up_its_size:
            counts.wait(self.name)
        if self.name in INDEXED and not self.fills_a_mask:
            self._count_indices(counts)

    def _count_indices(self, counts: Counts) -> None:
        for value in [*self.indices, *_tensors(self.args[2:3])]:
            if not is_pretend(value):
                counts.copy(self.name, value, blocking=True)
        for _ in filter(_is_mask, filter(is_pretend, self.indices)):
            counts.wait(self.name)

    @property
    def _reshapes(self) -> bool:
        return torch.Tag.inplace_view in self.function.tags

    @property
    def _looks_up_its_size(self) -> bool:
        repeated = self.name == "aten::repeat_interleave"
        return repeated and self.kwargs.get("output_size") is None

    def _crossing(self) -> Tensor | None:
        """Return the tensor that is copied from one device to the other, if any."""
        source = self.args[1] if self.name == "aten::copy_" else self.args[0]
        there = is_pretend(self.args[0]) if self.name == "aten::copy_" else self.ends_there
        return None if is_pretend(source) == there else source

    @property
    def _non_blocking(self) -> bool:
        return bool(self.kwargs.get("non_blocking", self.args[2:3] == (True,)))

    def done(self) -> Any:
        """Return the result, on the simulated device if it belongs there."""
        args, kwargs = tree_map_only(Pretend, attrgetter("plain"), (self.args, self.kwargs))
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        result = self.function(*args, **kwargs)
        if self._reshapes:
            with no_dispatch():  # update the shape that PyTorch's own code keeps
                self.function(*self.args, **self.kwargs)
        return _wrapped(result, self.tensors) if self.ends_there else result


def _run(counts: Counts, what: operation.Operation, *given: Any) -> Any:
    """Run one of this package's operations: its plain twin on the CPU, counted as one kernel."""
    tensors = _tensors(given)
    if not any(map(is_pretend, tensors)):
        return what.twin(*given)
    _check_places(tensors)
    counts.operation(what.twin.__name__)
    return _wrapped(what.twin(*_mapped(_unwrapped, given)), tensors)


def _check_places(tensors: Sequence[Tensor]) -> None:
    here = [x for x in tensors if not isinstance(x, Pretend)]
    if len(here) < len(tensors) and any(x.dim() > 0 for x in here):
        raise _misplaced()


def _misplaced() -> RuntimeError:
    text = "Expected all tensors to be on the same device, but found at least two devices"
    return RuntimeError(f"{text}, cuda:0 (pretended) and cpu!")


def _is_mask(index: Tensor) -> bool:
    return index.dtype in (torch.bool, torch.uint8)


def _unwrapped(tensor: Tensor) -> Tensor:
    return tensor.plain if isinstance(tensor, Pretend) else tensor


def _wrapped(result: Any, given: Sequence[Tensor]) -> Any:
    """Return a result as simulated tensors; results written in place are the given tensors."""
    known = {id(x.plain): x for x in given if isinstance(x, Pretend)}
    return _mapped(lambda x: known[id(x)] if id(x) in known else Pretend(x), result)


def _tensors(value: Any) -> list[Tensor]:
    """Return all tensors in a value."""
    found: list[Tensor] = []
    _mapped(found.append, value)
    return found


def _mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return a value with each tensor in it, in tuples, dataclasses and the like, replaced."""
    return tree_map(partial(_leaf, function), value)


def _leaf(function: Callable[[Tensor], Any], leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return function(leaf)
    if is_dataclass(leaf) and not isinstance(leaf, type):
        parts = {f.name: _mapped(function, getattr(leaf, f.name)) for f in fields(leaf)}
        return replace(leaf, **parts)
    return leaf
