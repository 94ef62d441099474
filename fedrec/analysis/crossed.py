"""Runs by arm and seed, which are crossed, and by whom they hit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from fedrec.analysis.users import Known, again

Values = Mapping[int, float]  # of an arm, by seed


@dataclass(frozen=True)
class Runs:
    """Each run's distance from its arm's mean, by the root of that mean (Pearson's residual)."""

    away: Float[np.ndarray, " runs"]
    arm: Int[np.ndarray, " runs"]
    seed: Int[np.ndarray, " runs"]
    root: Float[np.ndarray, " runs"]

    def centred(self, values: Float[np.ndarray, "runs *_"]) -> Float[np.ndarray, "runs *_"]:
        """Values of runs less the mean of their arm."""
        member = (self.arm[:, None] == np.unique(self.arm)).astype(float)
        means: np.ndarray = (member.T @ values).T / member.sum(axis=0)
        return values - means.T[self.arm]

    def without(
        self, basis: Float[np.ndarray, "runs seeds"], values: Float[np.ndarray, "runs *_"]
    ) -> Float[np.ndarray, "runs *_"]:
        """What is left of values without their arms' means and what seeds lift."""
        left = self.centred(values)
        return left - basis @ (basis.T @ left)

    def by_arm(self, values: Num[np.ndarray, "runs *_"]) -> list[Num[np.ndarray, "_ *_"]]:
        """The values of each arm."""
        return [values[self.arm == i] for i in np.unique(self.arm)]


@dataclass(frozen=True)
class Pairing:
    """How results differ over what users show; nothing where it is not known whom runs hit."""

    dispersion: float = float("nan")
    df: float = 0.0
    kept: float = float("nan")
    scale: Float[np.ndarray, " runs"] | float = 1.0  # of residuals, by what users show of each arm


def pearson(arms: Sequence[Values]) -> Runs:
    """Runs of arms with their results, the mean of which is above zero."""
    arm = np.repeat(np.arange(len(arms)), [len(values) for values in arms])
    seeds = np.array([seed for values in arms for seed in values])
    results = np.array([result for values in arms for result in values.values()])
    means = np.array([np.mean(list(values.values())) for values in arms])[arm]
    seed = np.unique(seeds, return_inverse=True)[1]
    return Runs((results - means) / np.sqrt(means), arm, seed, np.sqrt(means))


def lifts(runs: Runs) -> Float[np.ndarray, "runs seeds"]:
    """An orthonormal basis of what seeds can do: each lifts all arms by its own share."""
    lifts = (runs.seed[:, None] == np.unique(runs.seed)) * runs.root[:, None]
    left, sizes, _ = np.linalg.svd(runs.centred(lifts), full_matrices=False)
    basis: np.ndarray = left[:, sizes > 1e-9 * max(sizes[0], np.finfo(float).tiny)]
    return basis


def pairing(
    runs: Runs, basis: Float[np.ndarray, "runs seeds"], users: Sequence[Known], left: float
) -> Pairing:
    """The squares that are left over those that users let expect; Satterthwaite's freedom."""
    rows = np.array([share for arm in users for share in arm.values()])
    expected = runs.without(basis, _covariance(runs, rows))
    total = float(np.trace(expected))
    if not total > 0:
        return Pairing()
    diagonal = np.diag(runs.without(basis, expected.T))  # of M S M, for the projection M
    plain = np.diag(runs.without(basis, np.eye(len(rows))))
    sums = [[arm.sum() for arm in runs.by_arm(values)] for values in (diagonal, plain)]
    scale = np.sqrt(np.maximum(sums[0], 1e-12 * total) / np.maximum(sums[1], 1e-12))
    kept = [again(arm) / (arm**2).sum(axis=1).mean() for arm in runs.by_arm(rows)]
    df = total**2 / float((expected * expected.T).sum())
    return Pairing(left / total, df, float(np.mean(kept)), scale[runs.arm])


def _covariance(
    runs: Runs, rows: Float[np.ndarray, "runs users"]
) -> Float[np.ndarray, "runs runs"]:
    """What users show of how residuals of one seed move together: each is hit on its own.

    Unbiased: deviations from means of n and m runs, some of the same seeds, are too small.
    """
    beyond = runs.centred(rows)
    seeds = range(runs.seed.max() + 1)
    has = np.array([np.isin(seeds, arm).astype(float) for arm in runs.by_arm(runs.seed)])
    common, size = has @ has.T, has.sum(axis=1)
    seen = 1 - 1 / size - 1 / size[:, None] + common / np.outer(size, size)
    same = runs.seed[:, None] == runs.seed
    factor = np.where(same, 1 / seen[runs.arm][:, runs.arm], 0.0)
    found: np.ndarray = beyond @ beyond.T * factor * np.outer(runs.root, runs.root)
    return found
