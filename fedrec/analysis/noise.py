"""How far chance moves a result: one variance for all arms of a family (docs/statistics.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import polygamma, psi, stdtrit
from scipy.stats import levene

from fedrec.analysis.crossed import Pairing, Values, lifts, pairing, pearson
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.users import Apart, Known, apart, of_pair, shares
from fedrec.plan.variants import Variant
from fedrec.records import Record

ENOUGH = 10  # degrees of freedom below which a family borrows the noise of another
REJECTED = 0.05  # by the test of equal variances
ANOTHER = 5  # seeds of another study, as the paper's
FEWEST = 3  # runs of an arm in that test

Family = tuple[str, str, Any]  # dataset, model, rounds: arms that share one variance


@dataclass(frozen=True)
class Noise:
    """What chance does to one run of a family.

    Dispersions are variances over the arm's mean, as for counts: hits that come and go by chance
    vary by the root of their number. `residual` is about the arm and the seed, which all arms have
    in common; `run` about the arm alone. Where records say whom runs hit, `paired` is by how much
    residuals vary more than if chance hit each user on its own. All have degrees of freedom.
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
    paired: float = float("nan")
    paired_df: float = 0.0
    kept: float = float("nan")  # share of its hits that a run has in common with another of its arm

    def __str__(self) -> str:
        if self.borrowed:
            return f"noise borrowed from {self.family} for want of seeds"
        by, df = ("", self.df) if np.isnan(self.paired) else ("users and seeds of ", self.paired_df)
        pooled = f"noise of {self.family} from {by}{self.arms} arms, {df:.0f} degrees of freedom"
        if np.isnan(self.equal):
            return pooled
        equal = "variances are equal" if np.isinf(self.prior) else "each arm's own counts too"
        return f"{pooled} ({equal}: p = {self.equal:.2g})"

    def of_users(self, apart: Apart) -> tuple[float, float]:
        """Variance of what users set apart, and degrees of freedom: of a product of estimates."""
        return self.paired * apart.variance, 1 / (1 / self.paired_df + 1 / apart.df)


class Noises:
    """The noise of each family of arms among some records."""

    def __init__(self, records: Iterable[Record], measure: Measure) -> None:
        records = list(records)
        self.measure, self._users = measure, _users(records)
        families: dict[Family, list[tuple[Values, Known | None]]] = {}
        for runs in by_arm(records).values():
            values = {run.cell.seed: measure(run) for run in runs}
            families.setdefault(family(runs[0]), []).append((values, self.users(runs)))
        fitted = {key: fit(*zip(*arms, strict=True)) for key, arms in families.items()}
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
        paired = [n.paired for n in (*known, own) if n and not np.isnan(n.paired)]
        return replace(
            largest,
            residual=residual,
            run=run,
            borrowed=True,
            paired=max(*paired, 1.0) if paired else float("nan"),  # no less than users show
            kept=own.kept if own else float("nan"),
        )

    def users(self, runs: Sequence[Record]) -> Known | None:
        """What each user adds to some runs of an arm, by seed; None if it is not known of all."""
        count = self._users[runs[0].cell.dataset]
        found = {run.cell.seed: shares(run, self.measure, count) for run in runs}
        known = {seed: share for seed, share in found.items() if share is not None}
        return known if len(known) == len(found) else None

    def pair(self, arm: Sequence[Record], reference: Sequence[Record]) -> Apart | None:
        """How far users set two arms apart; None if it is not known."""
        noise = self.of(reference[0])
        if noise is None or np.isnan(noise.paired):
            return None
        ours, theirs = self.users(arm), self.users(reference)
        return of_pair(ours, theirs, noise.kept) if ours and theirs else None

    def sum(self, arms: Sequence[Sequence[Record]], weights: Sequence[float]) -> Apart | None:
        """How far users set a weighted sum of arms apart; None if it is not known."""
        noise, users = self.of(arms[0][0]), [self.users(runs) for runs in arms]
        known = [arm for arm in users if arm]
        if noise is None or np.isnan(noise.paired) or len(known) < len(users):
            return None
        return apart(known, weights)

    def mean(self, runs: Sequence[Record]) -> tuple[float, float]:
        """The mean of an arm's runs, and half of its 95 % interval, if it has one."""
        values, noise = np.array([self.measure(run) for run in runs]), self.of(runs[0])
        half = half_of(*mean_error(values, noise)) if noise else float("nan")
        return float(values.mean()), half


def _users(records: Iterable[Record]) -> Mapping[str, int]:
    """One more than the last user who is hit, by dataset."""
    found: dict[str, int] = {}
    for record in records:
        hit = [user for hits in (record.hits or {}).values() for user in hits.user]
        found[record.cell.dataset] = max(
            found.get(record.cell.dataset, 0), max(hit, default=-1) + 1
        )
    return found


def half_of(error: float, df: float) -> float:
    """Half of a 95 % interval (Student's t); missing where there are no degrees of freedom."""
    return float(stdtrit(df, 0.975) * error) if df > 0 else float("nan")


def family(record: Record) -> Family:
    """The dataset, the model and the length of training: arms that share one variance."""
    rounds = record.config.get("protocol", {}).get("rounds")
    return record.cell.dataset, Variant.parse(record.cell.model).base, rounds


def fit(arms: Sequence[Values], users: Sequence[Known | None] = ()) -> Noise | None:
    """The noise of arms from their results by seed; None where no arm has two.

    Pearson's residuals about arms and seeds, which are crossed: with every seed in every arm, of
    (arms - 1)(seeds - 1) degrees of freedom. Whatever baseline arms share drops out with them.
    `users` are what each user adds to these results.
    """
    several = [i for i, arm in enumerate(arms) if len(arm) > 1 and sum(arm.values()) > 0]
    if not several:
        return None
    runs = pearson([arms[i] for i in several])
    basis, within = lifts(runs), float(runs.away @ runs.away)
    runs_df, rank = len(runs.away) - len(several), basis.shape[1]
    df = runs_df - rank
    if df < 1:  # seeds cannot be told from runs
        run = within / runs_df
        return Noise(run, float(runs_df), run, float(runs_df), len(several))
    residuals = runs.without(basis, runs.away)
    left = float(residuals @ residuals)
    known = [users[i] for i in several] if users else [None]
    pairs = pairing(runs, basis, [k for k in known if k], left) if all(known) else Pairing()
    groups = runs.by_arm(residuals / pairs.scale)
    equal = _equal(groups)
    return Noise(
        residual=left / df,
        df=float(df),
        run=within / runs_df,
        run_df=_satterthwaite(within - left, rank, left, df),
        arms=len(several),
        equal=equal,
        prior=prior(groups) if equal < REJECTED else float("inf"),
        paired=pairs.dispersion,
        paired_df=pairs.df,
        kept=pairs.kept,
    )


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
    own = values / mean - reference / base
    variance, df = _moderated(variance, noise.df, own - own.mean(), noise)
    return float(np.sqrt(variance / n)), df


def paired_error(
    values: Float[np.ndarray, " seeds"],
    reference: Float[np.ndarray, " seeds"],
    users: Apart,
    noise: Noise,
) -> tuple[float, float]:
    """The same, from how far users set the two sides apart."""
    own = values / values.mean() - reference / reference.mean()
    variance, df = _moderated(*noise.of_users(users), own, noise)
    return float(np.sqrt(variance / len(values))), df


def _moderated(
    pooled: float, df: float, own: Float[np.ndarray, " seeds"], noise: Noise
) -> tuple[float, float]:
    """The family's variance, or where families' arms differ, drawn towards the arm's own."""
    if not np.isfinite(noise.prior):
        return pooled, df
    total = noise.prior + len(own) - 1
    return (noise.prior * pooled + float(own @ own)) / total, min(df, total)
