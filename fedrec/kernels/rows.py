"""Sums, norms and orders over the item gradients of many clients, stored as few rows each."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from fedrec.kernels.compiled import Array, arrays, compiled, on_cpu
from fedrec.kernels.sums import squared_norms, total
from fedrec.kernels.threads import client_ranges, even_ranges, row_ranges, spread
from fedrec.kernels.vectors import (
    LANES,
    add_times,
    copy,
    every,
    folded,
    fused,
    load,
    no_lanes,
    padded,
    store,
)

BLOCK = 256  # items whose gradients are made dense at a time, where this costs nothing
MANY = 8  # rows per item from which adding them up in two halves is faster


class Rows(NamedTuple):
    """Item gradients of n clients: scatter(client c's rows) + ridge[c] · table.

    A client's rows are contiguous, and (owner, item) pairs are unique.
    """

    owner: Int[Array, " rows"]  # ascending
    item: Int[Array, " rows"]
    value: Float[Array, "rows d"]
    ridge: Float[Array, " n"]
    table: Float[Array, "items d"]


def gradients_on(
    rows: Rows, items: Int[Tensor, " t"]
) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"], Float[Tensor, "some d"]]:
    """Return the rows of a few distinct items: owner, position in `items`, whole gradient."""
    place = torch.full((len(rows.table),), -1, device=items.device)
    place[items] = torch.arange(len(items), device=items.device)
    if on_cpu(rows.value):
        some, gradient = _whole_rows(rows, place)
        item = rows.item.index_select(0, some)
        return rows.owner.index_select(0, some), place.index_select(0, item), gradient
    place = place[rows.item]
    some = (place >= 0).nonzero()[:, 0]
    owner, place = rows.owner[some], place[some]
    gradient = rows.table[items].index_select(0, place).mul_(rows.ridge[owner][:, None])
    return owner, place, gradient.add_(rows.value.index_select(0, some))


def gather(rows: Rows, items: Int[Tensor, " t"]) -> Float[Tensor, "n t d"]:
    """Return every client's gradient of a few distinct items."""
    gathered = rows.ridge[:, None, None] * rows.table[items]
    owner, place, gradient = gradients_on(rows, items)
    gathered[owner, place] = gradient
    return gathered


def squares_of_rows(rows: Rows) -> Float[Tensor, " rows"]:
    """Return ‖value + ridge · v‖² of each row."""
    if on_cpu(rows.value):
        own, squares = arrays(rows), np.empty(len(rows.item), np.float32)
        spread(lambda part: row_squares(own, squares, *part), row_ranges(len(squares)))
        return torch.from_numpy(squares)
    whole = rows.value + rows.ridge[rows.owner][:, None] * rows.table[rows.item]
    return whole.square().sum(1)


def excess_of_rows(rows: Rows) -> Float[Tensor, " n"]:
    """Return the squared norm of each client's rows minus that of their ridges alone."""
    excess = torch.zeros_like(rows.ridge)
    if not on_cpu(rows.value):
        untouched = rows.ridge.square()[rows.owner] * rows.table.square().sum(1)[rows.item]
        return excess.index_add_(0, rows.owner, squares_of_rows(rows) - untouched)
    own, bounds, out = arrays(rows), bounds_of(rows), excess.numpy()
    spread(lambda some: excess_squares(own, bounds, out, *some), client_ranges(bounds))
    return excess


def scaled_rows(rows: Rows, factors: Float[Tensor, " n"]) -> Float[Tensor, "rows d"]:
    """Return the rows' values, times their clients' factors."""
    if not on_cpu(rows.value):
        return rows.value * factors[rows.owner][:, None]
    scaled, bounds = torch.empty_like(rows.value), bounds_of(rows)
    given = (rows.value.numpy(), factors.numpy(), scaled.numpy())
    spread(lambda some: scale_rows(bounds, *given, *some), client_ranges(bounds))
    return scaled


def add_weighted(
    rows: Rows, coefficients: Float[Tensor, " n"], total: Float[Tensor, "items d"]
) -> None:
    """total[item] += coefficients[owner] · value for every row."""
    if not on_cpu(total):
        scaled = rows.value * coefficients[rows.owner][:, None]
        total.index_add_(0, rows.item, scaled)
        return
    bounds, n = bounds_of(rows), len(rows.ridge)
    halves, ranges = [total], [(0, n)]
    if len(rows.item) >= MANY * len(total):
        middle = int(np.searchsorted(bounds, bounds[-1] // 2))
        halves, ranges = [total, torch.zeros_like(total)], [(0, middle), (middle, n)]
    given = (bounds, rows.item.numpy(), rows.value.numpy(), coefficients.numpy())
    spread(lambda half: add_rows(*given, halves[half].numpy(), *ranges[half]), range(len(halves)))
    for other in halves[1:]:
        total += other


def moments(
    rows: Rows, excess: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "items d"], Float[Tensor, "items d"]]:
    """Return Σ_c value and Σ_c (value + excess[c] · v)² of each item, with v in the table.

    A client without a row for an item has the value 0 there.
    """
    summed = torch.zeros_like(rows.table)
    squares = rows.table.square() * total(excess.square()).float()
    if on_cpu(rows.value):
        add_moments(arrays(rows), excess.numpy(), summed.numpy(), squares.numpy())
        return summed, squares
    untouched = excess[rows.owner][:, None] * rows.table[rows.item]
    touched = rows.value + untouched
    summed.index_add_(0, rows.item, rows.value)
    squares.index_add_(0, rows.item, touched.square_().sub_(untouched.square_()))
    return summed, squares


def with_shares(
    value: Float[Tensor, "rows d"],
    place: Int[Tensor, " some"],
    item: Int[Tensor, " some"],
    share: Float[Tensor, " some"],
    table: Float[Tensor, "items d"],
) -> Float[Tensor, "rows d"]:
    """Return the rows with share[i] · table[item[i]] added to row place[i]; places are distinct."""
    if not on_cpu(value):
        return value.index_add(0, place, share[:, None] * table[item])
    changed = value.clone()
    of_rows, whole = (place.numpy(), item.numpy(), share.numpy()), table.contiguous().numpy()
    given = (*of_rows, whole, changed.numpy())
    spread(lambda part: add_shares(*given, *part), row_ranges(len(place)))
    return changed


def weighted_sum(
    coefficients: Float[Tensor, " n"], x: Float[Tensor, "n params"]
) -> Float[Tensor, " params"]:
    """Σ_c coefficients[c] · x[c]."""
    if not on_cpu(x):
        return coefficients @ x
    n, summed = len(x), x.new_zeros(1, x.shape[1])
    given = (x.contiguous().numpy(), coefficients.numpy(), summed.numpy())
    add_rows(np.arange(n + 1), np.zeros(n, np.int64), *given, 0, n)
    return summed[0]


def add_gram(rows: Rows, gram: Float64[Tensor, "n n"]) -> None:
    """gram += inner products of all pairs of clients."""
    if not on_cpu(rows.value):
        for items in _blocks(rows):
            part = gather(rows, items).flatten(1).double()
            gram += part @ part.mT
        return
    of_rows, with_table = _gram_of_rows(rows)
    cross = with_table[:, None] * rows.ridge
    gram += of_rows
    gram += cross
    gram += cross.mT
    gram += rows.ridge[:, None] * rows.ridge.double() * total(squared_norms(rows.table))


def trimmed_mean(rows: Rows, trim: int) -> Float[Tensor, "items d"]:
    """Return the coordinate-wise mean over clients without the `trim` lowest and highest values."""
    mean = torch.empty_like(rows.table)
    if on_cpu(rows.value):
        items_in_shares(trimmed_rows, rows, trim, mean)
        return mean
    for items in _blocks(rows):
        ordered = gather(rows, items).sort(dim=0).values
        mean[items] = ordered[trim : len(ordered) - trim].mean(0)
    return mean


def bounds_of(rows: Rows) -> Int[np.ndarray, " n_plus_1"]:
    """Return where the rows of each client begin, and where the last ones end."""
    return np.searchsorted(rows.owner.numpy(), np.arange(len(rows.ridge) + 1))


def _blocks(rows: Rows) -> tuple[Int[Tensor, " block"], ...]:
    """Return all items, a few hundred at a time."""
    return torch.arange(len(rows.table), device=rows.item.device).split(BLOCK)


def _whole_rows(
    rows: Rows, place: Int[Tensor, " items"]
) -> tuple[Int[Tensor, " some"], Float[Tensor, "some d"]]:
    """Return the rows whose items have a non-negative place, and the whole gradients there."""
    own: Rows = arrays(rows)
    some = rows_among(own.item, place.numpy())
    gradient = np.empty((len(some), own.table.shape[1]), np.float32)
    spread(lambda part: whole_rows(some, own, gradient, *part), row_ranges(len(some)))
    return torch.from_numpy(some), torch.from_numpy(gradient)


def _gram_of_rows(rows: Rows) -> tuple[Float64[Tensor, "n n"], Float64[Tensor, " n"]]:
    """Return the inner products of the clients' rows, without ridges; and those with the table."""
    own, n = arrays(rows), len(rows.ridge)
    order, bounds = rows_by_item(own.item, len(own.table))
    parts = spread(lambda some: row_gram(own, order, bounds[some], some.start), even_ranges(bounds))
    whole = torch.from_numpy(np.sum(parts, axis=0))
    return whole[:n, :n], whole[:n, n]


def items_in_shares(
    loop: Callable[..., None], rows: Rows, count: int, mean: Float[Tensor, "items d"]
) -> None:
    """Run a loop over the rows of each item, for a share of the items in each thread."""
    own: Rows = arrays(rows)
    order, bounds = rows_by_item(own.item, len(own.table))
    partial = np.bincount(own.owner, minlength=len(own.ridge)) < len(own.table)
    alike, out = len(np.unique(own.ridge[partial])) <= 1, mean.numpy()

    def work(some: slice) -> None:
        loop(own, alike, order, bounds[some], some.start, count, out)

    spread(work, even_ranges(bounds))


@compiled()
def rows_by_item(
    item: Int[np.ndarray, " rows"], n_items: int
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " bounds"]]:
    """Return the rows ordered by item, and where each item's rows begin (the last bound ends)."""
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
    rows: Rows,
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
) -> Float[np.ndarray, "n_and_1 n_and_1"]:
    """Return inner products of the clients' rows alone, with the table as one more client.

    The sums are over the items from `first` on that `bounds` covers.
    """
    owner, value, table, n = rows.owner, rows.value, rows.table, len(rows.ridge)
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
            # The table is one more row; a row of zeros makes the number even.
        copy(table[first + i], near[count])
        near[count + 1] = 0
        whose[count : count + 2] = n
        for x in range(0, count + 1, 2):
            a0, a1 = near[x], near[x + 1]
            for y in range(0, x + 1, 2):  # two rows by two: 4 products for 4 loaded numbers
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
def add_moments(
    rows: Rows,
    excess: Float[np.ndarray, " n"],
    summed: Float[np.ndarray, "items d"],
    squares: Float[np.ndarray, "items d"],
) -> None:
    """Add each row to `summed`, and (value + excess · v)² − (excess · v)² to `squares`."""
    owner, item, value, _, table = rows
    for r in range(len(item)):
        own, v, sums, spread = value[r], table[item[r]], summed[item[r]], squares[item[r]]
        share = excess[owner[r]]
        for k in range(len(own)):
            untouched = share * v[k]
            touched = own[k] + untouched
            sums[k] += own[k]
            spread[k] += touched * touched - untouched * untouched


