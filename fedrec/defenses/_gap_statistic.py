"""Does a set of numbers fall into two clusters? (Tibshirani et al. 2001; paper, Algorithm 3.)"""

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np
from jaxtyping import Bool, Float

from fedrec.rng import Streams


@dataclass(frozen=True)
class Dispersions:
    """Log dispersions of uniform samples, for one cluster and for two: mean, and s of Alg. 3."""

    one: float
    two: float
    error: float  # s_2


def falls_apart(values: Float[np.ndarray, " n"], reference: Dispersions) -> bool:
    """Whether there is more than one cluster, by the gap statistic of the min–max scaled values.

    Equal values are one cluster, and so are fewer than three: any two numbers are two clusters
    without dispersion.
    """
    spread = np.ptp(values) if len(values) else 0.0
    if len(values) < 3 or spread == 0:
        return False
    scaled = np.sort((values - values.min()) / spread)
    one, two = _dispersions(scaled[None])
    if two[0] == 0:
        return True  # nothing beyond two points: the gap of two clusters is infinite
    gap_one = reference.one - log(one[0])
    gap_two = reference.two - log(two[0])
    return bool(gap_one < gap_two - reference.error)


def in_lower_cluster(values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The lower of the two clusters of the best 2-means, which in one dimension is a cut.

    The first of equally good cuts; all values where they are equal.
    """
    ordered = np.sort(values)
    if len(values) < 2 or ordered[0] == ordered[-1]:
        return np.ones(len(values), dtype=np.bool_)
    # Equal values are never parted: a cut between them is not better than one beside them.
    cost = np.where(np.diff(ordered) > 0, _cut_costs(ordered[None])[0], np.inf)
    return values <= ordered[np.argmin(cost)]


@lru_cache(maxsize=16)
def reference_dispersions(n: int, samples: int, seed: int) -> Dispersions:
    """What B uniform samples of n numbers give. It depends on n alone, so it is drawn once."""
    drawn = Streams(seed).generator("gap-reference", n).random((samples, n))
    # NumPy's own logarithm has last bits that hang on the machine's vectors.
    one, two = (np.array([*map(log, w)]) for w in _dispersions(np.sort(drawn, axis=1)))
    # s_k = √((1 + B) / B² · Σ (log w* − mean)²)
    error = np.sqrt((1 + samples) / samples) * two.std()
    return Dispersions(float(one.mean()), float(two.mean()), float(error))


def _dispersions(
    ordered: Float[np.ndarray, "b n"],
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Sums of squared distances to the centroids of one cluster, and of the best two."""
    centered = ordered - ordered.mean(axis=1, keepdims=True)
    return np.square(centered).sum(axis=1), _cut_costs(ordered).min(axis=1).clip(min=0)


def _cut_costs(ordered: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b cuts"]:
    """The dispersion of two clusters for each cut of sorted rows: after the 1st, the 2nd, …"""
    below = _running_dispersion(ordered)[:, :-1]
    above = _running_dispersion(-ordered[:, ::-1])[:, ::-1][:, 1:]
    return below + above


def _running_dispersion(ordered: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """Σ (x − mean)² of the first 1, 2, …, n values of each row."""
    shifted = ordered - ordered[:, :1]  # no cancellation where the first values are equal
    count = np.arange(1, ordered.shape[1] + 1)
    return np.square(shifted).cumsum(axis=1) - shifted.cumsum(axis=1) ** 2 / count
