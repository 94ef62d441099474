"""The mean distance over all pairs of points, for many clients that have each moved some points."""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from fedrec.kernels.compiled import Array, compiled, on_cpu
from fedrec.kernels.device.operation import operation
from fedrec.kernels.sums import four_products, mean_row, total
from fedrec.kernels.threads import client_ranges, spread
from fedrec.kernels.vectors import LANES, copy, dot, fused, padded

ROUNDING = np.float32(8 * np.finfo(np.float32).eps)  # relative rounding error of squared norms


class Moves(NamedTuple):
    """Points that each of n clients has moved away from its base."""

    group: Int[Array, " n"]  # the number of each client's base
    bounds: Int[np.ndarray, " n_plus_1"]  # where each client's points begin; the last bound ends
    place: Int[Array, " rows"]  # index of the moved point in the base
    point: Float[Array, "rows d"]  # its new position


class Bases(NamedTuple):
    """The points of each base before any is moved."""

    across: Float[np.ndarray, "g d t"]  # as columns
    apart: Float[np.ndarray, "g t wide"]  # the distances of each point from those before it


def mean_distances(base: Float[Tensor, "g t d"], moves: Moves) -> Float[Tensor, " n"]:
    """Return `mean_distance` of each client's points."""
    if on_cpu(base) and base.dtype == torch.float32:
        t = base.shape[1]
        return _summed(base, moves) * (2 / (t * (t - 1)))
    return torch.stack([mean_distance(points) for points in moved_bases(base, moves)])


def mean_distance(points: Float[Tensor, "t d"]) -> Float[Tensor, ""]:
    """Return the mean L2 distance over all pairs of points; there must be at least two points."""
    t = len(points)
    return (total(distances(points - mean_row(points))) / (t * (t - 1))).to(points.dtype)


def moved_bases(base: Float[Tensor, "g t d"], moves: Moves) -> Iterator[Float[Tensor, "t d"]]:
    """Yield all points of each client."""
    sizes = np.diff(moves.bounds).tolist()
    parts = (part.split(sizes) for part in (moves.place, moves.point))
    return map(torch.index_copy, base[moves.group], repeat(0), *parts)


@operation("pairs")
def pair_sums(points: Float[Tensor, "sets t d"]) -> Float64[Tensor, " sets"]:
    """Return Σ ‖x_i − x_j‖ over the pairs of each set."""
    return distances(points).double().sum((1, 2)) / 2


def distances(x: Float[Tensor, "*sets t d"]) -> Float[Tensor, "*sets t t"]:
    """Return ‖x_i − x_j‖ in each set; 0 if its square is below the rounding error of the norms."""
    squares = x.square().sum(-1)
    both = squares[..., :, None] + squares[..., None, :]
    multiply = torch.addmm if x.dim() == 2 else torch.baddbmm
    apart = multiply(both, x, x.mT, alpha=-2)
    rounding = 8 * torch.finfo(x.dtype).eps
    return apart.masked_fill_(apart <= rounding * both, 0).sqrt_()


def _summed(base: Float[Tensor, "g t d"], moves: Moves) -> Float[Tensor, " n"]:
    """Return Σ ‖x_i − x_j‖ over all pairs, for each client."""
    across, sums = base.mT.contiguous().numpy(), base.new_empty(len(moves.group))
    g, _, t = across.shape
    bases = Bases(across, np.empty((g, t, padded(t, LANES)), np.float32))
    if (np.diff(moves.bounds) < t - 1).any():  # otherwise no client keeps two points
        for columns, pairs in zip(*bases, strict=True):
            distances_before(columns, pairs)
    group, place, point = (x.numpy() for x in (moves.group, moves.place, moves.point))
    given = (bases, Moves(group, moves.bounds, place, point), sums.numpy())
    spread(lambda some: distance_sums(*given, *some), client_ranges(moves.bounds))
    return sums


@compiled()
def distance_sums(
    bases: Bases,
    moves: Moves,
    total: Float[np.ndarray, " clients"],
    first: int,
    end: int,
) -> None:
    """total = Σ ‖x_i − x_j‖ over all pairs of t points, for the clients from `first` to `end`."""
    across, apart = bases
    group, bounds, place, moved = moves
    for c in range(first, end):
        own, g = slice(bounds[c], bounds[c + 1]), group[c]
        total[c] = moved_distances(across[g], place[own], moved[own])
        total[c] += kept_distances(apart[g], place[own])


@compiled()
def kept_distances(apart: Float[np.ndarray, "t wide"], place: Int[np.ndarray, " k"]) -> float:
    """Return Σ ‖x_i − x_j‖ over the pairs without a moved point, given the distances for j < i."""
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
    """apart[i, j] = ‖x_i − x_j‖ for columns j < i, and 0 from there to a multiple of LANES."""
    t = across.shape[1]
    points, squares = _columns(across, np.arange(0), np.empty((0, len(across)), np.float32))
    four = np.empty((4, len(points)), np.float32)
    products = np.empty((4, points.shape[1]), np.float32)
    for i in range(0, t, 4):
        for r in range(4):
            four[r] = points[:, i + r]  # columns beyond t are zeros
        four_products(four, points, min(i + 4, t), products)
        for r in range(min(4, t - i)):
            own, row = squares[i + r], apart[i + r]
            for j in range(padded(i + r, LANES)):
                row[j] = distance(own + squares[j], products[r, j])
            row[i + r : padded(i + r, LANES)] = 0


@compiled(inline="always")
def distance(both: np.float32, product: np.float32) -> np.float32:
    """Return ‖x − y‖ from ‖x‖² + ‖y‖² and x · y; a square below its rounding error counts as 0."""
    square = both - np.float32(2) * product
    return np.sqrt(square if square > ROUNDING * both else np.float32(0))


@compiled()
def moved_distances(
    across: Float[np.ndarray, "d t"],
    place: Int[np.ndarray, " k"],
    moved: Float[np.ndarray, "k d"],
) -> float:
    """Return Σ ‖x_i − x_j‖ over the pairs with a moved point: k of t columns are moved."""
    t, k = across.shape[1], len(place)
    points, squares = _columns(across, place, moved)
    wide = points.shape[1]
    four, products = np.zeros((4, len(points)), np.float32), np.empty((4, wide), np.float32)
    lengths, ones = np.empty(wide, np.float32), np.ones(wide, np.float32)
    total = np.float64(0)
    for first in range(0, k, 4):
        rows, end = min(4, k - first), t - k + min(first + 4, k)
        for r in range(rows):
            copy(moved[first + r], four[r])
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
def _columns(
    across: Float[np.ndarray, "d t"],
    place: Int[np.ndarray, " k"],
    moved: Float[np.ndarray, "k d"],
) -> tuple[Float[np.ndarray, "d4 wide"], Float[np.ndarray, " wide"]]:
    """Return points as columns, unmoved first and padded for `four_products`, and ‖x‖² of each."""
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
        for j in range(d):  # writes are adjacent, and what is read stays in the cache
            for i in range(first, min(first + LANES, len(place))):
                points[j, len(kept) + i] = moved[i, j]
    for j in range(d):
        for i in range(len(squares)):
            squares[i] = fused(points[j, i], points[j, i], squares[i])
    return points, squares
