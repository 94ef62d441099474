"""How far chance moves a result: one variance for all arms of a family (docs/statistics.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import polygamma, psi, stdtrit
from scipy.stats import levene

from fedrec.analysis.measure import Measure, by_arm
from fedrec.plan.variants import Variant
from fedrec.records import Record

ENOUGH = 10  # degrees of freedom below which a family borrows the noise of another
REJECTED = 0.05  # by the test of equal variances
ANOTHER = 5  # seeds of another study, as the paper's
FEWEST = 3  # runs of an arm in that test

Family = tuple[str, str, Any]  # dataset, model, rounds: arms that share one variance
Values = Mapping[int, float]  # of an arm, by seed


@dataclass(frozen=True)
class Noise:
    """What chance does to one run of a family.

    Dispersions are variances over the arm's mean, as for counts: hits that come and go by chance
    vary by the root of their number. `residual` is about the arm and the seed, which all arms have
    in common; `run` about the arm alone. Both have their degrees of freedom.
    """

    residual: float
    df: float
    run: float
    run_df: float
    arms: int  # of several seeds
    equal: float = float("nan")  # p of equal dispersions (Brown and Forsythe)
    prior: float = float("inf")  # degrees of freedom that `residual` has against an arm's own
    family: str = ""
    borrowed: bool = False  # from `family`, for want of seeds

    def __str__(self) -> str:
        if self.borrowed:
            return f"noise borrowed from {self.family} for want of seeds"
        pooled = f"noise of {self.family} from {self.arms} arms, {self.df:.0f} degrees of freedom"
        if np.isnan(self.equal):
            return pooled
        equal = "variances are equal" if np.isinf(self.prior) else "each arm's own counts too"
        return f"{pooled} ({equal}: p = {self.equal:.2g})"


class Noises:
    """The noise of each family of arms among some records."""

    def __init__(self, records: Iterable[Record], measure: Measure) -> None:
        self.measure = measure
        families: dict[Family, list[Values]] = {}
        for runs in by_arm(records).values():
            values = {run.cell.seed: measure(run) for run in runs}
            families.setdefault(family(runs[0]), []).append(values)
        fitted = {key: fit(arms) for key, arms in families.items()}
        self._own = {
            key: replace(noise, family=", ".join(key[:2])) for key, noise in fitted.items() if noise
        }

    def of(self, record: Record) -> Noise | None:
        """The noise of a record's family; of another where it has too few seeds to tell.

        What is borrowed is the largest relative dispersion there is; None if no family has any.
        """
        own = self._own.get(family(record))
        if own and own.df >= ENOUGH:
            return own
        known = [noise for noise in self._own.values() if noise.df >= ENOUGH]
        if not known:
            return own
        largest = max(known, key=lambda noise: noise.residual)
        residual = max(largest.residual, own.residual if own else 0.0)
        run = max(largest.run, own.run if own else 0.0)
        return replace(largest, residual=residual, run=run, borrowed=True)

    def mean(self, runs: Sequence[Record]) -> tuple[float, float]:
        """The mean of an arm's runs, and half of its 95 % interval, if it has one."""
        values, noise = np.array([self.measure(run) for run in runs]), self.of(runs[0])
        half = half_of(*mean_error(values, noise)) if noise else float("nan")
        return float(values.mean()), half


def half_of(error: float, df: float) -> float:
    """Half of a 95 % interval (Student's t); missing where there are no degrees of freedom."""
    return float(stdtrit(df, 0.975) * error) if df > 0 else float("nan")


def family(record: Record) -> Family:
    """The dataset, the model and the length of training: arms that share one variance."""
    rounds = record.config.get("protocol", {}).get("rounds")
    return record.cell.dataset, Variant.parse(record.cell.model).base, rounds


def fit(arms: Sequence[Values]) -> Noise | None:
    """The noise of arms from their results by seed; None where no arm has two.

    Pearson's residuals about arms and seeds, which are crossed: with every seed in every arm, of
    (arms - 1)(seeds - 1) degrees of freedom. Whatever baseline arms share drops out with them.
    """
    several = [arm for arm in arms if len(arm) > 1 and sum(arm.values()) > 0]
    if not several:
        return None
    away, arm, seed, root = _pearson(several)
    residuals, rank = _without_seeds(away, arm, seed, root)
    runs_df, within = len(away) - len(several), float(away @ away)
    df = runs_df - rank
    if df < 1:  # seeds cannot be told from runs
        run = within / runs_df
        return Noise(run, float(runs_df), run, float(runs_df), len(several))
    left = float(residuals @ residuals)
    groups = [residuals[arm == i] for i in range(len(several))]
    equal = _equal(groups)
    return Noise(
        residual=left / df,
        df=float(df),
        run=within / runs_df,
        run_df=_satterthwaite(within - left, rank, left, df),
        arms=len(several),
        equal=equal,
        prior=prior(groups) if equal < REJECTED else float("inf"),
    )


