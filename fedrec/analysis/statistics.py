"""Losses and differences between arms, with intervals over seeds and over users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

from fedrec.records import Hits, Record, Report

RESAMPLES = 2000
ENOUGH_SEEDS = 3  # two give a t interval of 13 standard errors


@dataclass(frozen=True)
class Loss:
    """By how much one arm does worse than another, in per cent of the other."""

    percent: float
    low: float  # ends of the 95 % interval; not a number where there is none
    high: float
    by: str  # what was resampled: seeds, users or nothing
    p_value: float = float("nan")  # of no difference


def half_width(values: Float[np.ndarray, " n"]) -> float:
    """Half of the 95 % Student-t interval of a mean; missing for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(stdtrit(len(values) - 1, 0.975) * _standard_error(values))


def relative_loss(
    values: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    """Loss of the mean in per cent and half of its 95 % interval, from values paired by seed.

    Of a ratio of means (delta method): a seed's loss beyond the ratio's share of its reference.
    """
    lost, base = reference - values, reference.mean()
    ratio = lost.mean() / base
    return 100 * ratio, half_width(100 * (lost - ratio * reference) / base)


def paired_p(values: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]) -> float:
    """p of the paired t-test over seeds; missing for one seed, or if all differ by the same."""
    difference = values - reference
    if len(values) < 2 or np.ptp(difference) == 0:
        return float("nan")
    t = difference.mean() / _standard_error(difference)
    return float(2 * stdtr(len(values) - 1, -abs(t)))


def _standard_error(values: Float[np.ndarray, " n"]) -> float:
    """Of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def loss(arm: Sequence[Record], reference: Sequence[Record], metric: str, report: Report) -> Loss:
    """The loss of an arm against another one, over the seeds that both have.

    Its interval is over seeds where there are three, else over users where the records name hits.

    Raises:
        ValueError: no seed is in both.
    """
    pairs = paired(arm, reference)
    if not pairs:
        raise ValueError("the arms share no seed")
    ours, theirs = (
        np.array([record.reported(metric, report) for record in side])
        for side in zip(*pairs, strict=True)
    )
    percent, half = relative_loss(ours, theirs)
    if len(pairs) >= ENOUGH_SEEDS:
        return Loss(percent, percent - half, percent + half, "seeds", paired_p(ours, theirs))
    drawn = user_bootstrap(pairs, metric, report)
    if drawn is None:
        return Loss(percent, float("nan"), float("nan"), "nothing")
    low, high = np.percentile(100 * drawn / theirs.mean(), [2.5, 97.5])
    return Loss(percent, float(low), float(high), "users", two_sided(drawn))


def paired(arm: Sequence[Record], reference: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The records of both arms that have the same seed."""
    theirs = {record.cell.seed: record for record in reference}
    return [(record, theirs[seed]) for record in arm if (seed := record.cell.seed) in theirs]


def user_bootstrap(
    pairs: Sequence[tuple[Record, Record]], metric: str, report: Report
) -> Float[np.ndarray, " resamples"] | None:
    """The reference's mean minus the arm's, for resampled users (with all their seeds).

    None if a record does not say whom it hits, or the metric needs more than the first 20.
    """
    lost: dict[int, float] = {}
    users = 0
    for arm, reference in pairs:
        if not (arm.hits and reference.hits) or metric == "mrr":
            return None
        users = max(users, arm.hits[report].users)
        for record, sign in ((reference, 1), (arm, -1)):
            for user, gain in gains(record.hits[report], metric).items():  # type: ignore[index]
                lost[user] = lost.get(user, 0.0) + sign * gain / len(pairs)
    values = np.array([value for value in lost.values() if value])
    # Users whom neither arm hits, or both alike, differ by nothing: they are drawn as one.
    shares = np.append(np.full(len(values), 1 / users), 1 - len(values) / users)
    times = np.random.default_rng(0).multinomial(users, shares, RESAMPLES)
    drawn: np.ndarray = times[:, :-1] @ values / users
    return drawn


def gains(hits: Hits, metric: str) -> Mapping[int, float]:
    """What each user adds to the sum of HR@k or NDCG@k; others add nothing."""
    name, _, k = metric.partition("@")
    found = zip(hits.user, hits.position, strict=True)
    return {
        user: 1.0 if name == "hr" else float(1 / np.log2(position + 1))
        for user, position in found
        if position <= int(k)
    }


def two_sided(drawn: Float[np.ndarray, " resamples"]) -> float:
    """The bootstrap's p-value of a difference of zero, at least one in its resamples."""
    side = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return float(min(1.0, max(2 * side, 1 / len(drawn))))


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Holm's step-down correction; missing values stay, and do not count as tests."""
    corrected = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected
