"""The mean of the values closest to the median, in each coordinate of many clients' gradients."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.rows import BLOCK, Rows, gather, items_in_shares, sort_rows
from fedrec.kernels.sums import mean_row
from fedrec.kernels.vectors import fused


def mean_near_median(rows: Rows, count: int) -> Float[Tensor, "items d"]:
    """Return, in each coordinate, the mean of the `count` clients' values closest to the median.

    Of an even number of values, the median is the mean of the two middle ones. If a value below the
    median and one above are equally close, the one below counts.
    """
    mean = torch.empty_like(rows.table)
    if on_cpu(rows.value):
        items_in_shares(near_median_rows, rows, count, mean)
        return mean
    everyone = torch.ones(len(rows.ridge), dtype=torch.bool, device=mean.device)
    counts = torch.full((len(everyone) + 1,), count, device=mean.device)
    for items in torch.arange(len(mean), device=mean.device).split(BLOCK):
        mean[items] = of_stack(gather(rows, items), everyone, counts)
    return mean


def of_stack(
    value: Float[Tensor, "n *coordinates"],
    kept: Bool[Tensor, " n"],
    counts: Int[Tensor, " n_plus_1"],
) -> Float[Tensor, "*coordinates"]:
    """Return the same of a stack; if k clients are kept, counts[k] of their values are averaged.

    The numbers of clients and of values stay on the device, so that a GPU need not be waited for.
    """
    n, k = len(value), kept.sum()
    count, place = counts.index_select(0, k[None]), torch.arange(n, device=value.device)
    wide = (n,) + (1,) * (value.dim() - 1)
    x = value.where(kept.view(wide), torch.inf).sort(dim=0).values
    middle = x.index_select(0, torch.stack([(k - 1) // 2, k // 2]).clamp(min=0))
    last = x.index_select(0, (place + count).clamp(max=n - 1))  # above the values from each place
    begins = (place + count < k).view(wide)
    start = (begins & (x + last < middle.sum(0))).sum(0)
    near = (place.view(wide) >= start) & (place.view(wide) < start + count)
    return mean_row(x.where(near, 0).view(n, -1)).view(value.shape[1:]) * (n / count)


@compiled()
def near_median_rows(
    rows: Rows,
    alike: bool,
    order: Int[np.ndarray, " rows"],
    bounds: Int[np.ndarray, " bounds"],
    first: int,
    count: int,
    mean: Float[np.ndarray, "items d"],
) -> None:
    """mean = mean of the `count` values closest to the median, over clients.

    It covers the items from `first` on that `bounds` covers. A client's value is its row plus
    ridge · v, or only e = ridge · v. e is one number if all clients that lack some item are
    `alike`. In that case an item that less than half of the clients touch needs no sorting.
    """
    owner, _, value, ridge, table = rows
    n, d = len(ridge), table.shape[1]
    x, absent = np.empty((n, d), np.float32), np.empty(n, np.bool_)
    for i in range(len(bounds) - 1):
        item, present = first + i, order[bounds[i] : bounds[i + 1]]
        found, common, absent[:] = len(present), np.float32(0), True
        for r in range(found):
            absent[owner[present[r]]] = False
        for c in range(n):
            if absent[c]:
                common = ridge[c]
        if alike and 2 * found < n and n - found >= count:
            for k in range(d):
                mean[item, k] = common * table[item, k]  # the median is e, and so are the closest
            continue
        for r in range(found):
            share = ridge[owner[present[r]]]
            for k in range(d):
                x[r, k] = fused(share, table[item, k], value[present[r], k])
        for c in range(n):
            if absent[c]:
                for k in range(d):
                    x[found, k] = ridge[c] * table[item, k]
                found += 1
        sort_rows(x, n)
        put_near_median(x, count, mean[item])


@compiled()
def put_near_median(x: Float[np.ndarray, "n d"], count: int, mean: Float[np.ndarray, " d"]) -> None:
    """mean = the mean of the `count` numbers closest to the median, in each ascending column."""
    n, d = x.shape
    start, total = np.zeros(d, np.int32), np.zeros(d, np.float32)
    for s in range(n - count):
        # Sums, because they are equal if both values are equally close. Differences are rounded.
        for k in range(d):
            start[k] += x[s, k] + x[s + count, k] < x[(n - 1) // 2, k] + x[n // 2, k]
    for j in range(n):
        for k in range(d):
            total[k] += x[j, k] if 0 <= j - start[k] < count else np.float32(0)
    for k in range(d):
        mean[k] = total[k] / np.float32(count)
