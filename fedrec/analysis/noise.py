"""How far chance moves a result: one variance for all arms of a family (docs/statistics.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import fdtrc, polygamma, psi, stdtrit

from fedrec.analysis.crossed import Crossed, Pairing, Values, pairing
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.users import Apart, Known, Shares, apart, of_pair, shares
from fedrec.plan.variants import Variant
from fedrec.records import Record

ENOUGH = 10  # degrees of freedom; with fewer, a family borrows the noise of another one
REJECTED = 0.05  # level of the test of equal variances
ANOTHER = 5  # seeds of another study, as in the paper
FEWEST = 3  # runs that an arm needs in that test

Family = tuple[str, str, Any]  # dataset, model, rounds: arms that share one variance


@dataclass(frozen=True)
class Noise:
    """The effect of chance on one run of a family.

    Dispersions are variances divided by the arm's mean, as for counts: the number of hits varies
    by chance by its root. `residual` is the dispersion around the arm and the seed, which all arms
    have in common; `run` is the one around the arm alone. If records name the users hit, `paired`
    is the factor by which residuals vary more than if chance hit each user on its own. Each has
    degrees of freedom.
    """

    residual: float
    df: float
    run: float
    run_df: float
    arms: int  # with several seeds
    equal: float = float("nan")  # p of equal dispersions (Brown and Forsythe)
    prior: float = float("inf")  # degrees of freedom of `residual` against an arm's own variance
    family: str = ""
    borrowed: bool = False  # from `family`, because there are too few seeds
    paired: float = float("nan")
    paired_df: float = 0.0
    paired_arms: int = 0  # with several seeds, and with users known in every run
    kept: float = float("nan")  # share of its hits that a run shares with another of its arm

    def __str__(self) -> str:
        if self.borrowed:
            return f"noise borrowed from {self.family} because there are too few seeds"
        by, arms, df = "", self.arms, self.df
        if not np.isnan(self.paired):
            by, arms, df = "users and seeds of ", self.paired_arms, self.paired_df
        pooled = f"noise of {self.family} from {by}{arms} arms, {df:.0f} degrees of freedom"
        if np.isnan(self.equal):
            return pooled
        equal = "variances are equal" if np.isinf(self.prior) else "each arm's own counts too"
        return f"{pooled} ({equal}: p = {self.equal:.2g})"

    def of_users(self, apart: Apart) -> tuple[float, float]:
        """Return the variance from users' differences, and its df (for a product of estimates)."""
        return self.paired * apart.variance, 1 / (1 / self.paired_df + 1 / apart.df)


class Noises:
    """The noise of each family of arms among some records."""

    def __init__(self, records: Iterable[Record], measure: Measure) -> None:
        self._records, self.measure = list(records), measure
        self._shares: dict[int, Shares | None] = {}  # by the id of a record

    @cached_property
    def _own(self) -> dict[Family, Noise]:
        families: dict[Family, list[tuple[Values, Known | None]]] = {}
        for runs in by_arm(self._records).values():
            values = {run.cell.seed: self.measure(run) for run in runs}
            families.setdefault(family(runs[0]), []).append((values, self.users(runs)))
        fitted = {key: fit(*zip(*arms, strict=True)) for key, arms in families.items()}
        return {
            key: replace(noise, family=", ".join(key[:2])) for key, noise in fitted.items() if noise
        }

    @cached_property
    def _users(self) -> Mapping[str, int]:
        """For each dataset the highest user hit, plus one."""
        found: dict[str, int] = {}
        for record in self._records:
            hit = [user for hits in (record.hits or {}).values() for user in hits.user]
            found[record.cell.dataset] = max(
                found.get(record.cell.dataset, 0), max(hit, default=-1) + 1
            )
        return found

    def of(self, record: Record) -> Noise | None:
        """Return the noise of a record's family, or of another one if it has too few seeds.

        Borrowed is the largest dispersion of all families; None if no family has one.
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
            paired=max(*paired, 1.0) if paired else float("nan"),  # at least what users show
            kept=own.kept if own else float("nan"),
        )

    def users(self, runs: Sequence[Record]) -> Known | None:
        """Return each user's share of the results of an arm's runs, by seed; None if unknown."""
        found = {run.cell.seed: self._share(run) for run in runs}
        known = {seed: share for seed, share in found.items() if share is not None}
        return known if len(known) == len(found) else None

    def _share(self, run: Record) -> Shares | None:
        """Return each user's share of a run's result, computed once: most arms are used often."""
        if id(run) not in self._shares:
            self._shares[id(run)] = shares(run, self.measure, self._users[run.cell.dataset])
        return self._shares[id(run)]

    def pair(self, arm: Sequence[Record], reference: Sequence[Record]) -> Apart | None:
        """Return how far users differ between two arms; None if unknown."""
        noise = self.of(reference[0])
        if noise is None or np.isnan(noise.paired):
            return None
        ours, theirs = self.users(arm), self.users(reference)
        return of_pair(ours, theirs, noise.kept) if ours and theirs else None

    def sum(self, arms: Sequence[Sequence[Record]], weights: Sequence[float]) -> Apart | None:
        """Return how far users vary in a weighted sum of arms; None if unknown."""
        noise, users = self.of(arms[0][0]), [self.users(runs) for runs in arms]
        known = [arm for arm in users if arm]
        if noise is None or np.isnan(noise.paired) or len(known) < len(users):
            return None
        return apart(known, weights)

    def mean(self, runs: Sequence[Record]) -> tuple[float, float]:
        """Return the mean of an arm's runs, and half of its 95 % interval (NaN if it has none)."""
        values, noise = np.array([self.measure(run) for run in runs]), self.of(runs[0])
        half = half_of(*mean_error(values, noise)) if noise else float("nan")
        return float(values.mean()), half


def half_of(error: float, df: float) -> float:
    """Return half of a 95 % interval (Student's t); NaN without degrees of freedom."""
    return float(stdtrit(df, 0.975) * error) if df > 0 else float("nan")


def family(record: Record) -> Family:
    """Return dataset, model and number of rounds: arms with these in common share a variance."""
    rounds = record.config.get("protocol", {}).get("rounds")
    return record.cell.dataset, Variant.parse(record.cell.model).base, rounds


def fit(arms: Sequence[Values], users: Sequence[Known | None] = ()) -> Noise | None:
    """Estimate the noise of arms from their results by seed; None if no arm has two results.

    It uses Pearson's residuals around arms and seeds, which are crossed: with every seed in every
    arm they have (arms - 1)(seeds - 1) degrees of freedom. Baselines that arms share drop out with
    the seeds. `users` are each user's shares of these results. An arm whose users are None counts
    in all estimates but those from users.
    """
    several = [i for i, arm in enumerate(arms) if len(arm) > 1 and sum(arm.values()) > 0]
    if not several:
        return None
    every = Crossed.of([arms[i] for i in several])
    runs, left, df = every.runs, every.squares, every.df
    within, runs_df = float(runs.away @ runs.away), every.runs_df
    if df < 1:  # the effects of seeds and runs cannot be separated
        run = within / runs_df
        return Noise(run, float(runs_df), run, float(runs_df), len(several))
    known = {i: users[i] for i in several if users and users[i]}
    part = every if len(known) == len(several) else _shown(arms, list(known))
    pairs = pairing(part, [k for k in known.values() if k]) if part else Pairing()
    groups = (part or every).groups(pairs.scale)
    p = equal(groups)
    return Noise(
        residual=left / df,
        df=float(df),
        run=within / runs_df,
        run_df=_satterthwaite(within - left, every.basis.shape[1], left, df),
        arms=len(several),
        equal=p,
        prior=prior(groups) if p < REJECTED else float("inf"),
        paired=pairs.dispersion,
        paired_df=pairs.df,
        paired_arms=len(known) if part else 0,
        kept=pairs.kept,
    )


