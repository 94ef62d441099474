"""Robust rules for each item, over the rows of only those clients that touch it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.compiled import compiled
from fedrec.kernels.rows import Rows, items_in_shares, sort_rows
from fedrec.kernels.vectors import LANES, every, folded, fused, load, no_lanes


def touched_mean(rows: Rows, trim: int) -> Float[Tensor, "items d"]:
    """Return k/n times the trimmed mean over the k clients that touch an item.

    Each side drops `trim` values of each coordinate, or fewer, so that one or two are left. The
    ridges of the other n − k clients are added, each 1/n times. CPU only.
    """
    return _aggregated(rows, trim, krum=False)


def touched_krum(rows: Rows, f: int) -> Float[Tensor, "items d"]:
    """Return k/n times Krum's choice of the rows of the k clients that touch an item.

    Krum assumes f malicious clients among the k, or the largest number that k allows. The ridges of
    the other n − k clients are added, each 1/n times. CPU only.
    """
    return _aggregated(rows, f, krum=True)


def _aggregated(rows: Rows, f: int, krum: bool) -> Float[Tensor, "items d"]:
    found = torch.empty_like(rows.table)
    items_in_shares(lambda own, alike, *rest: touching_rows(own, krum, *rest), rows, f, found)
    return found


@compiled()
def touching_rows(
    rows: Rows,
    krum: bool,
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
    f: int,
    found: Float[np.ndarray, "items d"],
) -> None:
    """found = `touched_krum` or `touched_mean`, for the items from `first` on in `bounds`."""
    owner, _, value, ridge, table = rows
    n, d = len(ridge), table.shape[1]
    x, touches = np.empty((n, d), np.float32), np.empty(n, np.bool_)
    apart, far = np.empty((n, n), np.float32), np.empty(n, np.float32)
    for i in range(len(bounds) - 1):
        item, present = first + i, order[bounds[i] : bounds[i + 1]]
        k, others, touches[:] = len(present), np.float64(0), False
        for r in range(k):
            c = owner[present[r]]
            touches[c] = True
            for j in range(d):
                x[r, j] = fused(ridge[c], table[item, j], value[present[r], j])
        for c in range(n):
            if not touches[c]:
                others += ridge[c]
        if krum:
            low = nearest_to_others(x, k, f, apart, far)
            end = min(low + 1, k)
        else:
            sort_rows(x, k)
            low = min(f, max(k - 1, 0) // 2)
            end = k - low
        share, rest = np.float32(k / (n * max(end - low, 1))), np.float32(others / n)
        for j in range(d):
            total = np.float32(0)
            for r in range(low, end):
                total += x[r, j]
            found[item, j] = fused(share, total, rest * table[item, j])


@compiled()
def nearest_to_others(
    x: Float[np.ndarray, "rows d"],
    k: int,
    f: int,
    apart: Float[np.ndarray, "n n"],
    far: Float[np.ndarray, " n"],
) -> int:
    """Return which of the first k rows has the lowest Krum score; of equal scores, the first.

    A score is the sum of the squared distances to the k − f − 2 nearest others, and to at least
    one. f is at most (k − 3) / 2, as Krum requires.
    """
    minus, best, least = every(np.float32(-1)), 0, np.inf
    for a in range(k):
        for b in range(a):
            sums = no_lanes()
            for j in range(0, x.shape[1], LANES):
                gap = fused(minus, load(x[b], j), load(x[a], j))
                sums = fused(gap, gap, sums)
            square = folded(sums)
            # An overflow may give NaN, which has no order.
            apart[a, b] = apart[b, a] = square if square < np.inf else np.float32(np.inf)
    count = max(k - min(f, max(k - 3, 0) // 2) - 2, 1)
    for a in range(k):
        apart[a, a] = apart[a, k - 1]  # so that the others' distances are the first k - 1
        score = sum_of_nearest(apart[a, : max(k - 1, 0)], count, far)
        if score < least:
            best, least = a, score
    return best


@compiled()
def sum_of_nearest(
    distance: Float[np.ndarray, " others"], count: int, far: Float[np.ndarray, " n"]
) -> float:
    """Return the sum of the `count` smallest numbers; `far` is for the largest ones, ascending."""
    dropped, total = max(len(distance) - count, 0), np.float64(0)
    far[:dropped] = 0
    for value in distance:
        if dropped == 0 or value <= far[0]:
            total += value
            continue
        total += far[0]
        place = 0
        while place + 1 < dropped and far[place + 1] < value:
            far[place] = far[place + 1]
            place += 1
        far[place] = value
    return total