@compiled()
def add_shares(
    place: Int[np.ndarray, " some"],
    item: Int[np.ndarray, " some"],
    share: Float[np.ndarray, " some"],
    table: Float[np.ndarray, "items d"],
    value: Float[np.ndarray, "rows d"],
    first: int,
    end: int,
) -> None:
    """value[place[i]] += share[i] · table[item[i]] for distinct places, from `first` to `end`."""
    for i in range(first, end):
        row, added, own = value[place[i]], table[item[i]], share[i]
        for k in range(len(row)):
            row[k] += own * added[k]


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
    rows: Rows,
    bounds: Int[np.ndarray, " n_plus_1"],
    squares: Float[np.ndarray, " n"],
    first: int,
    end: int,
) -> None:
    """squares = Σ ‖value + ridge · v‖² − ‖ridge · v‖² over the rows of some clients."""
    _, item, value, ridge, table = rows
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
    """Return the rows whose item has a non-negative place."""
    found, count = np.empty(len(item), np.int64), 0
    for r in range(len(item)):
        found[count] = r
        count += place[item[r]] >= 0
    return found[:count]


@compiled()
def whole_rows(
    some: Int[np.ndarray, " some"],
    rows: Rows,
    out: Float[np.ndarray, "some d"],
    first: int,
    end: int,
) -> None:
    """out = value + ridge · v for the rows in `some`, from `first` to `end` of them."""
    owner, item, value, ridge, table = rows
    for i in range(first, end):
        r = some[i]
        share, v, own, whole = every(ridge[owner[r]]), table[item[r]], value[r], out[i]
        for k in range(0, len(v), LANES):
            store(whole, k, fused(share, load(v, k), load(own, k)))


