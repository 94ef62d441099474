"""Verdicts from numbers and their errors (docs/statistics.md)."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit, stdtr, stdtrit

from fedrec.plan.cells import Cell

NO_RECORD = "no record"
Verdict = Literal["reproduced", "not reproduced", "too close to call", "inconclusive", "not run"]
Region = tuple[float, float]
LEVEL = 0.025  # one-sided: a 95 % interval lies on one side of a border
DRAWS = 20_000


@dataclass(frozen=True)
class Finding:
    """One number for a claim, its standard error, and the region in which it must lie."""

    what: str
    region: Region
    estimate: float | None = None  # None if records are missing
    error: float = math.nan  # standard error; NaN if there is none
    df: float = math.inf
    moves: Mapping[Hashable, float] = field(default_factory=dict)  # by each source of noise
    records: tuple[str, ...] = ()  # behind the estimate
    arms: tuple[Cell, ...] = ()  # whose seeds are averaged
    seeds: int = 0
    is_share: bool = False  # between 0 and 1: the interval is computed for its logit
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether the number has an interval."""
        return self.estimate is not None and not math.isnan(self.error)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval."""
        middle, error = self._scaled(self.estimate or 0.0), self._scaled_error
        half = float(stdtrit(self.df, 0.975)) * error if error else 0.0
        low, high = (
            float(expit(x)) if self.is_share else x for x in (middle - half, middle + half)
        )
        return low, high

    @property
    def half(self) -> float:
        """Half of the width of the 95 % interval."""
        low, high = self.interval
        return (high - low) / 2

    @cached_property
    def inside(self) -> float:
        """p-value of lying outside the region or on its border: small if it lies inside."""
        if not self.known:
            return 1.0
        low, high = map(self._apart, self.region)
        return max(self._p(low, self._closed), self._p(-high, self._closed))

    @cached_property
    def outside(self) -> float:
        """p-value of lying inside the region; doubled if the region has two borders."""
        if not self.known:
            return 1.0
        low, high = map(self._apart, self.region)
        return min(1.0, min(self._p(-low), self._p(high)) * sum(map(math.isfinite, self.region)))

    def _apart(self, border: float) -> float:
        """Return how far the estimate is above a border, in standard errors."""
        apart = self._scaled(self.estimate or 0.0) - self._scaled(border)
        if self._scaled_error == 0:
            return math.copysign(math.inf, apart) if apart else 0.0
        return apart / self._scaled_error

    def _p(self, apart: float, closed: bool = False) -> float:
        """Return the p-value of not being beyond a border, or on it if `closed`, from the distance.

        `apart` is the distance beyond the border, in standard errors.
        """
        if apart == 0 and self._scaled_error == 0:
            return float(not closed)
        return float(stdtr(self.df, -apart))

    def _scaled(self, value: float) -> float:
        if not self.is_share:
            return value
        return float(logit(min(max(value, 0.0), 1.0)))

    @property
    def _scaled_error(self) -> float:
        if not self.is_share or self.error == 0:
            return self.error
        estimate = self.estimate or 0.0
        return self.error / (estimate * (1 - estimate))

    @property
    def _closed(self) -> bool:
        """Whether borders belong to the region: those of a half-line do not."""
        return all(map(math.isfinite, self.region))

    def open(self, level: float) -> bool:
        """Return whether the side of a border is undecided at a one-sided level."""
        return min(self.inside, self.outside) > level

    @property
    def border(self) -> float:
        """The nearest border."""
        return min(self.region, key=lambda border: abs(self._apart(border)))

    @property
    def distance(self) -> float:
        """The distance from the nearest border, in standard errors."""
        return abs(self._apart(self.border))

    def __str__(self) -> str:
        if self.estimate is None:
            return f"{self.what}: {NO_RECORD}"
        text = f"{self.what}: {number(self.estimate)}"
        if math.isnan(self.error):
            return f"{text} ({self.note or 'no interval'})"
        low, high = self.interval
        shown = text if low == high else f"{text} [{number(low)}, {number(high)}]"
        return f"{shown} ({self.note})" if self.note else shown


def number(value: float) -> str:
    """Format a number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def decide(findings: Sequence[Finding], needed: int, level: float = LEVEL) -> Verdict:
    """Decide whether at least `needed` of some numbers lie in their regions.

    Both answers are tested at the level: that enough numbers lie inside, and that too few do. If
    neither test succeeds, the verdict is `not run` if records are missing, else `inconclusive`.
    """
    too_many = len(findings) - needed + 1  # this many outside refute the claim
    if _shown(findings, [f.inside for f in findings], needed, level):
        return "reproduced"
    if _shown(findings, [f.outside for f in findings], too_many, level):
        return "not reproduced"
    return "not run" if any(f.estimate is None for f in findings) else "inconclusive"


def _shown(
    findings: Sequence[Finding], p_values: Sequence[float], needed: int, level: float
) -> bool:
    """Return whether at least `needed` alternatives are true at a level; draw only if necessary."""
    smallest, others = sorted(p_values)[needed - 1], len(findings) - needed + 1
    if smallest > level or smallest * others <= level:  # the bounds without draws: Bonferroni's
        return smallest <= level
    return conjunction(findings, p_values, needed) <= level


def conjunction(findings: Sequence[Finding], p_values: Sequence[float], needed: int) -> float:
    """Return the p-value of fewer than `needed` true alternatives (Benjamini and Heller 2008).

    In that case, at least one null hypothesis is true among any `len - needed + 1` numbers. The
    least favourable have the largest p-values. The smallest of these is corrected for having been
    picked among them, by the joint distribution of the numbers (Westfall and Young 1993).
    """
    order = np.argsort(p_values, kind="stable")[needed - 1 :]
    smallest = p_values[order[0]]
    if len(order) == 1 or smallest in (0.0, 1.0):
        return float(smallest)
    picked = [findings[i] for i in order]
    df = min(finding.df for finding in picked)
    drawn = joint(picked, df).max(axis=0)
    return float((drawn >= stdtrit(df, 1 - smallest)).mean())


def joint(findings: Sequence[Finding], df: float) -> Float[np.ndarray, "findings draws"]:
    """Draw the t statistics of these numbers if nothing but noise moves them.

    Numbers with common sources of noise (runs, or users at a seed) are correlated. Numbers without
    named sources are independent.
    """
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(_correlations(findings))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = root @ rng.standard_normal((len(findings), DRAWS))
    if np.isinf(df):
        return noise
    scaled: np.ndarray = noise / np.sqrt(rng.chisquare(df, DRAWS) / df)
    return scaled


def _correlations(findings: Sequence[Finding]) -> Float[np.ndarray, "findings findings"]:
    """Return the correlations of numbers, from the sources of noise that they share."""
    sources = {
        source: i for i, source in enumerate(dict.fromkeys(s for f in findings for s in f.moves))
    }
    moved = np.zeros((len(findings), len(sources)))
    for row, finding in zip(moved, findings, strict=True):
        row[[sources[source] for source in finding.moves]] = list(finding.moves.values())
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), np.finfo(float).tiny)
    found = moved @ moved.T
    np.fill_diagonal(found, 1.0)
    return found
