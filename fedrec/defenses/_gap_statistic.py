"""The gap statistic: do numbers form two clusters? (Tibshirani et al. 2001; paper, Algorithm 3)"""

from dataclasses import dataclass
from functools import cache
from math import log
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from fedrec.kernels.device.operation import operation
from fedrec.rng import Streams


@dataclass(frozen=True)
class Dispersions:
    """Mean log dispersions of uniform samples, for one and two clusters, and s of Algorithm 3."""

    one: float
    two: float
    error: float  # s_2


def falls_apart(values: Float[np.ndarray, " n"], reference: Dispersions) -> bool:
    """Tell whether the min–max scaled values form more than one cluster, by the gap statistic.

    Equal values are one cluster. Fewer than three values also count as one cluster, because any
    two numbers are two clusters without dispersion.
    """
    spread = np.ptp(values) if len(values) else 0.0
    if len(values) < 3 or spread == 0:
        return False
    scaled = np.sort((values - values.min()) / spread)
    one, two = _dispersions(scaled[None])
    if two[0] == 0:
        return True  # only two distinct points: the gap of two clusters is infinite
    gap_one = reference.one - log(one[0])
    gap_two = reference.two - log(two[0])
    return bool(gap_one < gap_two - reference.error)


def in_lower_cluster(values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Mark the lower of the two clusters of the best 2-means, which in one dimension is a cut.

    Of equally good cuts, the first counts. If all values are equal, all are marked.
    """
    ordered = np.sort(values)
    if len(values) < 2 or ordered[0] == ordered[-1]:
        return np.ones(len(values), dtype=np.bool_)
    # Equal values are never separated: a cut between them is not better than one next to them.
    cost = np.where(np.diff(ordered) > 0, _cut_costs(ordered[None])[0], np.inf)
    return values <= ordered[np.argmin(cost)]


@cache
def reference_dispersions(n: int, samples: int, seed: int) -> Dispersions:
    """Compute the dispersions of B uniform samples of n numbers, once for each n."""
    drawn = Streams(seed).generator("gap-reference", n).random((samples, n))
    # The last bits of NumPy's own logarithm depend on the machine's vector instructions.
    one, two = (np.array([*map(log, w)]) for w in _dispersions(np.sort(drawn, axis=1)))
    # s_k = √((1 + B) / B² · Σ (log w* − mean)²)
    error = np.sqrt((1 + samples) / samples) * two.std()
    return Dispersions(float(one.mean()), float(two.mean()), float(error))


def _dispersions(
    ordered: Float[np.ndarray, "b n"],
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Return the sums of squared distances to the centroids, for one cluster and the best two."""
    centered = ordered - ordered.mean(axis=1, keepdims=True)
    return np.square(centered).sum(axis=1), _cut_costs(ordered).min(axis=1).clip(min=0)


def _cut_costs(ordered: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b cuts"]:
    """Return the dispersion of two clusters for each cut of sorted rows: after the 1st, 2nd, …"""
    below = _running_dispersion(ordered)[:, :-1]
    above = _running_dispersion(-ordered[:, ::-1])[:, ::-1][:, 1:]
    return below + above


def _running_dispersion(ordered: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """Return Σ (x − mean)² of the first 1, 2, …, n values of each row."""
    shifted = ordered - ordered[:, :1]  # avoids cancellation if the first values are equal
    count = np.arange(1, ordered.shape[1] + 1)
    return np.square(shifted).cumsum(axis=1) - shifted.cumsum(axis=1) ** 2 / count


class Cuts(NamedTuple):
    """Sorted numbers and the cost of the best cut, as tensors that are read without waiting.

    Numbers that do not count come last, and no cut lies among them.
    """

    place: Int[Tensor, " n"]  # position of each number in the order, from 0
    counted: Int[Tensor, ""]  # how many numbers count
    spread: Float64[Tensor, ""]
    one: Float64[Tensor, ""]  # the dispersion of one cluster, of min-max scaled numbers
    two: Float64[Tensor, ""]  # the dispersion of the best two clusters
    low: Int[Tensor, ""]  # how many numbers lie below the best cut

    @staticmethod
    def of(values: Float64[Tensor, " n"], among: Bool[Tensor, " n"]) -> "Cuts":
        """Find the best cut of the values that `among` marks, as `in_lower_cluster` defines it."""
        ordered, order = values.where(among, torch.inf).sort(stable=True)
        n, count = len(values), among.sum()
        number = torch.arange(n, device=values.device)
        counts = number < count
        top = ordered.where(counts, -torch.inf).max()
        spread = top - ordered[0]
        scaled = ((ordered - ordered[0]) / spread).where(counts & (spread > 0), 0)
        # Sums of the first 1, 2, … numbers and of their squares.
        earlier = (number[:, None] <= number).to(scaled)
        sums, squares = torch.stack([scaled, scaled.square()]) @ earlier
        size, rest = number + 1, (count - number - 1).clamp(min=1)
        below = squares - sums.square() / size
        above = (squares[-1] - squares) - (sums[-1] - sums).square() / rest
        apart = scaled.roll(-1) > scaled  # equal numbers are never separated
        cost = (below + above).clamp(min=0).where(apart & (size < count), torch.inf)
        best = cost.min(0)
        one = squares[-1] - sums[-1].square() / count
        return Cuts(order.argsort(), count, spread, one, best.values, best.indices + 1)


@operation("majority")
def majority_of(
    values: Float64[Tensor, " n"],
    among: Bool[Tensor, " n"],
    references: Float64[Tensor, "n_plus_1 3"],
    at_most: int,
) -> Bool[Tensor, " n"]:
    """Mark the larger cluster of the values that `among` marks, or all if there is one cluster.

    This is `union.Union.in_majority` for a GPU. Row k of `references` is the `Dispersions` of k
    numbers. A smaller cluster of up to `at_most` numbers is always split off.
    """
    cuts = Cuts.of(values, among)
    lower = cuts.place < cuts.low
    smaller = torch.minimum(cuts.low, cuts.counted - cuts.low)
    minority = lower == (2 * cuts.low <= cuts.counted)
    one, two, error = references.index_select(0, cuts.counted[None])[0]
    gap_one, gap_two = one - cuts.one.log(), two - cuts.two.log()
    falls = (gap_one < gap_two - error) & (cuts.counted >= 3)
    parted = (smaller <= at_most) | falls
    return among & ~(minority & parted & (cuts.spread > 0) & (cuts.counted >= 2))


@cache  # never freed, because a replayed round reads it again
def reference_table(n: int, samples: int, seed: int, device: torch.device) -> Tensor:
    """Return `reference_dispersions` of 0 to n numbers as rows; rows 0 to 2 are zeros."""
    rows = [(0.0, 0.0, 0.0)] * 3
    for k in range(3, n + 1):
        found = reference_dispersions(k, samples, seed)
        rows.append((found.one, found.two, found.error))
    return torch.tensor(rows[: n + 1], dtype=torch.float64, device=device)
