"""What each user adds to a run's result, and how far users set runs of one seed apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from fedrec.analysis.measure import Measure
from fedrec.records import Hits, Record

Shares = Float[np.ndarray, " users"]  # of a run's result, by user; they sum to one
Known = Mapping[int, Shares]  # of an arm, by seed
SURE = 0.25  # of one seed's squares: no less of them is taken for chance


@dataclass(frozen=True)
class Apart:
    """How far chance sets sums over users apart, at one seed, if it hits each user on its own."""

    variance: float
    df: float  # that the variance is known with
    beyond: Mapping[int, Shares] = field(default_factory=dict)  # what users add by chance, by seed


def gains(hits: Hits, metric: str) -> Mapping[int, float]:
    """What each user adds to the sum of HR@k, NDCG@k or MRR, the last from the first 20 alone."""
    name, _, k = metric.partition("@")
    return {
        user: {"hr": 1.0, "ndcg": 1 / float(np.log2(position + 1)), "mrr": 1 / position}[name]
        for user, position in zip(hits.user, hits.position, strict=True)
        if not k or position <= int(k)
    }


def shares(record: Record, measure: Measure, users: int) -> Shares | None:
    """What share of a run's result each user adds; None if that is not known, or there is none.

    MRR's are those of the first 20, and one evaluation stands for the mean of several: only how
    arms compare matters, for the dispersion of the whole is estimated from results.
    """
    if record.hits is None:
        return None
    found, added = np.zeros(users), gains(record.hits[measure.report], measure.metric)
    found[list(added)] = list(added.values())
    return found / found.sum() if added else None


def apart(arms: Sequence[Known], weights: Sequence[float]) -> Apart:
    """Of a weighted sum of arms, over the seeds that all of them have.

    What a user adds at every seed alike is no chance. One seed cannot tell it from chance, and all
    counts.
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
    """Of one arm less another.

    For one seed, what users add at every seed alike is estimated from all runs of both arms, and
    from the share of its hits that a run of the family has in common with another (`kept`).
    """
    found = apart([ours, theirs], [1.0, -1.0])
    if len(ours.keys() & theirs.keys()) > 1 or not found.variance:
        return found
    left = max(found.variance - max(_lasting(ours, theirs, kept), 0.0), SURE * found.variance)
    return replace(found, variance=left)


def _lasting(ours: Known, theirs: Known, kept: float) -> float:
    """The squares of what sets users apart at every seed alike; 0 where nothing can be said."""
    crossed = [float(a @ b) for s, a in ours.items() for t, b in theirs.items() if s != t]
    if not crossed or np.isnan(kept):
        return 0.0
    alone = sum(again(np.array(list(side.values())), kept) for side in (ours, theirs))
    return float(alone - 2 * np.mean(crossed))


def again(runs: Float[np.ndarray, "seeds users"], kept: float = float("nan")) -> float:
    """The product of two runs of an arm, on average; of one run, `kept` of its own square."""
    seeds, square = len(runs), float((runs**2).sum())
    if seeds == 1:
        return kept * square
    return float((runs.sum(axis=0) ** 2).sum() - square) / (seeds * (seeds - 1))
