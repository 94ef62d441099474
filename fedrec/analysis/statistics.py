"""Losses of one arm against another, with intervals from noise and users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtr

from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noise, Noises, half_of, paired_error, ratio_error
from fedrec.analysis.users import Apart, gains
from fedrec.records import Record

NORMAL = 1.959964  # the 97.5 % quantile of the normal distribution
ALONE = float("nan")  # half of an interval that does not exist


@dataclass(frozen=True)
class Loss:
    """The loss of one arm against another, in per cent of the other."""

    percent: float
    error: float  # standard error; NaN if there is none
    df: float
    noise: Noise | None  # the source of the error
    pairs: tuple[tuple[Record, Record], ...]
    users: Apart | None = None  # differences between both sides, if the error is paired by user

    @property
    def half(self) -> float:
        """Half of the 95 % interval."""
        return half_of(self.error, self.df)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no difference; NaN if the error is zero or missing."""
        if not self.error > 0:
            return float("nan")
        return float(2 * stdtr(self.df, -abs(self.percent) / self.error))


def half_width(values: Float[np.ndarray, " n"]) -> float:
    """Return half of the 95 % interval of a mean, from its values alone; NaN for fewer than two."""
    if len(values) < 2:
        return ALONE
    error = values.std(ddof=1) / np.sqrt(len(values))
    return half_of(float(error), float(len(values) - 1))


def percent_lost(
    arm: Sequence[Record], reference: Sequence[Record], noises: Noises
) -> tuple[float, float]:
    """Return a loss (%) and half of its 95 % interval; NaN if there is nothing to compare with."""
    try:
        found = loss(arm, reference, noises)
    except ValueError:
        return float("nan"), float("nan")
    return found.percent, found.half


def loss(arm: Sequence[Record], reference: Sequence[Record], noises: Noises) -> Loss:
    """Return the loss of an arm against another one, over the seeds that both have.

    It is paired by user and seed if records name the users hit. If the noise is borrowed from
    another family, the error is at least the one that users alone show.

    Raises:
        ValueError: no seed is in both arms, or the reference's result is zero.
    """
    pairs = paired(arm, reference)
    if not pairs:
        raise ValueError("the arms share no seed")
    ours, theirs = (
        np.array([noises.measure(run) for run in side]) for side in zip(*pairs, strict=True)
    )
    if not theirs.mean() > 0:
        raise ValueError("the reference has nothing to lose")
    ratio, noise = ours.mean() / theirs.mean(), noises.of(pairs[0][1])
    percent = float(100 * (1 - ratio))
    if noise is None:
        return Loss(percent, ALONE, 0.0, None, tuple(pairs))
    users = noises.pair(arm, reference)
    if users is not None:
        relative, df = paired_error(ours, theirs, users, noise)
        return Loss(percent, 100 * relative * ratio, df, noise, tuple(pairs), users)
    relative, df = ratio_error(ours, theirs, noise)
    error = 100 * relative * max(ratio, noise.residual / len(pairs) / theirs.mean())
    if noise.borrowed:
        error = np.fmax(error, users_error(pairs, noises.measure))
    return Loss(percent, float(error), df, noise, tuple(pairs))


def paired(arm: Sequence[Record], reference: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Return the pairs of records that have the same seed."""
    theirs = {record.cell.seed: record for record in reference}
    return [(record, theirs[seed]) for record in arm if (seed := record.cell.seed) in theirs]


def users_error(pairs: Sequence[tuple[Record, Record]], measure: Measure) -> float:
    """Return the standard error of a loss (%) with users as the sample, each with all its seeds.

    The ratio is linearised: a user counts by its loss beyond the ratio's share of its reference.
    NaN if a record does not name the users hit, or if the metric is not HR@k or NDCG@k with k up
    to 20.
    """
    parts = [_parts(side, measure) for side in zip(*pairs, strict=True)]
    if any(side is None for side in parts):
        return ALONE
    (users, ours), (others, theirs) = (side for side in parts if side is not None)
    base = theirs.sum()
    if not base:
        return ALONE
    beyond = np.concatenate([-ours, ours.sum() / base * theirs])
    by_user = np.bincount(np.concatenate([users, others]), beyond)
    return float(100 * np.sqrt(np.square(by_user).sum()) / base)


def _parts(
    records: Sequence[Record], measure: Measure
) -> tuple[Int[np.ndarray, " hits"], Float[np.ndarray, " hits"]] | None:
    """Return the users hit, and the parts of the mean over runs that their hits are.

    A user occurs once for each run that hits it. None if the parts are unknown.
    """
    found = []
    for record in records:
        if record.hits is None or measure.metric == "mrr" or measure.settled:
            return None
        hits = record.hits[measure.report]
        user, gain = gains(hits, measure.metric)
        found.append((user, gain / hits.users / len(records)))
    users, parts = zip(*found, strict=True)
    return np.concatenate(users), np.concatenate(parts)


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Apply Holm's step-down correction; missing values stay, and do not count as tests."""
    corrected = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected
