"""Sixteen numbers side by side, as one value of compiled code, and sums made with them.

A loop's bits depend only on its numbers, not on their addresses or the width of the machine's
vectors. Sums over many numbers are made in LANES parallel sums, in a fixed order. A product and a
sum are rounded once where `fused` is used, and twice elsewhere. No loop lets the compiler do
algebra (numba's `fastmath`). See docs/decisions/016-fixed-order-sums.md.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from fedrec.kernels.compiled import compiled

LANES = 16  # parallel sums, independent of the width of a machine's vectors
INT32, VECTOR = ir.IntType(32), ir.VectorType(ir.FloatType(), LANES)


class Lanes(types.Type):
    """The type of LANES numbers of float32 that compiled code keeps as one vector."""

    def __init__(self) -> None:
        super().__init__("Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


def in_llvm(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return numba's `intrinsic`: a function written in LLVM's own operations."""
    return intrinsic(inspect.unwrap(function))


@in_llvm
def no_lanes(context: Any) -> Any:
    """Return LANES zeros."""
    return Lanes()(), lambda context, builder, signature, given: ir.Constant(VECTOR, None)


@in_llvm
def every(context: Any, x: Any) -> Any:
    """Return LANES copies of a number."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _all(builder, given[0])

    return Lanes()(types.float32), build


@in_llvm
def load(context: Any, row: Any, k: Any) -> Any:
    """Return the numbers from k on of a contiguous row, padded with zeros beyond its end."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _read(context, builder, signature, given, VECTOR)

    return (Lanes()(row, types.intp), build) if _is_row(row, types.float32) else None


@in_llvm
def store(context: Any, row: Any, k: Any, lanes: Any) -> Any:
    """Write lanes to a contiguous row from k on, up to its end."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place, fits, used = _place(context, builder, signature, given, VECTOR)
        with builder.if_else(fits, likely=True) as (whole, part):
            with whole:
                builder.store(given[2], place, align=4)
            with part:
                kinds = [VECTOR, place.type, INT32, used.type]
                function = ir.FunctionType(ir.VoidType(), kinds)
                name = f"llvm.masked.store.v{LANES}f32.p0"
                write = cgutils.get_or_insert_function(builder.module, function, name)
                builder.call(write, [given[2], place, INT32(4), used])
        return context.get_dummy_value()

    return (types.void(row, types.intp, lanes), build) if _is_row(row, types.float32) else None


@in_llvm
def where_kept(context: Any, lanes: Any, bits: Any, k: Any, below: Any) -> Any:
    """Return lanes, with 0 where the bits from k on are below a number: dropout.

    If the row's length is a multiple of LANES, k + LANES must not be beyond its end.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        lanes, row, k, below = given
        types_of = signature.return_type(*signature.args[1:3])
        found = _read(context, builder, types_of, (row, k), ir.VectorType(below.type, LANES))
        kept = builder.icmp_unsigned(">=", found, _all(builder, below))
        return builder.select(kept, lanes, ir.Constant(VECTOR, None))

    wanted = _is_row(bits, types.uint16)
    return (Lanes()(lanes, bits, types.intp, types.uint16), build) if wanted else None


@in_llvm
def fused(context: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x · y + z, rounded once, for lanes or for numbers of float32."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = given[0].type
        name = "llvm.fma.f32" if kind == ir.FloatType() else f"llvm.fma.v{LANES}f32"
        function = ir.FunctionType(kind, [kind] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), given)

    return (x(x, y, z), build) if x == y == z and x in (Lanes(), types.float32) else None


@in_llvm
def folded(context: Any, lanes: Any) -> Any:
    """Return the sum of all lanes: the upper half is added to the lower, until one is left."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        (left,), half = given, LANES // 2
        while half:
            kind = ir.VectorType(INT32, half)
            lower, upper = np.arange(2 * half).reshape(2, half).tolist()
            halves = (
                builder.shuffle_vector(left, left, ir.Constant(kind, places))
                for places in (lower, upper)
            )
            left, half = builder.fadd(*halves), half // 2
        return builder.extract_element(left, INT32(0))

    return types.float32(lanes), build


@in_llvm
def same_bits(context: Any, x: Any) -> Any:
    """Convert between a number of float32 and its 32 bits, in either direction."""
    kind = types.float32 if x == types.uint32 else types.uint32

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], context.get_value_type(signature.return_type))

    return (kind(x), build) if x in (types.uint32, types.float32) else None


def _is_row(row: Any, kind: Any) -> bool:
    return isinstance(row, types.Array) and (row.dtype, row.ndim, row.layout) == (kind, 1, "C")


def _place(
    context: Any, builder: Any, signature: Any, given: Any, vector: Any
) -> tuple[Any, Any, Any]:
    """Return a pointer to a row at k, whether vectors fill the row, and which lanes are in it."""
    array = context.make_array(signature.args[0])(context, builder, given[0])
    place = builder.bitcast(builder.gep(array.data, [given[1]]), vector.as_pointer())
    left = builder.sub(array.nitems, given[1])
    over = builder.and_(array.nitems, left.type(LANES - 1))
    fits = builder.icmp_signed("==", over, left.type(0))  # constant, so that LLVM tests it once
    kind = ir.VectorType(INT32, LANES)
    lane = ir.Constant(kind, list(range(LANES)))
    used = builder.icmp_signed("<", lane, _all(builder, builder.trunc(left, INT32)))
    return place, fits, used


def _all(builder: Any, number: Any) -> Any:
    """Return a vector of copies of a number."""
    kind = ir.VectorType(number.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, INT32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(INT32, LANES), None))


def _read(context: Any, builder: Any, signature: Any, given: Any, vector: Any) -> Any:
    """Return a vector of the numbers from k on of a row, with zeros beyond its end."""
    place, fits, used = _place(context, builder, signature, given, vector)
    size = context.get_abi_sizeof(vector.element)
    with builder.if_else(fits, likely=True) as (whole, part):
        with whole:
            full, after_full = builder.load(place, align=size), builder.block
        with part:
            function = ir.FunctionType(vector, [place.type, INT32, used.type, vector])
            name = f"llvm.masked.load.v{LANES}{vector.element.intrinsic_name}.p0"
            read = cgutils.get_or_insert_function(builder.module, function, name)
            given = [place, INT32(size), used, ir.Constant(vector, None)]
            some, after_some = builder.call(read, given), builder.block
    found = builder.phi(vector)
    found.add_incoming(full, after_full)
    found.add_incoming(some, after_some)
    return found


@compiled(inline="always")
def dot(a: Float[np.ndarray, " d"], b: Float[np.ndarray, " d"]) -> np.float32:
    """Return Σ a[k] · b[k], with LANES parallel sums."""
    sums = no_lanes()
    for k in range(0, len(a), LANES):
        sums = fused(load(a, k), load(b, k), sums)
    return folded(sums)


@compiled(inline="always")
def add_times(
    share: np.float32, x: Float[np.ndarray, " d"], total: Float[np.ndarray, " d"]
) -> None:
    """total += share · x."""
    for k in range(0, len(x), LANES):
        store(total, k, fused(every(share), load(x, k), load(total, k)))


@compiled(inline="always")
def copy(x: Shaped[np.ndarray, " n"], place: Shaped[np.ndarray, " n"]) -> None:
    """place = x. (Assigning to a slice makes numba compile an error message as well, for 1 s.)"""
    for k in range(len(x)):
        place[k] = x[k]


@compiled(inline="always")
def padded(count: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not below `count`."""
    return -(-count // multiple) * multiple
