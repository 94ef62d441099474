"""A pretend GPU: what would run on one runs on the CPU, and what a GPU suffers from is counted.

Within `pretending()`, tensors of the device "cuda" hold their numbers on the CPU, and say of
themselves that they are on a GPU. An operation on operands of both places fails as it would there.
Counted are

- operations: what launches kernels, once each, however many kernels CUDA makes of it. Views and
  empty tensors launch none; an `Operation` of ours is one.
- synchronisations: where the host waits for the GPU: it reads a number, or needs to know how large
  a result is (`nonzero`, masks as indices, …), or copies and does not say `non_blocking`.
- copies between host and GPU, and their bytes. An index on the host is one too, as is a number that
  is written at indices. A number as an operand travels with the kernel.

Only the thread that entered `pretending()` sees the device: work has to stay on one thread.
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

from fedrec.kernels.device import operation

# PyTorch's own code takes pretend tensors for tensors of "meta", which has no memory: of a device
# that a build knows nothing about, it refuses gradients and indices.
CPU, INSIDE, OUTSIDE = torch.device("cpu"), torch.device("meta"), torch.device("cuda:0")

COPIES = {"aten::_to_copy", "aten::copy_"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index"}
READS = {"aten::_local_scalar_dense"}
# Beside views, by PyTorch's own word: what starts no kernel.
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
# The size of the result, or the result itself, is read by the host.
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
    """What a GPU would have had to do."""

    operations: int = 0
    synchronisations: int = 0
    copies: int = 0
    copied_bytes: int = 0
    names: Counter[str] = field(default_factory=Counter, compare=False)  # "waits: " of these

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            self.operations - earlier.operations,
            self.synchronisations - earlier.synchronisations,
            self.copies - earlier.copies,
            self.copied_bytes - earlier.copied_bytes,
            self.names - earlier.names,
        )

    def snapshot(self) -> "Counts":
        """The counts as they stand."""
        return replace(self, names=self.names.copy())

    def reset(self) -> None:
        """Begin anew."""
        vars(self).update(vars(Counts()))

    def operation(self, name: str) -> None:
        """One more operation."""
        self.operations += 1
        self.names[name] += 1

    def wait(self, name: str) -> None:
        """One more synchronisation."""
        self.synchronisations += 1
        self.names[f"waits: {name}"] += 1

    def copy(self, name: str, source: Tensor, blocking: bool) -> None:
        """One more copy; CUDA leaves out those of nothing."""
        if source.numel() == 0:
            return
        self.copies += 1
        self.copied_bytes += source.numel() * source.element_size()
        self.names[f"copies: {name}"] += 1
        if blocking:
            self.wait(name)


class Pretend(Tensor):
    """A tensor of the pretend device."""

    plain: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, plain: Tensor) -> "Pretend":
        """Of the same memory as a tensor of the CPU."""
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
        """What it says."""
        return OUTSIDE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """What a GPU's tensor says."""
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """What a GPU's tensor says."""
        return False

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"pretend({self.plain})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse: inside, the mode comes first.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{function}: a pretend tensor is of use within pretending() alone")


def is_pretend(tensor: Tensor) -> bool:
    """Whether a tensor is on the pretend device."""
    return isinstance(tensor, Pretend)


@contextmanager
def pretending() -> Iterator[Counts]:
    """Meanwhile the device "cuda" is there, and what is done on it is counted."""
    counts, before = Counts(), operation.run
    operation.run = partial(_run, counts)
    try:
        with _Placing(), _Counting(counts):
            yield counts
    finally:
        operation.run = before


class _Placing(TorchFunctionMode):
    """Sends what is asked for on a GPU to the pretend one."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs or len(args) > 1:  # else it is a tensor's attribute, or names no place
            args, kwargs = tree_map_only((str, torch.device), _renamed, (args, kwargs))
            kwargs.pop("pin_memory", None)  # which needs a GPU
        return CALLS.get(function, function)(*args, **kwargs)


def _renamed(place: str | torch.device) -> str | torch.device:
    """The device by the name that PyTorch's own code knows."""
    return INSIDE if str(place).partition(":")[0] == "cuda" else place


