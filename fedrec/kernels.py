"""Compiled loops for the CPU, where a chain of tensor operations would wait for memory.

Each has a plain twin in NumPy or PyTorch, in the package where the GPU uses it, and the tests
compare the two. Compilation takes a few seconds, once: the result is cached beside this file, or in
NUMBA_CACHE_DIR. All loops stand in this one file because the cache of a function looks at its own
file alone, and would miss a change of what it calls elsewhere.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt64
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

ROUNDING = np.float32(8 * np.finfo(np.float32).eps)  # of squared norms, relative
LANES = 16  # numbers that a vector operation may work on at a time
BLOCKS = 8  # of random bits that one draws at a time
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
WEYL, HIGH_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # of Philox's key
LN2, LOG2E = np.float32(np.log(2)), np.float32(1 / np.log(2))
C1, C3, C5, C7, C9, C11, C13, C15 = (np.float32(2 / odd) for odd in range(1, 16, 2))


def compiled(**options: Any) -> Callable[[F], F]:
    """numba's `njit` of a function that threads may run side by side.

    A type checker that the tests wrap around every function is taken off first.
    """
    compile = njit(cache=True, nogil=True, error_model="numpy", **options)
    return lambda function: compile(inspect.unwrap(function))


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


# Unlike fastmath=True, these let an infinity be one, where training diverges.
@compiled(fastmath={"contract", "reassoc", "nsz"})
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
    d, below = table.shape[1], np.uint16(dropped_below)
    keep, hat, margin = (
        np.empty(3 * d, np.float32),
        np.empty(d, np.float32),
        np.empty(d, np.float32),
    )
    blocks = row_blocks(3 * d, 16)
    words = row_buffer(3 * d, 16)
    lanes = words.view(np.uint16)
    for c in range(first, end):
        count, total = bounds[c + 1] - bounds[c], np.float32(0)
        for p in range(bounds[c], bounds[c + 1]):
            fill(seeds[c], (p - bounds[c]) * blocks, words)
            for i in range(3 * d):
                keep[i] = np.float32(lanes[i] >= below)
            u, v, w, x = user[c], table[positive[p]], table[negative[p]], np.float32(0)
            for k in range(d):
                hat[k] = u[k] * keep[k]
                margin[k] = v[k] * keep[d + k] - w[k] * keep[2 * d + k]
                x += hat[k] * margin[k]
            x *= np.float32(scale)
            slope = np.float32(-scale) / (np.float32(1) + np.exp(x)) / np.float32(count)
            of_positive, of_negative = rows[positive_row[p]], rows[negative_row[p]]
            for k in range(d):
                to_user[c, k] += slope * margin[k] * keep[k]
            for k in range(d):
                of_positive[k] += slope * hat[k] * keep[d + k]
            for k in range(d):
                of_negative[k] -= slope * hat[k] * keep[2 * d + k]
            total += np.log1p(np.exp(-abs(x))) + max(-x, np.float32(0))
        loss[c] = total / np.float32(max(count, 1))


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


@compiled(fastmath=True, inline="always")
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
        t = max((x[j] - top) * LOG2E, np.float32(-126))
        n = np.floor(t + np.float32(0.5))
        pattern[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
        f = (t - n) * LN2
        series = np.float32(1 / 720) * f + np.float32(1 / 120)
        series = series * f + np.float32(1 / 24)
        series = series * f + np.float32(1 / 6)
        series = series * f + np.float32(1 / 2)
        series = series * f + np.float32(1)
        x[j] = (series * f + np.float32(1)) * power[j]


@compiled(fastmath=True)
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
    logit, power = np.zeros(c, np.float32), np.empty(c, np.float32)
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
            dot = np.float32(0)
            for k in range(d):
                dot += masked[j, k] * masked[0, k]
            logit[j] = dot * np.float32(scale)
            top = max(top, logit[j])
        exponentials(logit, top, power, pattern)
        norm = np.float32(0)
        for j in range(1, c):
            norm += logit[j]
        to_anchor[:] = 0
        for j in range(1, c):
            q = (logit[j] / norm - np.float32(j == 1)) * np.float32(share * scale)
            row = rows[place[drawn[a, j]]]
            for k in range(d):
                to_anchor[k] += q * masked[j, k]
                row[k] += q * masked[0, k] * keep[j, k]
        row = rows[place[drawn[a, 0]]]
        for k in range(d):
            row[k] += to_anchor[k] * keep[0, k]


@compiled(fastmath=True)
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
    # U = 2^e · m with m in [1, 2), taken apart by its bits
    uniform, m, e = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    pattern, m_pattern = uniform.view(np.uint32), m.view(np.uint32)
    noise = np.empty(d, np.float32)
    wide, share, row = -np.float32(scale), np.float32(coefficient), 0
    for i in range(len(total)):
        fill(seed, i * blocks, words)
        for k in range(d):
            uniform[k] = (
                np.float32(np.int32(lanes[k] >> np.uint32(9))) + np.float32(0.5)
            ) * np.float32(2**-23)
        for k in range(d):
            e[k] = np.float32(np.int32(pattern[k] >> np.uint32(23)) - np.int32(127))
            m_pattern[k] = (pattern[k] & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
        for k in range(d):
            # ln m = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …) with s = (m − 1) / (m + 1) ≤ 1/3
            s = (m[k] - np.float32(1)) / (m[k] + np.float32(1))
            z = s * s
            series = C15 * z + C13
            series = series * z + C11
            series = series * z + C9
            series = series * z + C7
            series = series * z + C5
            series = series * z + C3
            size = wide * (e[k] * LN2 + s * (series * z + C1))
            noise[k] = size if lanes[k] & np.uint32(1) else -size
        if row < len(item) and item[row] == i:
            for k in range(d):
                noise[k] = noise[k] if abs(change[row, k]) <= abs(noise[k]) else np.float32(0)
            row += 1
        for k in range(d):
            total[i, k] += share * noise[k]


@compiled(fastmath=True)
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
    """out = the item's embedding after Adam's step down each gradient, from `first` to `end`.

    `mean` and `square` are the moments before it; `correction` is 1 − β₂ᵗ, and `size` is
    η / (1 − β₁ᵗ).
    """
    old1, new1 = np.float32(betas[0]), np.float32(1 - betas[0])
    old2, new2 = np.float32(betas[1]), np.float32(1 - betas[1])
    eta, tiny, whole = np.float32(size), np.float32(eps), np.float32(1 / correction)
    for r in range(first, end):
        row, own, m, s = out[r], gradient[r], mean[item[r]], square[item[r]]
        v = table[item[r]]
        for k in range(table.shape[1]):
            spread = np.sqrt((old2 * s[k] + new2 * own[k] * own[k]) * whole) + tiny
            row[k] = v[k] - eta * (old1 * m[k] + new1 * own[k]) / spread


@compiled(fastmath=True)
def distance_sums(
    across: Float[np.ndarray, "g d t"],
    apart: Float[np.ndarray, "g t t"],
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


@compiled(fastmath=True)
def kept_distances(apart: Float[np.ndarray, "t t"], place: Int[np.ndarray, " k"]) -> float:
    """Σ ‖x_i − x_j‖ over the pairs of which no point has moved, given those of j < i."""
    stays = np.ones(len(apart), np.float32)
    stays[place] = 0
    total = np.float64(0)
    for i in range(len(apart)):
        if stays[i]:
            row = np.float32(0)
            for j in range(i):
                row += apart[i, j] * stays[j]
            total += row
    return total


@compiled(fastmath=True)
def distances_before(across: Float[np.ndarray, "d t"], apart: Float[np.ndarray, "t t"]) -> None:
    """apart[i, j] = ‖x_i − x_j‖ of columns j < i."""
    t = across.shape[1]
    points, squares = _columns(across, np.arange(0), np.empty((0, len(across)), np.float32))
    four = np.empty((4, len(points)), np.float32)
    products = np.empty((4, points.shape[1]), np.float32)
    for i in range(0, t, 4):
        for r in range(4):
            four[r] = points[:, i + r]  # beyond t are columns of zeros
        four_products(four, points, min(i + 4, t), products)
        for r in range(min(4, t - i)):
            for j in range(i + r):
                apart[i + r, j] = distance(squares[i + r] + squares[j], products[r, j])


@compiled(fastmath=True, inline="always")
def distance(both: np.float32, product: np.float32) -> np.float32:
    """‖x − y‖ from ‖x‖² + ‖y‖² and x · y; a square of less than its rounding counts as 0."""
    square = both - np.float32(2) * product
    return np.sqrt(square if square > ROUNDING * both else np.float32(0))


@compiled(fastmath=True)
def moved_distances(
    across: Float[np.ndarray, "d t"],
    place: Int[np.ndarray, " k"],
    moved: Float[np.ndarray, "k d"],
) -> float:
    """Σ ‖x_i − x_j‖ over the pairs of which a point has moved: k of t columns, to other places."""
    (d, t), k = across.shape, len(place)
    points, squares = _columns(across, place, moved)
    four, products = (
        np.zeros((4, len(points)), np.float32),
        np.empty((4, points.shape[1]), np.float32),
    )
    total = np.float64(0)
    for first in range(0, k, 4):
        rows, end = min(4, k - first), t - k + min(first + 4, k)
        four[:rows, :d] = moved[first : first + rows]
        four_products(four, points, end, products)
        for r in range(rows):
            own, row = t - k + first + r, np.float32(0)
            for i in range(own):
                row += distance(squares[own] + squares[i], products[r, i])
            total += row
    return total


@compiled(fastmath=True)
def four_products(
    four: Float[np.ndarray, "4 d4"],
    points: Float[np.ndarray, "d4 wide"],
    end: int,
    products: Float[np.ndarray, "4 wide"],
) -> None:
    """Inner products of four points with the first `end` of those that are given as columns.

    Four coordinates at a time: 16 products for 8 numbers loaded. d4 is a multiple of four, and the
    width one of LANES, in which the loop runs.
    """
    end = padded(end, LANES)
    products[:, :end] = 0
    for j in range(0, len(points), 4):
        a0, a1, a2, a3 = four[0, j], four[0, j + 1], four[0, j + 2], four[0, j + 3]
        b0, b1, b2, b3 = four[1, j], four[1, j + 1], four[1, j + 2], four[1, j + 3]
        c0, c1, c2, c3 = four[2, j], four[2, j + 1], four[2, j + 2], four[2, j + 3]
        d0, d1, d2, d3 = four[3, j], four[3, j + 1], four[3, j + 2], four[3, j + 3]
        for i in range(end):
            x0, x1, x2, x3 = points[j, i], points[j + 1, i], points[j + 2, i], points[j + 3, i]
            products[0, i] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            products[1, i] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            products[2, i] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
            products[3, i] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@compiled(fastmath=True)
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
            squares[i] += points[j, i] * points[j, i]
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


@compiled(fastmath=True)
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
    near = np.zeros((n + 2, d), np.float32)
    for i in range(len(bounds) - 1):
        count = bounds[i + 1] - bounds[i]
        for x in range(count):
            row = order[bounds[i] + x]
            whose[x] = owner[row]
            for k in range(d):
                near[x, k] = value[row, k]
        # The table is one more; a row of zeros makes the number even.
        near[count], near[count + 1] = table[first + i], 0
        whose[count : count + 2] = n
        for x in range(0, count + 1, 2):
            a0, a1 = near[x], near[x + 1]
            for y in range(0, x + 1, 2):  # two rows by two: 4 products for 4 numbers loaded
                b0, b1 = near[y], near[y + 1]
                p00 = p01 = p10 = p11 = np.float32(0)
                for k in range(d):
                    p00 += a0[k] * b0[k]
                    p01 += a0[k] * b1[k]
                    p10 += a1[k] * b0[k]
                    p11 += a1[k] * b1[k]
                gram[whose[x], whose[y]] += p00
                gram[whose[x], whose[y + 1]] += p01 if y < x else np.float32(0)
                gram[whose[x + 1], whose[y]] += p10
                gram[whose[x + 1], whose[y + 1]] += p11
    for a in range(n + 1):
        for b in range(a):
            gram[a, b] += gram[b, a]
            gram[b, a] = gram[a, b]
    return gram


@compiled(fastmath=True)
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
                out = total[item[r]]
                for k in range(total.shape[1]):
                    out[k] += share * value[r, k]


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


@compiled(fastmath=True)
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
        share, total = np.float32(2) * ridge[c], np.float64(0)
        for r in range(bounds[c], bounds[c + 1]):
            row, v = np.float32(0), table[item[r]]
            for k in range(table.shape[1]):
                row += value[r, k] * (value[r, k] + share * v[k])
            total += row
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


@compiled(fastmath=True)
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
        share, v = ridge[owner[r]], table[item[r]]
        for k in range(table.shape[1]):
            out[i, k] = value[r, k] + share * v[k]


@compiled(fastmath=True)
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
        share, total = ridge[owner[r]], np.float32(0)
        for k in range(value.shape[1]):
            x = value[r, k] + share * table[item[r], k]
            total += x * x
        squares[r] = total


@compiled(fastmath=True)
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
                x[r, k] = value[rows[r], k] + share * table[item, k]
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


@compiled(fastmath=True)
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


@compiled(fastmath=True)
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
        square = np.float32(0)
        for j in range(d):
            square += centroid[c, j] * centroid[c, j]
        squares[c] = square
    for p in range(len(points)):
        best, nearest = np.float32(0), 0
        for c in range(k):
            dot = np.float32(0)
            for j in range(d):
                dot += points[p, j] * centroid[c, j]
            distance = squares[c] - np.float32(2) * dot
            if c == 0 or distance < best:
                best, nearest = distance, c
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