def _pearson(
    arms: Sequence[Values],
) -> tuple[
    Float[np.ndarray, " runs"], Int[np.ndarray, " runs"], Int[np.ndarray, " runs"],
    Float[np.ndarray, " runs"],
]:  # fmt: skip
    """Each run's distance from its arm's mean by the mean's root; arm, seed, and that root."""
    arm = np.repeat(np.arange(len(arms)), [len(values) for values in arms])
    seeds = np.array([seed for values in arms for seed in values])
    results = np.array([result for values in arms for result in values.values()])
    means = np.array([np.mean(list(values.values())) for values in arms])[arm]
    seed = np.unique(seeds, return_inverse=True)[1]
    return (results - means) / np.sqrt(means), arm, seed, np.sqrt(means)


def _without_seeds(
    away: Float[np.ndarray, " runs"],
    arm: Int[np.ndarray, " runs"],
    seed: Int[np.ndarray, " runs"],
    root: Float[np.ndarray, " runs"],
) -> tuple[Float[np.ndarray, " runs"], int]:
    """What is left when each seed lifts all arms by its own share; parameters that it took."""
    lifts = (seed[:, None] == np.unique(seed)) * root[:, None]
    sizes = np.bincount(arm)[:, None]
    sums = np.zeros((len(sizes), lifts.shape[1]))
    np.add.at(sums, arm, lifts)
    lifts -= (sums / sizes)[arm]  # beyond what the arms take up
    found, _, rank, _ = np.linalg.lstsq(lifts, away, rcond=None)
    return away - lifts @ found, int(rank)


def _satterthwaite(seeds: float, seeds_df: int, left: float, df: int) -> float:
    """Degrees of freedom of the sum of two independent sums of squares."""
    spread = left**2 / df + (seeds**2 / seeds_df if seeds_df else 0.0)
    return (seeds + left) ** 2 / spread if spread else float(df)


def _equal(groups: Sequence[Float[np.ndarray, " _"]]) -> float:
    """p of Brown and Forsythe's test."""
    large = [group for group in groups if len(group) >= FEWEST]
    if len(large) < 2 or not any(np.ptp(group) > 0 for group in large):
        return float("nan")
    return float(levene(*large, center="median").pvalue)


def prior(groups: Sequence[Float[np.ndarray, " _"]]) -> float:
    """How many degrees of freedom a common variance is worth against an arm's own (Smyth 2004).

    From how far the variances of arms differ beyond chance; infinite if they do not.
    """
    half = np.array([(len(group) - 1) / 2 for group in groups])
    squares = np.array([max(float(group @ group), 1e-300) for group in groups])
    logarithms = np.log(squares / (2 * half)) - psi(half) + np.log(half)
    excess = logarithms.var(ddof=1) - polygamma(1, half).mean()
    if not excess > polygamma(1, 1e6):
        return float("inf")
    return float(2 * brentq(lambda x: polygamma(1, x) - excess, 1e-6, 1e6))


def mean_error(values: Float[np.ndarray, " seeds"], noise: Noise) -> tuple[float, float]:
    """Standard error of an arm's mean over seeds, and its degrees of freedom."""
    n = len(values)
    mean = max(values.mean(), noise.run / n)
    variance, df = _moderated(noise.run * mean, noise.run_df, values - values.mean(), noise)
    return float(np.sqrt(variance / n)), df


def prediction_error(
    values: Float[np.ndarray, " seeds"], noise: Noise, others: int = ANOTHER
) -> tuple[float, float]:
    """Standard error of the mean of other seeds, seen from these (Patil, Peng and Leek 2016)."""
    error, df = mean_error(values, noise)
    return float(error * np.sqrt(1 + len(values) / others)), df


def ratio_error(
    values: Float[np.ndarray, " seeds"], reference: Float[np.ndarray, " seeds"], noise: Noise
) -> tuple[float, float]:
    """Relative standard error of a ratio of two means, paired by seed, and degrees of freedom.

    Linearised: the relative deviations of both sides add up. An arm that hits nobody counts as if
    it had one hit.
    """
    n = len(values)
    mean, base = (max(side.mean(), noise.residual / n) for side in (values, reference))
    variance = noise.residual * (1 / mean + 1 / base)
    apart = values / mean - reference / base
    variance, df = _moderated(variance, noise.df, apart - apart.mean(), noise)
    return float(np.sqrt(variance / n)), df


def _moderated(
    pooled: float, df: float, own: Float[np.ndarray, " seeds"], noise: Noise
) -> tuple[float, float]:
    """The family's variance, or where families' arms differ, drawn towards the arm's own."""
    if not np.isfinite(noise.prior):
        return pooled, df
    total = noise.prior + len(own) - 1
    return (noise.prior * pooled + float(own @ own)) / total, min(df, total)