@compiled()
def row_squares(
    rows: Rows,
    squares: Float[np.ndarray, " rows"],
    first: int,
    end: int,
) -> None:
    """squares = ‖value + ridge · v‖², for the rows from `first` to `end`."""
    owner, item, value, ridge, table = rows
    for r in range(first, end):
        share, own, v, sums = every(ridge[owner[r]]), value[r], table[item[r]], no_lanes()
        for k in range(0, len(v), LANES):
            whole = fused(share, load(v, k), load(own, k))
            sums = fused(whole, whole, sums)
        squares[r] = folded(sums)


@compiled()
def trimmed_rows(
    rows: Rows,
    alike: bool,
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
    trim: int,
    mean: Float[np.ndarray, "items d"],
) -> None:
    """mean = coordinate-wise mean over clients without the `trim` lowest and highest values.

    It covers the items from `first` on that `bounds` covers. A client's value is its row plus
    ridge · v, or only e = ridge · v. e is one number if all clients that lack some item are
    `alike`. In that case only rows are sorted: each of the `trim` lowest that is below e is
    replaced by e, and each of the highest that is above e as well.
    """
    owner, _, value, ridge, table = rows
    n, d = len(ridge), table.shape[1]
    x, total = np.empty((n, d), np.float32), np.empty(d, np.float32)
    absent = np.empty(n, np.bool_)
    for i in range(len(bounds) - 1):
        item, present = first + i, order[bounds[i] : bounds[i + 1]]
        count, absent[:] = len(present), True
        common = np.float32(0)
        for r in range(count):
            absent[owner[present[r]]] = False
        filled = alike and n - count >= 2 * trim and n > count
        for c in range(n):
            if absent[c]:
                common = ridge[c]
        if alike and count <= trim:
            for k in range(d):
                mean[item, k] = common * table[item, k]  # no row can be in the middle
            continue
        for r in range(count):
            share = ridge[owner[present[r]]]
            for k in range(d):
                x[r, k] = fused(share, table[item, k], value[present[r], k])
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