def _shown(arms: Sequence[Values], known: Sequence[int]) -> Crossed | None:
    """Return the runs of the arms whose users are known; None if these are too few.

    The users of an arm are unknown if one of its runs hits no user. It is left out as a whole:
    without its lowest run, it would seem to vary less than it does.
    """
    found = Crossed.of([arms[i] for i in known]) if known else None
    return found if found and found.df > 0 else None


def _satterthwaite(seeds: float, seeds_df: int, left: float, df: int) -> float:
    """Return the degrees of freedom of the sum of two independent sums of squares."""
    spread = left**2 / df + (seeds**2 / seeds_df if seeds_df else 0.0)
    return (seeds + left) ** 2 / spread if spread else float(df)


def equal(groups: Sequence[Float[np.ndarray, " _"]]) -> float:
    """Return the p-value of the test of Brown and Forsythe: of arms with `FEWEST` runs or more.

    It is that of `scipy.stats.levene`, which takes as long to import as a table to make.
    """
    large = [group for group in groups if len(group) >= FEWEST]
    if len(large) < 2 or not any(np.ptp(group) > 0 for group in large):
        return float("nan")
    away = [np.abs(group - np.median(group)) for group in large]
    every = np.concatenate(away)
    means = np.concatenate([np.full(len(each), each.mean()) for each in away])
    between, within = ((means - every.mean()) ** 2).sum(), ((every - means) ** 2).sum()
    df, rest = len(large) - 1, len(every) - len(large)
    return float(fdtrc(df, rest, between / df / (within / rest)))


def prior(groups: Sequence[Float[np.ndarray, " _"]]) -> float:
    """Return the degrees of freedom of a common variance against an arm's own (Smyth 2004).

    They follow from how far the arms' variances differ beyond chance; infinite if they do not.
    """
    from scipy.optimize import brentq  # slow to import, and seldom needed

    half = np.array([(len(group) - 1) / 2 for group in groups])
    squares = np.array([max(float(group @ group), 1e-300) for group in groups])
    logarithms = np.log(squares / (2 * half)) - psi(half) + np.log(half)
    excess = logarithms.var(ddof=1) - polygamma(1, half).mean()
    if not excess > polygamma(1, 1e6):
        return float("inf")
    return float(2 * brentq(lambda x: polygamma(1, x) - excess, 1e-6, 1e6))


def mean_error(values: Float[np.ndarray, " seeds"], noise: Noise) -> tuple[float, float]:
    """Return the standard error of an arm's mean over seeds, and its degrees of freedom."""
    n = len(values)
    mean = max(values.mean(), noise.run / n)
    variance, df = _moderated(noise.run * mean, noise.run_df, values - values.mean(), noise)
    return float(np.sqrt(variance / n)), df


def prediction_error(
    values: Float[np.ndarray, " seeds"], noise: Noise, others: int = ANOTHER
) -> tuple[float, float]:
    """Return the standard error of the mean of other seeds (Patil, Peng and Leek 2016), and its df.

    It is predicted from these seeds' `values`.
    """
    error, df = mean_error(values, noise)
    return float(error * np.sqrt(1 + len(values) / others)), df


def ratio_error(
    values: Float[np.ndarray, " seeds"], reference: Float[np.ndarray, " seeds"], noise: Noise
) -> tuple[float, float]:
    """Return the relative standard error of a ratio of two means, paired by seed, and its df.

    The ratio is linearised: the relative deviations of both sides add up. An arm without hits
    counts as if it had one.
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
    """Return the same as `ratio_error`, from how far users differ between the two sides."""
    own = values / values.mean() - reference / reference.mean()
    variance, df = _moderated(*noise.of_users(users), own, noise)
    return float(np.sqrt(variance / len(values))), df


def _moderated(
    pooled: float, df: float, own: Float[np.ndarray, " seeds"], noise: Noise
) -> tuple[float, float]:
    """Return the family's variance, shrunk towards the arm's own if the arms' variances differ."""
    if not np.isfinite(noise.prior):
        return pooled, df
    total = noise.prior + len(own) - 1
    return (noise.prior * pooled + float(own @ own)) / total, min(df, total)
