"""Each user's share of a run's result, and how far users differ between runs of one seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from fedrec.analysis.measure import Measure
from fedrec.records import Hits, Record

Shares = Float[np.ndarray, " users"]  # each user's share of a run's result; they sum to one
Known = Mapping[int, Shares]  # an arm's shares, by seed
SURE = 0.25  # smallest part of one seed's squares that is attributed to chance


@dataclass(frozen=True)
class Apart:
    """How far chance moves sums over users at one seed, if it hits each user on its own."""

    variance: float
    df: float  # of the variance
    beyond: Mapping[int, Shares] = field(default_factory=dict)  # users' chance parts, by seed


def gains(hits: Hits, metric: str) -> tuple[Int[np.ndarray, " hits"], Float[np.ndarray, " hits"]]:
    """Return users, and each one's part of the sum of HR@k, NDCG@k or MRR.

    MRR uses the first 20 positions alone.
    """
    name, _, k = metric.partition("@")
    user, position = hits.arrays
    if k:
        user, position = user[position <= int(k)], position[position <= int(k)]
    if name == "hr":
        return user, np.ones(len(user))
    return user, 1 / (np.log2(position + 1) if name == "ndcg" else position)


def shares(record: Record, measure: Measure, users: int) -> Shares | None:
    """Return each user's share of a run's result; None if unknown, or if the result is zero.

    MRR's shares are those of the first 20 positions, and one evaluation stands for a mean of
    several: only comparisons of arms matter, because the dispersion is estimated from results.
    """
    if record.hits is None:
        return None
    found = np.zeros(users)
    hit, parts = gains(record.hits[measure.report], measure.metric)
    found[hit] = parts
    return found / found.sum() if len(hit) else None


def apart(arms: Sequence[Known], weights: Sequence[float]) -> Apart:
    """Return how far users vary in a weighted sum of arms, over the seeds that all arms have.

    What a user adds equally at every seed is not chance. One seed cannot separate the two, so with
    one seed everything counts as chance.
    """
    seeds = [seed for seed in arms[0] if all(seed in arm for arm in arms)]
    sums = np.array(
        [sum(w * arm[seed] for w, arm in zip(weights, arms, strict=True)) for seed in seeds]
    )
    beyond = sums - sums.mean(axis=0) if len(seeds) > 1 else sums
    squares = beyond**2
    whole = float(squares.sum())
    if whole == 0:
        return Apart(0.0, float("inf"))
    df = 2 * whole**2 / float((squares**2).sum())
    return Apart(whole / max(len(seeds) - 1, 1), df, dict(zip(seeds, beyond, strict=True)))


def of_pair(ours: Known, theirs: Known, kept: float) -> Apart:
    """Return how far users differ between two arms.

    With one seed, what users add equally at every seed is estimated from all runs of both arms,
    and from the share of its hits that a run of the family shares with another (`kept`).
    """
    found = apart([ours, theirs], [1.0, -1.0])
    if len(ours.keys() & theirs.keys()) > 1 or not found.variance:
        return found
    left = max(found.variance - max(_lasting(ours, theirs, kept), 0.0), SURE * found.variance)
    return replace(found, variance=left)


def _lasting(ours: Known, theirs: Known, kept: float) -> float:
    """Return the squares of users' differences that are equal at every seed; 0 if unknown."""
    crossed = [float(a @ b) for s, a in ours.items() for t, b in theirs.items() if s != t]
    if not crossed or np.isnan(kept):
        return 0.0
    alone = sum(again(np.array(list(side.values())), kept) for side in (ours, theirs))
    return float(alone - 2 * np.mean(crossed))


def again(runs: Float[np.ndarray, "seeds users"], kept: float = float("nan")) -> float:
    """Return the mean product of two runs of an arm; for one run, `kept` times its own square."""
    seeds, square = len(runs), float((runs**2).sum())
    if seeds == 1:
        return kept * square
    return float((runs.sum(axis=0) ** 2).sum() - square) / (seeds * (seeds - 1))
