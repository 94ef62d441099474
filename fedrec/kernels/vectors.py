"""Compiled loops for the CPU, where a chain of tensor operations would wait for memory.

Each has a plain twin in NumPy or PyTorch, in the package where the GPU uses it, and the tests
compare the two. Compilation takes a few seconds, once: the result is cached beside this file, or in
NUMBA_CACHE_DIR. All loops stand in this one file because the cache of a function looks at its own
file alone, and would miss a change of what it calls elsewhere.

A loop's bits depend on its numbers alone, neither on their addresses nor on how many the machine's
vectors hold: sums over many numbers are taken by LANES of them, in an order that is written down; a
product and a sum are rounded once where `fused` says so, and twice elsewhere; and no loop lets the
compiler do algebra (numba's `fastmath`). See docs/decisions/016-fixed-order-sums.md.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt32, UInt64
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

F = TypeVar("F", bound=Callable[..., Any])

ROUNDING = np.float32(8 * np.finfo(np.float32).eps)  # of squared norms, relative
LANES = 16  # numbers that a sum is made of side by side, whatever a machine's vectors hold
BLOCKS = 8  # of random bits that one draws at a time
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
WEYL, HIGH_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # of Philox's key
LN2, LOG2E = np.float32(np.log(2)), np.float32(1 / np.log(2))
C1, C3, C5, C7, C9, C11, C13, C15 = (np.float32(2 / odd) for odd in range(1, 16, 2))
WIDE_LN2, WIDE_LOG2E = float(np.log(2)), float(1 / np.log(2))
INT32, VECTOR = ir.IntType(32), ir.VectorType(ir.FloatType(), LANES)


def compiled(**options: Any) -> Callable[[F], F]:
    """numba's `njit` of a function that threads may run side by side.

    A type checker that the tests wrap around every function is taken off first.
    """
    compile = njit(cache=True, nogil=True, error_model="numpy", **options)
    return lambda function: compile(inspect.unwrap(function))


class Lanes(types.Type):
    """The type of LANES numbers of float32 that compiled code holds as one vector."""

    def __init__(self) -> None:
        super().__init__("Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


def in_llvm(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's `intrinsic`: a function that is written in LLVM's own operations."""
    return intrinsic(inspect.unwrap(function))


@in_llvm
def no_lanes(context: Any) -> Any:
    """LANES zeros."""
    return Lanes()(), lambda context, builder, signature, given: ir.Constant(VECTOR, None)


@in_llvm
def every(context: Any, x: Any) -> Any:
    """LANES times the same number."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _all(builder, given[0])

    return Lanes()(types.float32), build


@in_llvm
def load(context: Any, row: Any, k: Any) -> Any:
    """The numbers from k on of a row that is contiguous; zeros from its end on."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _read(context, builder, signature, given, VECTOR)

    return (Lanes()(row, types.intp), build) if _is_row(row, types.float32) else None


@in_llvm
def store(context: Any, row: Any, k: Any, lanes: Any) -> Any:
    """Write lanes to the places from k on of a row that is contiguous, up to its end."""

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
    """Lanes, or 0 where the bits from k on are below a number: dropout.

    If the row's length is a multiple of LANES, k + LANES must not lie beyond its end.
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
    """x · y + z, rounded once: of lanes, or of numbers of float32."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = given[0].type
        name = "llvm.fma.f32" if kind == ir.FloatType() else f"llvm.fma.v{LANES}f32"
        function = ir.FunctionType(kind, [kind] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), given)

    return (x(x, y, z), build) if x == y == z and x in (Lanes(), types.float32) else None


@in_llvm
def folded(context: Any, lanes: Any) -> Any:
    """The sum of all lanes: the upper half on the lower, until one is left."""

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
    """The number of float32 with these 32 bits, or the bits of such a number."""
    kind = types.float32 if x == types.uint32 else types.uint32

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], context.get_value_type(signature.return_type))

    return (kind(x), build) if x in (types.uint32, types.float32) else None


def _is_row(row: Any, kind: Any) -> bool:
    return isinstance(row, types.Array) and (row.dtype, row.ndim, row.layout) == (kind, 1, "C")


def _place(
    context: Any, builder: Any, signature: Any, given: Any, vector: Any
) -> tuple[Any, Any, Any]:
    """Where a row's numbers from k on are, whether vectors fill it, and which lanes it fills."""
    array = context.make_array(signature.args[0])(context, builder, given[0])
    place = builder.bitcast(builder.gep(array.data, [given[1]]), vector.as_pointer())
    left = builder.sub(array.nitems, given[1])
    over = builder.and_(array.nitems, left.type(LANES - 1))
    fits = builder.icmp_signed("==", over, left.type(0))  # all alike, so that LLVM asks but once
    kind = ir.VectorType(INT32, LANES)
    lane = ir.Constant(kind, list(range(LANES)))
    used = builder.icmp_signed("<", lane, _all(builder, builder.trunc(left, INT32)))
    return place, fits, used


def _all(builder: Any, number: Any) -> Any:
    """A vector of the same number."""
    kind = ir.VectorType(number.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, INT32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(INT32, LANES), None))


