"""Runs by arm and seed, which are crossed factors, and by the users hit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.sparse import csr_array

from fedrec.analysis.users import Known, again

Values = Mapping[int, float]  # an arm's results, by seed


@dataclass(frozen=True)
class Runs:
    """Runs with Pearson residuals: a run's distance from its arm's mean, over the mean's root."""

    away: Float[np.ndarray, " runs"]
    arm: Int[np.ndarray, " runs"]
    seed: Int[np.ndarray, " runs"]
    root: Float[np.ndarray, " runs"]

    def centred(self, values: Float[np.ndarray, "runs *_"]) -> Float[np.ndarray, "runs *_"]:
        """Subtract from each run's values the mean of its arm."""
        member = (self.arm[:, None] == np.unique(self.arm)).astype(float)
        means: np.ndarray = (member.T @ values).T / member.sum(axis=0)
        return values - means.T[self.arm]

    def without(
        self, basis: Float[np.ndarray, "runs seeds"], values: Float[np.ndarray, "runs *_"]
    ) -> Float[np.ndarray, "runs *_"]:
        """Return values without their arms' means and without the effects of seeds."""
        left = self.centred(values)
        return left - basis @ (basis.T @ left)

    def by_arm(self, values: Num[np.ndarray, "runs *_"]) -> list[Num[np.ndarray, "_ *_"]]:
        """Return the values of each arm."""
        return [values[self.arm == i] for i in np.unique(self.arm)]


@dataclass(frozen=True)
class Crossed:
    """The runs of some arms, and their residuals beyond the effects of arms and seeds."""

    runs: Runs
    basis: Float[np.ndarray, "runs seeds"]
    residuals: Float[np.ndarray, " runs"]

    @staticmethod
    def of(arms: Sequence[Values]) -> "Crossed":
        """Return the residuals of arms' runs; each arm's mean result must be above zero."""
        runs = pearson(arms)
        basis = lifts(runs)
        return Crossed(runs, basis, runs.without(basis, runs.away))

    @property
    def squares(self) -> float:
        """The sum of the squared residuals."""
        return float(self.residuals @ self.residuals)

    @property
    def runs_df(self) -> int:
        """The degrees of freedom of runs around their arms."""
        return len(self.runs.away) - len(np.unique(self.runs.arm))

    @property
    def df(self) -> int:
        """The degrees of freedom of the residuals."""
        return self.runs_df - self.basis.shape[1]

    def groups(self, scale: Float[np.ndarray, " runs"] | float) -> list[Float[np.ndarray, " _"]]:
        """Return the residuals of each arm, divided by their scale."""
        return self.runs.by_arm(self.residuals / scale)


@dataclass(frozen=True)
class Pairing:
    """How much results vary compared with what users show; NaN if the users hit are unknown."""

    dispersion: float = float("nan")
    df: float = 0.0
    kept: float = float("nan")
    scale: Float[np.ndarray, " runs"] | float = 1.0  # of residuals, from each arm's users


def pearson(arms: Sequence[Values]) -> Runs:
    """Return the residuals of arms' runs; each arm's mean result must be above zero."""
    arm = np.repeat(np.arange(len(arms)), [len(values) for values in arms])
    seeds = np.array([seed for values in arms for seed in values])
    results = np.array([result for values in arms for result in values.values()])
    means = np.array([np.mean(list(values.values())) for values in arms])[arm]
    seed = np.unique(seeds, return_inverse=True)[1]
    return Runs((results - means) / np.sqrt(means), arm, seed, np.sqrt(means))


def lifts(runs: Runs) -> Float[np.ndarray, "runs seeds"]:
    """Return an orthonormal basis of the seed effects: each lifts all arms by one share."""
    lifts = (runs.seed[:, None] == np.unique(runs.seed)) * runs.root[:, None]
    left, sizes, _ = np.linalg.svd(runs.centred(lifts), full_matrices=False)
    basis: np.ndarray = left[:, sizes > 1e-9 * max(sizes[0], np.finfo(float).tiny)]
    return basis


def pairing(found: Crossed, users: Sequence[Known]) -> Pairing:
    """Divide the squares of residuals by those expected from users (Satterthwaite's df)."""
    runs, basis = found.runs, found.basis
    rows = np.array([share for arm in users for share in arm.values()])
    expected = runs.without(basis, _covariance(runs, rows))
    total = float(np.trace(expected))
    if not total > 0:
        return Pairing()
    diagonal = np.diag(runs.without(basis, expected.T))  # of M S M, with the projection M
    plain = np.diag(runs.without(basis, np.eye(len(rows))))
    sums = [[arm.sum() for arm in runs.by_arm(values)] for values in (diagonal, plain)]
    scale = np.sqrt(np.maximum(sums[0], 1e-12 * total) / np.maximum(sums[1], 1e-12))
    kept = [again(arm) / (arm**2).sum(axis=1).mean() for arm in runs.by_arm(rows)]
    df = total**2 / float((expected * expected.T).sum())
    return Pairing(found.squares / total, df, float(np.mean(kept)), scale[runs.arm])


def _covariance(
    runs: Runs, rows: Float[np.ndarray, "runs users"]
) -> Float[np.ndarray, "runs runs"]:
    """Estimate from users the covariance of same-seed residuals: chance hits each user on its own.

    The estimate is unbiased: it corrects for deviations from the means of n and m runs, some of
    the same seeds, which are too small.
    """
    hit = csr_array(rows)  # few users are hit
    beyond = runs.centred(runs.centred((hit @ hit.T).toarray()).T)  # products of centred rows
    seeds = range(runs.seed.max() + 1)
    has = np.array([np.isin(seeds, arm).astype(float) for arm in runs.by_arm(runs.seed)])
    common, size = has @ has.T, has.sum(axis=1)
    seen = 1 - 1 / size - 1 / size[:, None] + common / np.outer(size, size)
    same = runs.seed[:, None] == runs.seed
    factor = np.where(same, 1 / seen[runs.arm][:, runs.arm], 0.0)
    found: np.ndarray = beyond * factor * np.outer(runs.root, runs.root)
    return found
