"""Linear combinations of many clients' gradients: what most of them share, and few rows each."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.kernels.compiled import arrays, compiled
from fedrec.kernels.rows import Rows, add_weighted, bounds_of
from fedrec.kernels.threads import row_ranges, spread
from fedrec.kernels.vectors import add_times


def mixed_rows(rows: Rows, coefficients: Float[Tensor, "k n"]) -> Rows:
    """Return the item gradients Σ_c coefficients[j, c] · g_c of k mixtures.

    The result's table is the mixture with the coefficients that most mixtures have, and its ridges
    are 1. A mixture has rows only on items of clients for which its coefficient is another, so
    mixtures that are nearly the same have few rows. A coefficient is shared only if more than half
    of the mixtures have it: a huge upload in the table would cost the others their last digits.
    """
    given = coefficients.numpy()
    ridges = (given * rows.ridge.numpy()).sum(axis=1, dtype=np.float64).astype(np.float32)
    usual, usual_ridge = of_majority(given), of_majority(ridges[:, None])
    table = rows.table * torch.from_numpy(usual_ridge)
    add_weighted(rows, torch.from_numpy(usual), table)
    owner, item, value = rest_rows(rows, given - usual, ridges - usual_ridge)
    return Rows(owner, item, value, torch.ones(len(given)), table)


def rest_rows(
    rows: Rows, rest: Float[np.ndarray, "k n"], ridge: Float[np.ndarray, " k"]
) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"], Float[Tensor, "found d"]]:
    """Return the rows of Σ_c rest[j, c] · (rows of c) + ridge[j] · table: owner j, item, value."""
    own, bounds, parts = arrays(rows), bounds_of(rows), row_ranges(len(rest))
    differs = np.repeat(ridge[:, None] != 0, len(rows.table), axis=1)
    spread(lambda some: mark_items(bounds, own.item, rest, differs, *some), parts)
    place = np.cumsum(differs).reshape(differs.shape) - 1
    owner, item = map(torch.from_numpy, np.nonzero(differs))
    value = rows.value.new_zeros(len(owner), rows.value.shape[1])
    out = value.numpy()
    spread(lambda some: add_rest(own, bounds, rest, ridge, place, out, *some), parts)
    return owner, item, value


def mixed_dense(
    x: Float[Tensor, "n params"], coefficients: Float[Tensor, "k n"]
) -> Float[Tensor, "k params"]:
    """Return Σ_c coefficients[j, c] · x[c] for each of k mixtures."""
    mixed = x.new_zeros(len(coefficients), x.shape[1])
    if x.shape[1]:
        given = (x.contiguous().numpy(), coefficients.numpy(), mixed.numpy())
        spread(lambda part: add_products(*given, *part), row_ranges(len(mixed)))
    return mixed


def of_majority(numbers: Float[np.ndarray, "k columns"]) -> Float[np.ndarray, " columns"]:
    """Return in each column the number that more than half of the rows have, or else 0."""
    middle = np.sort(numbers, axis=0)[len(numbers) // 2]  # it is in the middle, if there is one
    return np.where(2 * (numbers == middle).sum(axis=0) > len(numbers), middle, np.float32(0))


@compiled()
def mark_items(
    bounds: Int[np.ndarray, " n_plus_1"],
    item: Int[np.ndarray, " rows"],
    rest: Float[np.ndarray, "k n"],
    differs: Bool[np.ndarray, "k items"],
    first: int,
    end: int,
) -> None:
    """Mark the items of all clients with rest[j, c] ≠ 0, for the mixtures from `first` to `end`."""
    for j in range(first, end):
        for c in range(rest.shape[1]):
            if rest[j, c] != 0:
                for r in range(bounds[c], bounds[c + 1]):
                    differs[j, item[r]] = True


@compiled()
def add_rest(
    rows: Rows,
    bounds: Int[np.ndarray, " n_plus_1"],
    rest: Float[np.ndarray, "k n"],
    ridge: Float[np.ndarray, " k"],
    place: Int[np.ndarray, "k items"],
    out: Float[np.ndarray, "found d"],
    first: int,
    end: int,
) -> None:
    """out[place[j]] += Σ_c rest[j, c] · rows of c + ridge[j] · table, for some mixtures."""
    for j in range(first, end):
        if ridge[j] != 0:
            for i in range(len(rows.table)):
                add_times(ridge[j], rows.table[i], out[place[j, i]])
        for c in range(rest.shape[1]):
            share = rest[j, c]
            if share != 0:
                for r in range(bounds[c], bounds[c + 1]):
                    add_times(share, rows.value[r], out[place[j, rows.item[r]]])


@compiled()
def add_products(
    x: Float[np.ndarray, "n params"],
    coefficients: Float[np.ndarray, "k n"],
    out: Float[np.ndarray, "k params"],
    first: int,
    end: int,
) -> None:
    """out[j] += Σ_c coefficients[j, c] · x[c], for the mixtures from `first` to `end`."""
    for j in range(first, end):
        for c in range(len(x)):
            if coefficients[j, c] != 0:
                add_times(coefficients[j, c], x[c], out[j])