def _built(
    function: Callable[..., Tensor], *args: Any, device: Any = None, **kwargs: Any
) -> Tensor:
    """Numbers are made a tensor by the host."""
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
    """A number is a tensor of the host, which PyTorch makes of it for a GPU too."""
    tensor[index] = value if isinstance(value, Tensor) else torch.tensor(value, dtype=tensor.dtype)


# What PyTorch does in its own way for "meta".
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
    """Does on the CPU what is to be done on the pretend device."""

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
    """One operation of PyTorch's, with what it is given."""

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
        """Whether the result is on the pretend device."""
        place = self.kwargs.get("device")
        return self.pretend if place is None else torch.device(place) == INSIDE

    @cached_property
    def indices(self) -> list[Tensor]:
        return _tensors(self.args[1]) if self.name in INDEXED else []

    @property
    def fills_a_mask(self) -> bool:
        """Whether a number of the host is written where a mask says, which is one kernel."""
        value = self.args[2:3]
        number = bool(value) and not is_pretend(value[0]) and value[0].dim() == 0
        return number and len(self.indices) == 1 and _is_mask(self.indices[0])

    def check(self) -> None:
        """Refuse operands that are on the host, but for numbers and indices."""
        if self.name in COPIES:
            return
        first = next(iter(self.args), None)
        anywhere = self.indices if isinstance(first, Pretend) else []
        _check_places([x for x in self.tensors if not any(x is index for index in anywhere)])
        self._check_target()

    def _check_target(self) -> None:
        """Even a number cannot take a result from the other place."""
        wanted = zip(self.function._schema.arguments, self.args, strict=False)
        written = [x for what, x in wanted if what.alias_info and what.alias_info.is_write]
        if self.pretend and any(not is_pretend(x) for x in tree_leaves(written)):
            raise _misplaced()

    def count(self, counts: Counts) -> None:
        """What a GPU would suffer."""
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
        """What is copied from one place to the other."""
        source = self.args[1] if self.name == "aten::copy_" else self.args[0]
        there = is_pretend(self.args[0]) if self.name == "aten::copy_" else self.ends_there
        return None if is_pretend(source) == there else source

    @property
    def _non_blocking(self) -> bool:
        return bool(self.kwargs.get("non_blocking", self.args[2:3] == (True,)))

    def done(self) -> Any:
        """The result, on the pretend device if it belongs there."""
        args, kwargs = tree_map_only(Pretend, attrgetter("plain"), (self.args, self.kwargs))
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        result = self.function(*args, **kwargs)
        if self._reshapes:
            with no_dispatch():  # what PyTorch's own code knows of the shape
                self.function(*self.args, **self.kwargs)
        return _wrapped(result, self.tensors) if self.ends_there else result


def _run(counts: Counts, what: operation.Operation, *given: Any) -> Any:
    """Run an operation of ours: the twin on the CPU, as one kernel."""
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
    """A result as tensors of the pretend device: those that were given, where it is in place."""
    known = {id(x.plain): x for x in given if isinstance(x, Pretend)}
    return _mapped(lambda x: known[id(x)] if id(x) in known else Pretend(x), result)


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in a value."""
    found: list[Tensor] = []
    _mapped(found.append, value)
    return found


def _mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """A value with each tensor in it, in tuples, dataclasses and the like, replaced."""
    return tree_map(partial(_leaf, function), value)


def _leaf(function: Callable[[Tensor], Any], leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return function(leaf)
    if is_dataclass(leaf) and not isinstance(leaf, type):
        parts = {f.name: _mapped(function, getattr(leaf, f.name)) for f in fields(leaf)}
        return replace(leaf, **parts)
    return leaf