def _read(context: Any, builder: Any, signature: Any, given: Any, vector: Any) -> Any:
    """A vector of the numbers from k on of a row, and zeros from its end on."""
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
    """Σ a[k] · b[k], by LANES sums side by side."""
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
def padded(count: int, multiple: int) -> int:
    """The least multiple that is not below a count."""
    return -(-count // multiple) * multiple


@compiled(inline="always")
def philox_round(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """One of the ten rounds of Philox 4x32 (Salmon et al. 2011), on the low halves of its words.

    What the high halves hold does not matter: vectors multiply 32 bits by 32 as they are.
    """
    p, q = (a & LOW) * np.uint64(0xD2511F53), (c & LOW) * np.uint64(0xCD9E8D57)
    return (q >> HALF) ^ b ^ k0, q, (p >> HALF) ^ d ^ k1, p


@compiled()
def fill(
    seed: UInt64[np.ndarray, "2"], first: int, words: UInt64[np.ndarray, " twice_blocks"]
) -> None:
    """A stream's blocks from `first` on, two words each: see `rng.Streams`."""
    low_key, high_key = seed[0], seed[0] >> HALF
    client, number = seed[1] & LOW, seed[1] >> HALF
    for i in range(len(words) // 2):
        a, b, c, d = np.uint64(first + i), client, number, np.uint64(0)
        k0, k1 = low_key, high_key
        for _ in range(10):
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = k0 + WEYL, k1 + HIGH_WEYL
        words[2 * i] = (a & LOW) | (b << HALF)
        words[2 * i + 1] = (c & LOW) | (d << HALF)


@compiled(inline="always")
def row_blocks(width: int, bits: int) -> int:
    """`rng.row_blocks`: blocks of 128 bits that a row of lanes takes."""
    return -(-width * bits // 128)


@compiled(inline="always")
def row_buffer(width: int, bits: int) -> UInt64[np.ndarray, " words"]:
    """Room for a row of lanes, and for as much of the next as fills the vectors: it takes less."""
    return np.empty(2 * padded(row_blocks(width, bits), BLOCKS), np.uint64)


@compiled()
def draw_masks(
    seeds: UInt64[np.ndarray, "clients 2"],
    stride: int,
    width: int,
    dropped_below: int,
    out: Float[np.ndarray, "clients a b c"],
) -> None:
    """1 where random 16 bits are not below `dropped_below`, else 0.

    Of each client, places (i, j, ·) are the first lanes of row i · stride + j, which has `width`.
    """
    below, words = np.uint16(dropped_below), row_buffer(out.shape[3], 16)
    lanes, blocks = words.view(np.uint16), row_blocks(width, 16)
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                fill(seeds[n], (i * stride + j) * blocks, words)
                for k in range(out.shape[3]):
                    out[n, i, j, k] = np.float32(lanes[k] >= below)


@compiled()
def add_bpr(
    bounds: Int[np.ndarray, " clients_plus_1"],
    user: Float[np.ndarray, "clients d"],
    table: Float[np.ndarray, "items d"],
    positive: Int[np.ndarray, " pairs"],
    negative: Int[np.ndarray, " pairs"],
    positive_row: Int[np.ndarray, " pairs"],
    negative_row: Int[np.ndarray, " pairs"],
    seeds: UInt64[np.ndarray, "clients 2"],
    dropped_below: int,
    scale: float,
    rows: Float[np.ndarray, "rows d"],
    to_user: Float[np.ndarray, "clients d"],
    loss: Float[np.ndarray, " clients"],
    first: int,
    end: int,
) -> None:
    """`mf.bpr_gradients` of the clients from `first` to `end`, added up where they belong.

    Client c has the pairs from bounds[c] to bounds[c + 1]. A coordinate is dropped where its
    random 16 bits are below `dropped_below`; each pair is a row, of user, positive and negative in
    turn.
    """
    d, below, minus = table.shape[1], np.uint16(dropped_below), every(np.float32(-1))
    hats, margins = np.empty((LANES, d), np.float32), np.empty((LANES, d), np.float32)
    x, slope, cost = np.zeros(LANES), np.empty(LANES, np.float32), np.empty(LANES)
    blocks = row_blocks(3 * d, 16)
    # LANES pairs' rows, and as many lanes more: a vector may begin just before the end.
    words = np.empty(2 * LANES * blocks + LANES // 4, np.uint64)
    lanes = words.view(np.uint16)
    for c in range(first, end):
        count = bounds[c + 1] - bounds[c]
        total = np.float64(0)
        for start in range(bounds[c], bounds[c + 1], LANES):
            some = min(LANES, bounds[c + 1] - start)
            fill(seeds[c], (start - bounds[c]) * blocks, words[: 2 * some * blocks])
            for j in range(some):
                u, v, w = user[c], table[positive[start + j]], table[negative[start + j]]
                hat, margin, sums, bit = hats[j], margins[j], no_lanes(), 8 * j * blocks
                for k in range(0, d, LANES):
                    of_hat = where_kept(load(u, k), lanes, bit + k, below)
                    plus = where_kept(load(v, k), lanes, bit + d + k, below)
                    less = where_kept(load(w, k), lanes, bit + 2 * d + k, below)
                    of_margin = fused(minus, less, plus)
                    store(hat, k, of_hat)
                    store(margin, k, of_margin)
                    sums = fused(of_hat, of_margin, sums)
                x[j] = np.float64(folded(sums)) * scale
            logistic(x, -scale / count, slope, cost)
            for j in range(some):
                hat, margin, bit = hats[j], margins[j], 8 * j * blocks
                up, down, of_user = every(slope[j]), every(-slope[j]), to_user[c]
                plus, less = rows[positive_row[start + j]], rows[negative_row[start + j]]
                for k in range(0, d, LANES):
                    share = where_kept(up, lanes, bit + k, below)
                    store(of_user, k, fused(share, load(margin, k), load(of_user, k)))
                    share = where_kept(up, lanes, bit + d + k, below)
                    store(plus, k, fused(share, load(hat, k), load(plus, k)))
                    share = where_kept(down, lanes, bit + 2 * d + k, below)
                    store(less, k, fused(share, load(hat, k), load(less, k)))
                total += cost[j]
        loss[c] = total / max(count, 1)


@compiled(inline="always")
def logistic(
    x: Float[np.ndarray, " LANES"],
    factor: float,
    slope: Float[np.ndarray, " LANES"],
    cost: Float[np.ndarray, " LANES"],
) -> None:
    """slope = factor · σ(−x), and cost = −log σ(x) = ln(1 + e⁻ˣ).

    From e = exp(−|x|), by the series of `exponentials` and `add_laplace` in float64, carried on
    until they are off by 10⁻⁹ at most. Where training diverges, an infinity or what is not a number
    stays one.
    """
    pattern = np.empty(LANES, np.int64)
    power = pattern.view(np.float64)
    for j in range(LANES):
        t = -abs(x[j]) * WIDE_LOG2E
        t = t if t > np.float64(-1000) else np.float64(-1000)
        n = np.floor(t + 0.5)
        pattern[j] = (np.int64(np.int32(n)) + 1023) << 52
        f = (t - n) * WIDE_LN2
        series = f * (1 / 40320) + (1 / 5040)
        series = series * f + (1 / 720)
        series = series * f + (1 / 120)
        series = series * f + (1 / 24)
        series = series * f + (1 / 6)
        series = series * f + (1 / 2)
        series = series * f + 1
        e = (series * f + 1) * power[j]
        slope[j] = factor * ((e if x[j] > 0 else np.float64(1)) / (1 + e))
        s = e / (2 + e)
        z = s * s
        series = z * (2 / 17) + (2 / 15)
        series = series * z + (2 / 13)
        series = series * z + (2 / 11)
        series = series * z + (2 / 9)
        series = series * z + (2 / 7)
        series = series * z + (2 / 5)
        series = series * z + (2 / 3)
        series = series * z + 2
        cost[j] = s * series + (np.float64(0) if x[j] > 0 else -x[j])


@compiled(inline="always")
def number_below(bits: np.uint32, n: int) -> np.int64:
    """32 random bits as a number below n: ⌊bits · n / 2³²⌋."""
    return np.int64((np.uint64(bits) * np.uint64(n)) >> HALF)


@compiled()
def draw_candidates(
    history: Int[np.ndarray, " anchors"],
    n_items: int,
    negatives: int,
    seed: UInt64[np.ndarray, "2"],
) -> Int[np.ndarray, "anchors c"]:
    """Each anchor of a history, another one, and items from outside, by 32 random bits a draw.

    An anchor's draws are a row. The first of them picks among the other positions of the history,
    the rest among the items that it lacks (among all, if it lacks none).
    """
    size = len(history)
    outside = np.ones(n_items, np.bool_)
    for item in history:
        outside[item] = False
    others = np.flatnonzero(outside)
    if len(others) == 0:
        others = np.arange(n_items)
    blocks, drawn = row_blocks(negatives + 1, 32), np.empty((size, negatives + 2), np.int64)
    words = row_buffer(negatives + 1, 32)
    lanes = words.view(np.uint32)
    for a in range(size):
        fill(seed, a * blocks, words)
        drawn[a, 0] = history[a]
        drawn[a, 1] = history[(a + 1 + number_below(lanes[0], size - 1)) % size]
        for j in range(negatives):
            drawn[a, j + 2] = others[number_below(lanes[j + 1], len(others))]
    return drawn


@compiled()
def distinct(
    first: Int[np.ndarray, " a"], second: Int[np.ndarray, " b"], n_items: int
) -> Int[np.ndarray, " c"]:
    """The distinct items of two lists, ascending."""
    found = np.zeros(n_items, np.bool_)
    for i in first:
        found[i] = True
    for i in second:
        found[i] = True
    return np.flatnonzero(found)


@compiled()
def draw_all(
    bounds: Int[np.ndarray, " clients_plus_1"],
    history: Int[np.ndarray, " anchors"],
    row_bounds: Int[np.ndarray, " clients_plus_1"],
    item: Int[np.ndarray, " rows"],
    n_items: int,
    seeds: UInt64[np.ndarray, "clients 2"],
    drawn: Int[np.ndarray, "anchors c"],
    touched: Int[np.ndarray, " clients"],
    first: int,
    end: int,
) -> None:
    """`draw_candidates` of the clients from `first` to `end`, and how many items each touches then.

    Client c has the anchors from bounds[c] to bounds[c + 1], none or two at least, and the rows
    likewise.
    """
    for c in range(first, end):
        own = slice(bounds[c], bounds[c + 1])
        if bounds[c] < bounds[c + 1]:
            drawn[own] = draw_candidates(history[own], n_items, drawn.shape[1] - 2, seeds[c])
        rows = item[row_bounds[c] : row_bounds[c + 1]]
        touched[c] = len(distinct(rows, drawn[own].reshape(-1), n_items))


@compiled()
def contrastive_rows(
    table: Float[np.ndarray, "items d"],
    bounds: Int[np.ndarray, " clients_plus_1"],
    drawn: Int[np.ndarray, "anchors c"],
    seeds: UInt64[np.ndarray, "clients 2"],
    dropped_below: int,
    scale: float,
    shares: Float[np.ndarray, " clients"],
    row_bounds: Int[np.ndarray, " clients_plus_1"],
    item: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    out_bounds: Int[np.ndarray, " clients_plus_1"],
    out_item: Int[np.ndarray, " more"],
    out_value: Float[np.ndarray, "more d"],
    clients: Int[np.ndarray, " some"],
) -> None:
    """Some clients' rows with `add_info_nce` of their candidates added, by ascending item."""
    place = np.empty(len(table), np.int64)
    for c in clients:
        own, out = slice(row_bounds[c], row_bounds[c + 1]), slice(out_bounds[c], out_bounds[c + 1])
        candidates = drawn[bounds[c] : bounds[c + 1]]
        touched = distinct(item[own], candidates.reshape(-1), len(table))
        out_item[out] = touched
        rows = out_value[out]
        rows[:] = 0
        for i in range(len(touched)):
            place[touched[i]] = i
        for r in range(row_bounds[c], row_bounds[c + 1]):
            rows[place[item[r]]] = value[r]
        add_info_nce(table, candidates, seeds[c], dropped_below, scale, shares[c], place, rows)


@compiled(inline="always")
def exponentials(
    x: Float[np.ndarray, " c"],
    top: np.float32,
    power: Float[np.ndarray, " c"],
    pattern: Int[np.ndarray, " c"],
) -> None:
    """x = exp(x − top) for x ≤ top, several at a time; `pattern` is the bits of `power`, a buffer.

    exp(y) = 2ⁿ 2ᶠ with n whole and |f| ≤ ½; 2ᶠ is the series of exp(f ln 2) up to its sixth power,
    which is off by 2·10⁻⁷ at most.
    """
    for j in range(len(x)):
        t = (x[j] - top) * LOG2E
        t = t if t > np.float32(-126) else np.float32(-126)
        n = np.floor(t + np.float32(0.5))
        pattern[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
        f = (t - n) * LN2
        series = fused(np.float32(1 / 720), f, np.float32(1 / 120))
        series = fused(series, f, np.float32(1 / 24))
        series = fused(series, f, np.float32(1 / 6))
        series = fused(series, f, np.float32(1 / 2))
        series = fused(series, f, np.float32(1))
        x[j] = fused(series, f, np.float32(1)) * power[j]


@compiled()
def add_info_nce(
    table: Float[np.ndarray, "items d"],
    drawn: Int[np.ndarray, "anchors c"],
    seed: UInt64[np.ndarray, "2"],
    dropped_below: int,
    scale: float,
    share: float,
    place: Int[np.ndarray, " items"],
    rows: Float[np.ndarray, "rows d"],
) -> None:
    """`contrastive.info_nce_gradient`, added to the row at each item's place.

    An embedding's coordinate is dropped where its random 16 bits are below `dropped_below`.
    Each anchor is a row of the lanes of its embeddings.
    """
    anchors, c = drawn.shape
    d = table.shape[1]
    keep = np.empty((c, d), np.float32)
    flat = keep.reshape(-1)
    masked = np.empty((c, d), np.float32)
    # of the candidates without the anchor, filled up with zeros
    logit, ones = np.zeros(padded(c - 1, LANES), np.float32), np.ones(c + LANES, np.float32)
    power = np.empty(len(logit), np.float32)
    pattern = power.view(np.int32)
    to_anchor = np.empty(d, np.float32)
    blocks = row_blocks(c * d, 16)
    words = row_buffer(c * d, 16)
    lanes, below = words.view(np.uint16), np.uint16(dropped_below)
    for a in range(anchors):
        fill(seed, a * blocks, words)
        for i in range(c * d):
            flat[i] = np.float32(lanes[i] >= below)
        for j in range(c):
            row = table[drawn[a, j]]
            for k in range(d):
                masked[j, k] = row[k] * keep[j, k]
        top = np.float32(-1e30)
        for j in range(1, c):
            logit[j - 1] = dot(masked[j], masked[0]) * np.float32(scale)
            top = max(top, logit[j - 1])
        exponentials(logit, top, power, pattern)
        logit[c - 1 :] = 0
        whole = np.float32(1) / dot(logit, ones[: len(logit)])
        to_anchor[:] = 0
        for j in range(1, c):
            q = (logit[j - 1] * whole - np.float32(j == 1)) * np.float32(share * scale)
            row = rows[place[drawn[a, j]]]
            for k in range(d):
                to_anchor[k] = fused(q, masked[j, k], to_anchor[k])
                row[k] = fused(q * keep[j, k], masked[0, k], row[k])
        row = rows[place[drawn[a, 0]]]
        for k in range(d):
            row[k] = fused(to_anchor[k], keep[0, k], row[k])


@compiled(inline="always")
def log_uniform(bits: np.uint32) -> np.float32:
    """ln U, where U · 2²³ is the 23 highest bits, plus a half."""
    # U = 2^e · m with m in [1, 2), taken apart by its bits
    drawn = np.float32(np.int32(bits >> np.uint32(9))) + np.float32(0.5)
    pattern = same_bits(drawn * np.float32(2**-23))
    e = np.float32(np.int32(pattern >> np.uint32(23)) - np.int32(127))
    m = same_bits(np.uint32((pattern & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)))
    # ln m = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …) with s = (m − 1) / (m + 1) ≤ 1/3
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    two, four = z * z, z * z * (z * z)
    low = fused(fused(C7, z, C5), two, fused(C3, z, C1))
    high = fused(fused(C15, z, C13), two, fused(C11, z, C9))
    return fused(e, LN2, s * fused(high, four, low))


@compiled()
def add_laplace(
    seed: UInt64[np.ndarray, "2"],
    scale: float,
    item: Int[np.ndarray, " rows"],
    change: Float[np.ndarray, "rows d"],
    coefficient: float,
    total: Float[np.ndarray, "items d"],
) -> None:
    """total += coefficient · Υ where |change| ≤ |Υ|; see `noise.LaplaceNoise`.

    Each coordinate takes 32 random bits, and each item is a row. The lowest bit is the sign of Υ;
    the 23 highest, plus a half, are U · 2²³ of |Υ| = −scale · ln U.
    """
    d = total.shape[1]
    blocks = row_blocks(d, 32)
    words = row_buffer(d, 32)
    lanes = words.view(np.uint32)
    noise = np.empty(d, np.float32)
    wide, share, row = -np.float32(scale), np.float32(coefficient), 0
    for i in range(len(total)):
        fill(seed, i * blocks, words)
        for k in range(d):
            size = wide * log_uniform(lanes[k])
            noise[k] = size if lanes[k] & np.uint32(1) else -size
        if row < len(item) and item[row] == i:
            for k in range(d):
                noise[k] = noise[k] if abs(change[row, k]) <= abs(noise[k]) else np.float32(0)
            row += 1
        add_times(share, noise, total[i])


@compiled()
def normal_pairs(lanes: UInt32[np.ndarray, " twice"], out: Float[np.ndarray, " twice"]) -> None:
    """Normal numbers by two of 32 random bits: see `rng.Stream.normal`."""
    for i in range(len(lanes) // 2):
        square = np.float32(-2) * log_uniform(lanes[2 * i])  # below 0 by its rounding, near U = 1
        radius = np.sqrt(square if square > np.float32(0) else np.float32(0))
        # The first two bits are a quarter of a turn, the rest an angle from −π/4 to π/4 within it.
        quarter, rest = lanes[2 * i + 1] >> np.uint32(30), lanes[2 * i + 1] << np.uint32(2)
        x = np.float32(np.int32(rest)) * np.float32(np.pi / 2 * 2**-32)
        z = x * x
        series = fused(np.float32(1 / 362880), z, np.float32(-1 / 5040))
        series = fused(series, z, np.float32(1 / 120))
        sine = fused(fused(series, z, np.float32(-1 / 6)) * z, x, x)
        series = fused(np.float32(1 / 40320), z, np.float32(-1 / 720))
        series = fused(series, z, np.float32(1 / 24))
        cosine = fused(fused(series, z, np.float32(-1 / 2)), z, np.float32(1))
        across, up = (sine, cosine) if quarter & np.uint32(1) else (cosine, sine)
        out[2 * i] = radius * (-across if quarter in (1, 2) else across)
        out[2 * i + 1] = radius * (-up if quarter >= 2 else up)


@compiled()
def adam_update(
    table: Float[np.ndarray, " n"],
    gradient: Float[np.ndarray, " n"],
    mean: Float[np.ndarray, " n"],
    square: Float[np.ndarray, " n"],
    betas: tuple[float, float],
    eps: float,
    correction: float,
    size: float,
    first: int,
    end: int,
) -> None:
    """Adam's step down a gradient, of the table and its two moments, from `first` to `end`.

    `correction` is 1 − β₂ᵗ, and `size` is η / (1 − β₁ᵗ).
    """
    old1, new1 = np.float32(betas[0]), np.float32(1 - betas[0])
    old2, new2 = np.float32(betas[1]), np.float32(1 - betas[1])
    eta, tiny, whole = np.float32(size), np.float32(eps), np.float32(1 / correction)
    own, v, m, s = gradient[first:end], table[first:end], mean[first:end], square[first:end]
    for k in range(len(v)):
        m[k] = fused(new1, own[k], old1 * m[k])
        s[k] = fused(new2 * own[k], own[k], old2 * s[k])
        v[k] -= eta * m[k] / (np.sqrt(s[k] * whole) + tiny)


@compiled()
def adam_steps(
    gradient: Float[np.ndarray, "rows d"],
    item: Int[np.ndarray, " rows"],
    table: Float[np.ndarray, "items d"],
    mean: Float[np.ndarray, "items d"],
    square: Float[np.ndarray, "items d"],
    betas: tuple[float, float],
    eps: float,
    correction: float,
    size: float,
    out: Float[np.ndarray, "rows d"],
    first: int,
    end: int,
) -> None:
    """out = the item's embedding after `adam_update` by each gradient, from `first` to `end`.

    `mean` and `square` are the moments before it.
    """
    old1, new1 = np.float32(betas[0]), np.float32(1 - betas[0])
    old2, new2 = np.float32(betas[1]), np.float32(1 - betas[1])
    eta, tiny, whole = np.float32(size), np.float32(eps), np.float32(1 / correction)
    for r in range(first, end):
        row, own, m, s = out[r], gradient[r], mean[item[r]], square[item[r]]
        v = table[item[r]]
        for k in range(table.shape[1]):
            after = fused(new1, own[k], old1 * m[k])
            spread = np.sqrt(fused(new2 * own[k], own[k], old2 * s[k]) * whole) + tiny
            row[k] = v[k] - eta * after / spread


@compiled()
def distance_sums(
    across: Float[np.ndarray, "g d t"],
    apart: Float[np.ndarray, "g t wide"],
    group: Int[np.ndarray, " clients"],
    bounds: Int[np.ndarray, " clients_plus_1"],
    place: Int[np.ndarray, " rows"],
    moved: Float[np.ndarray, "rows d"],
    total: Float[np.ndarray, " clients"],
    first: int,
    end: int,
) -> None:
    """Σ ‖x_i − x_j‖ over all pairs of t points, for the clients from `first` to `end`.

    Client c has moved the points at its places (from bounds[c] to bounds[c + 1]) of the base of
    its group; `across` holds each base's points as columns, and `apart` their distances.
    """
    for c in range(first, end):
        own, g = slice(bounds[c], bounds[c + 1]), group[c]
        total[c] = moved_distances(across[g], place[own], moved[own])
        total[c] += kept_distances(apart[g], place[own])


@compiled()
def kept_distances(apart: Float[np.ndarray, "t wide"], place: Int[np.ndarray, " k"]) -> float:
    """Σ ‖x_i − x_j‖ over the pairs of which no point has moved, given those of j < i."""
    stays = np.ones(apart.shape[1], np.float32)
    stays[place] = 0
    total = np.float64(0)
    for i in range(len(apart)):
        if stays[i]:
            before = padded(i, LANES)
            total += dot(apart[i, :before], stays[:before])
    return total


@compiled()
def distances_before(across: Float[np.ndarray, "d t"], apart: Float[np.ndarray, "t wide"]) -> None:
    """apart[i, j] = ‖x_i − x_j‖ of columns j < i, and 0 from there to a multiple of LANES."""
    t = across.shape[1]
    points, squares = _columns(across, np.arange(0), np.empty((0, len(across)), np.float32))
    four = np.empty((4, len(points)), np.float32)
    products = np.empty((4, points.shape[1]), np.float32)
    for i in range(0, t, 4):
        for r in range(4):
            four[r] = points[:, i + r]  # beyond t are columns of zeros
        four_products(four, points, min(i + 4, t), products)
        for r in range(min(4, t - i)):
            own, row = squares[i + r], apart[i + r]
            for j in range(padded(i + r, LANES)):
                row[j] = distance(own + squares[j], products[r, j])
            row[i + r : padded(i + r, LANES)] = 0


@compiled(inline="always")
def distance(both: np.float32, product: np.float32) -> np.float32:
    """‖x − y‖ from ‖x‖² + ‖y‖² and x · y; a square of less than its rounding counts as 0."""
    square = both - np.float32(2) * product
    return np.sqrt(square if square > ROUNDING * both else np.float32(0))


@compiled()
def moved_distances(
    across: Float[np.ndarray, "d t"],
    place: Int[np.ndarray, " k"],
    moved: Float[np.ndarray, "k d"],
) -> float:
    """Σ ‖x_i − x_j‖ over the pairs of which a point has moved: k of t columns, to other places."""
    (d, t), k = across.shape, len(place)
    points, squares = _columns(across, place, moved)
    wide = points.shape[1]
    four, products = np.zeros((4, len(points)), np.float32), np.empty((4, wide), np.float32)
    lengths, ones = np.empty(wide, np.float32), np.ones(wide, np.float32)
    total = np.float64(0)
    for first in range(0, k, 4):
        rows, end = min(4, k - first), t - k + min(first + 4, k)
        four[:rows, :d] = moved[first : first + rows]
        four_products(four, points, end, products)
        for r in range(rows):
            own = t - k + first + r
            before = padded(own, LANES)
            for i in range(before):
                lengths[i] = distance(squares[own] + squares[i], products[r, i])
            lengths[own:before] = 0
            total += dot(lengths[:before], ones[:before])
    return total


@compiled()
def four_products(
    four: Float[np.ndarray, "4 d4"],
    points: Float[np.ndarray, "d4 wide"],
    end: int,
    products: Float[np.ndarray, "4 wide"],
) -> None:
    """Inner products of four points with the first `end` of those that are given as columns.

    Each is added up coordinate by coordinate; four coordinates at a time make 16 products for 8
    numbers loaded. d4 is a multiple of four, and the width one of LANES, in which the loop runs.
    """
    end = padded(end, LANES)
    products[:, :end] = 0
    for j in range(0, len(points), 4):
        a0, a1, a2, a3 = four_of(four[0], j)
        b0, b1, b2, b3 = four_of(four[1], j)
        c0, c1, c2, c3 = four_of(four[2], j)
        d0, d1, d2, d3 = four_of(four[3], j)
        for i in range(0, end, LANES):
            x0, x1 = load(points[j], i), load(points[j + 1], i)
            x2, x3 = load(points[j + 2], i), load(points[j + 3], i)
            own = fused(a1, x1, fused(a0, x0, load(products[0], i)))
            store(products[0], i, fused(a3, x3, fused(a2, x2, own)))
            own = fused(b1, x1, fused(b0, x0, load(products[1], i)))
            store(products[1], i, fused(b3, x3, fused(b2, x2, own)))
            own = fused(c1, x1, fused(c0, x0, load(products[2], i)))
            store(products[2], i, fused(c3, x3, fused(c2, x2, own)))
            own = fused(d1, x1, fused(d0, x0, load(products[3], i)))
            store(products[3], i, fused(d3, x3, fused(d2, x2, own)))


@compiled(inline="always")
def four_of(row: Float[np.ndarray, " d4"], j: int) -> tuple[Any, Any, Any, Any]:
    """Lanes full of each of the four numbers from j on."""
    return every(row[j]), every(row[j + 1]), every(row[j + 2]), every(row[j + 3])


@compiled()
def inner_products(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], out: Float[np.ndarray, "n m"]
) -> None:
    """out[i, j] = a_i · b_j, by `four_products` with as many columns as stay in a cache."""
    d, wide = a.shape[1], 8 * LANES
    four, products = np.zeros((4, padded(d, 4)), np.float32), np.empty((4, wide), np.float32)
    columns = np.zeros((four.shape[1], wide), np.float32)
    for first in range(0, len(b), wide):
        some = min(wide, len(b) - first)
        for i in range(some):
            for j in range(d):
                columns[j, i] = b[first + i, j]
        for row in range(0, len(a), 4):
            rows = min(4, len(a) - row)
            four[:rows, :d] = a[row : row + rows]
            four_products(four, columns, some, products)
            out[row : row + rows, first : first + some] = products[:rows, :some]


@compiled()
def squared_norms(
    x: Float[np.ndarray, "rows d"], squares: Float[np.ndarray, " rows"], first: int, end: int
) -> None:
    """squares = ‖x‖² of the rows from `first` to `end`."""
    for r in range(first, end):
        squares[r] = dot(x[r], x[r])


@compiled()
def _columns(
    across: Float[np.ndarray, "d t"],
    place: Int[np.ndarray, " k"],
    moved: Float[np.ndarray, "k d"],
) -> tuple[Float[np.ndarray, "d4 wide"], Float[np.ndarray, " wide"]]:
    """Points as columns, those that stay first, filled up for `four_products`; ‖x‖² of each."""
    d, t = across.shape
    stays = np.ones(t, np.bool_)
    stays[place] = False
    kept = np.flatnonzero(stays)
    points = np.zeros((padded(d, 4), padded(t, LANES)), np.float32)
    squares = np.zeros(points.shape[1], np.float32)
    for j in range(d):
        for i in range(len(kept)):
            points[j, i] = across[j, kept[i]]
    for first in range(0, len(place), LANES):
        for j in range(d):  # writes lie together, and what is read stays in the cache
            for i in range(first, min(first + LANES, len(place))):
                points[j, len(kept) + i] = moved[i, j]
    for j in range(d):
        for i in range(len(squares)):
            squares[i] = fused(points[j, i], points[j, i], squares[i])
    return points, squares


@compiled()
def rows_by_item(
    item: Int[np.ndarray, " rows"], n_items: int
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " bounds"]]:
    """The rows in order of item, and where each item's begin (a last bound closes them)."""
    bounds = np.zeros(n_items + 1, np.int64)
    for i in item:
        bounds[i + 1] += 1
    bounds = np.cumsum(bounds)
    place, order = bounds[:-1].copy(), np.empty(len(item), np.int64)
    for r in range(len(item)):
        order[place[item[r]]] = r
        place[item[r]] += 1
    return order, bounds


@compiled()
def row_gram(
    owner: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    table: Float[np.ndarray, "items d"],
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
    n: int,
) -> Float[np.ndarray, "n_and_1 n_and_1"]:
    """Inner products of the clients' rows alone, with the table as one more client.

    Over the items from `first` on whose bounds are given.
    """
    d = value.shape[1]
    gram, whose = np.zeros((n + 1, n + 1)), np.empty(n + 2, np.int64)
    near = np.zeros((n + 2, padded(d, LANES)), np.float32)
    for i in range(len(bounds) - 1):
        count = bounds[i + 1] - bounds[i]
        for x in range(count):
            row = order[bounds[i] + x]
            whose[x] = owner[row]
            for k in range(d):
                near[x, k] = value[row, k]
        # The table is one more; a row of zeros makes the number even.
        near[count, :d], near[count + 1] = table[first + i], 0
        whose[count : count + 2] = n
        for x in range(0, count + 1, 2):
            a0, a1 = near[x], near[x + 1]
            for y in range(0, x + 1, 2):  # two rows by two: 4 products for 4 numbers loaded
                b0, b1 = near[y], near[y + 1]
                p00 = p01 = p10 = p11 = no_lanes()
                for k in range(0, near.shape[1], LANES):
                    x0, x1, y0, y1 = load(a0, k), load(a1, k), load(b0, k), load(b1, k)
                    p00, p01 = fused(x0, y0, p00), fused(x0, y1, p01)
                    p10, p11 = fused(x1, y0, p10), fused(x1, y1, p11)
                gram[whose[x], whose[y]] += folded(p00)
                gram[whose[x], whose[y + 1]] += folded(p01) if y < x else np.float32(0)
                gram[whose[x + 1], whose[y]] += folded(p10)
                gram[whose[x + 1], whose[y + 1]] += folded(p11)
    for a in range(n + 1):
        for b in range(a):
            gram[a, b] += gram[b, a]
            gram[b, a] = gram[a, b]
    return gram


@compiled()
def add_rows(
    bounds: Int[np.ndarray, " n_plus_1"],
    item: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    coefficients: Float[np.ndarray, " n"],
    total: Float[np.ndarray, "items d"],
    first: int,
    end: int,
) -> None:
    """total[item] += coefficients[c] · value for the rows of the clients from `first` to `end`."""
    for c in range(first, end):
        share = coefficients[c]
        if share != 0:
            for r in range(bounds[c], bounds[c + 1]):
                add_times(share, value[r], total[item[r]])


@compiled()
def scale_rows(
    bounds: Int[np.ndarray, " n_plus_1"],
    value: Float[np.ndarray, "rows d"],
    factors: Float[np.ndarray, " n"],
    out: Float[np.ndarray, "rows d"],
    first: int,
    end: int,
) -> None:
    """out = factors[c] · value for the rows of the clients from `first` to `end`."""
    for c in range(first, end):
        share = factors[c]
        for r in range(bounds[c], bounds[c + 1]):
            for k in range(value.shape[1]):
                out[r, k] = share * value[r, k]


@compiled()
def excess_squares(
    bounds: Int[np.ndarray, " n_plus_1"],
    item: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    ridge: Float[np.ndarray, " n"],
    table: Float[np.ndarray, "items d"],
    squares: Float[np.ndarray, " n"],
    first: int,
    end: int,
) -> None:
    """squares = Σ ‖value + ridge · v‖² − ‖ridge · v‖² over the rows of some clients."""
    for c in range(first, end):
        share, total = every(np.float32(2) * ridge[c]), np.float64(0)
        for r in range(bounds[c], bounds[c + 1]):
            v = table[item[r]]
            sums = no_lanes()
            for k in range(0, len(v), LANES):
                whole = fused(share, load(v, k), load(value[r], k))
                sums = fused(load(value[r], k), whole, sums)
            total += folded(sums)
        squares[c] = total


@compiled()
def rows_among(
    item: Int[np.ndarray, " rows"], place: Int[np.ndarray, " items"]
) -> Int[np.ndarray, " found"]:
    """The rows whose item has a place, which is not negative."""
    found, count = np.empty(len(item), np.int64), 0
    for r in range(len(item)):
        found[count] = r
        count += place[item[r]] >= 0
    return found[:count]


@compiled()
def whole_rows(
    rows: Int[np.ndarray, " some"],
    owner: Int[np.ndarray, " rows"],
    item: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    ridge: Float[np.ndarray, " n"],
    table: Float[np.ndarray, "items d"],
    out: Float[np.ndarray, "some d"],
    first: int,
    end: int,
) -> None:
    """out = value + ridge · v of some rows, those from `first` to `end` of them."""
    for i in range(first, end):
        r = rows[i]
        share, v, own, whole = every(ridge[owner[r]]), table[item[r]], value[r], out[i]
        for k in range(0, len(v), LANES):
            store(whole, k, fused(share, load(v, k), load(own, k)))


@compiled()
def row_squares(
    owner: Int[np.ndarray, " rows"],
    item: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    ridge: Float[np.ndarray, " n"],
    table: Float[np.ndarray, "items d"],
    squares: Float[np.ndarray, " rows"],
    first: int,
    end: int,
) -> None:
    """squares = ‖value + ridge · v‖², for the rows from `first` to `end`."""
    for r in range(first, end):
        share, own, v, sums = every(ridge[owner[r]]), value[r], table[item[r]], no_lanes()
        for k in range(0, len(v), LANES):
            whole = fused(share, load(v, k), load(own, k))
            sums = fused(whole, whole, sums)
        squares[r] = folded(sums)


@compiled()
def trimmed_rows(
    owner: Int[np.ndarray, " rows"],
    value: Float[np.ndarray, "rows d"],
    ridge: Float[np.ndarray, " n"],
    alike: bool,
    table: Float[np.ndarray, "items d"],
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
    trim: int,
    mean: Float[np.ndarray, "items d"],
) -> None:
    """Coordinate-wise mean over clients without the `trim` smallest and the `trim` largest.

    For the items from `first` on whose bounds are given. A client's value is its row plus
    ridge · v, or e = ridge · v alone, which is one number if all clients who miss any item are
    `alike`. Then only rows are sorted: each of the `trim` lowest that lies below e is dropped,
    and an e stands in its place; the highest likewise.
    """
    n, d = len(ridge), table.shape[1]
    x, total = np.empty((n, d), np.float32), np.empty(d, np.float32)
    absent = np.empty(n, np.bool_)
    for i in range(len(bounds) - 1):
        item, rows = first + i, order[bounds[i] : bounds[i + 1]]
        count, absent[:] = len(rows), True
        common = np.float32(0)
        for r in range(count):
            absent[owner[rows[r]]] = False
        filled = alike and n - count >= 2 * trim and n > count
        for c in range(n):
            if absent[c]:
                common = ridge[c]
        if filled and count <= trim:
            for k in range(d):
                mean[item, k] = common * table[item, k]  # no row can be in the middle
            continue
        for r in range(count):
            share = ridge[owner[rows[r]]]
            for k in range(d):
                x[r, k] = fused(share, table[item, k], value[rows[r], k])
        if not filled:
            for c in range(n):
                if absent[c]:
                    for k in range(d):
                        x[count, k] = ridge[c] * table[item, k]
                    count += 1
        sort_rows(x, count)
        copies = n - count - 2 * trim if filled else 0
        for k in range(d):
            total[k] = copies * (common * table[item, k])
        for r in range(count):
            low, high = r < trim, r >= count - trim
            if not low and not high:
                for k in range(d):
                    total[k] += x[r, k]
            elif filled:
                for k in range(d):
                    equal = common * table[item, k]
                    kept = max(x[r, k], equal) if low else x[r, k]
                    total[k] += min(kept, equal) if high else kept
        for k in range(d):
            mean[item, k] = total[k] / np.float32(n - 2 * trim)


@compiled()
def sort_rows(x: Float[np.ndarray, "rows d"], count: int) -> None:
    """Sort the first `count` rows in each column: Batcher's merge exchange (Knuth, 5.2.2 M)."""
    span = 1
    while span < count:
        step = span
        while step >= 1:
            for j in range(step % span, count - step, 2 * step):
                for a in range(j, min(j + step, count - step)):
                    b = a + step
                    if a // (2 * span) == b // (2 * span):
                        for k in range(x.shape[1]):
                            low, high = min(x[a, k], x[b, k]), max(x[a, k], x[b, k])
                            x[a, k], x[b, k] = low, high
            step //= 2
        span *= 2


@compiled()
def lloyd_step(
    points: Float[np.ndarray, "points d"],
    centroid: Float[np.ndarray, "k d"],
    label: Int[np.ndarray, " points"],
    moved: Float[np.ndarray, "k d"],
) -> None:
    """One iteration of k-means: labels of the nearest centroids, then the means of clusters.

    The first of equally near centroids; a cluster without points keeps its centroid.
    """
    k, d = centroid.shape
    squares, size, total = np.empty(k, np.float32), np.zeros(k, np.int64), np.zeros((k, d))
    for c in range(k):
        squares[c] = dot(centroid[c], centroid[c])
    for p in range(len(points)):
        best, nearest = np.float32(0), 0
        for c in range(0, k, 2):  # two products for three numbers loaded
            other = min(c + 1, k - 1)
            one, two = no_lanes(), no_lanes()
            for j in range(0, d, LANES):
                x = load(points[p], j)
                one, two = (
                    fused(x, load(centroid[c], j), one),
                    fused(x, load(centroid[other], j), two),
                )
            for which, product in ((c, folded(one)), (other, folded(two))):
                away = squares[which] - np.float32(2) * product
                if which == 0 or away < best:
                    best, nearest = away, which
        label[p] = nearest
        size[nearest] += 1
        for j in range(d):
            total[nearest, j] += points[p, j]
    for c in range(k):
        for j in range(d):
            moved[c, j] = total[c, j] / size[c] if size[c] else centroid[c, j]


@compiled()
def count_above(
    scores: Float[np.ndarray, "b items"],
    own: Float[np.ndarray, " b"],
    seen: Int[np.ndarray, " cells"],
    above: Int[np.ndarray, " b"],
    level: Int[np.ndarray, " b"],
) -> None:
    """How many of a row's scores are above its own, and at least level with it.

    Distinct flat cells in `seen` do not count.
    """
    n_items = scores.shape[1]
    for r in range(len(scores)):
        row, mine = scores[r], own[r]
        higher, not_lower = np.int32(0), np.int32(0)
        for i in range(n_items):
            higher += np.int32(row[i] > mine)
            not_lower += np.int32(row[i] >= mine)
        above[r], level[r] = higher, not_lower
    for cell in seen:
        r, score = cell // n_items, scores[cell // n_items, cell % n_items]
        above[r] -= score > own[r]
        level[r] -= score >= own[r]
