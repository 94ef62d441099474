"""From numbers with their errors to a verdict (docs/statistics.md)."""

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
LEVEL = 0.025  # one-sided: a 95 % interval that lies on one side of a border
DRAWS = 20_000


@dataclass(frozen=True)
class Finding:
    """One number that bears on a claim, its standard error, and where it has to lie."""

    what: str
    region: Region
    estimate: float | None = None  # None where records are missing
    error: float = math.nan  # standard error; not a number where there is none
    df: float = math.inf
    moves: Mapping[Hashable, float] = field(default_factory=dict)  # by each source of noise
    records: tuple[str, ...] = ()  # what the estimate is of
    arms: tuple[Cell, ...] = ()  # whose seeds it is over
    seeds: int = 0
    is_share: bool = False  # between 0 and 1: intervals are those of its logit
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a number with an interval."""
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
        """Half of its width."""
        low, high = self.interval
        return (high - low) / 2

    @cached_property
    def inside(self) -> float:
        """p of lying outside the region or on its border: small where it lies inside."""
        if not self.known:
            return 1.0
        low, high = map(self._apart, self.region)
        return max(self._p(low, self._closed), self._p(-high, self._closed))

    @cached_property
    def outside(self) -> float:
        """p of lying inside, twice as large where there are two borders to lie beyond."""
        if not self.known:
            return 1.0
        low, high = map(self._apart, self.region)
        return min(1.0, min(self._p(-low), self._p(high)) * sum(map(math.isfinite, self.region)))

    def _apart(self, border: float) -> float:
        """How far above a border it lies, in standard errors."""
        apart = self._scaled(self.estimate or 0.0) - self._scaled(border)
        if self._scaled_error == 0:
            return math.copysign(math.inf, apart) if apart else 0.0
        return apart / self._scaled_error

    def _p(self, apart: float, closed: bool = False) -> float:
        """p of being no further than a border, from the distance beyond it; on it if `closed`."""
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
        """Whether it is not known at a (one-sided) level on which side of a border it lies."""
        return min(self.inside, self.outside) > level

    @property
    def border(self) -> float:
        """The border that is nearest."""
        return min(self.region, key=lambda border: abs(self._apart(border)))

    @property
    def distance(self) -> float:
        """From that border, in standard errors."""
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
    """To be read."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def decide(findings: Sequence[Finding], needed: int, level: float = LEVEL) -> Verdict:
    """Whether at least `needed` of some numbers lie in their regions.

    Both answers are tested, each at the level: that so many do, and that so many do not. What no
    test decides is not run where records are missing, else inconclusive.
    """
    too_many = len(findings) - needed + 1  # outside, for the claim to hold
    if _shown(findings, [f.inside for f in findings], needed, level):
        return "reproduced"
    if _shown(findings, [f.outside for f in findings], too_many, level):
        return "not reproduced"
    return "not run" if any(f.estimate is None for f in findings) else "inconclusive"


def _shown(
    findings: Sequence[Finding], p_values: Sequence[float], needed: int, level: float
) -> bool:
    """Whether at least `needed` alternatives are true, at a level; without draws where it can."""
    smallest, others = sorted(p_values)[needed - 1], len(findings) - needed + 1
    if smallest > level or smallest * others <= level:  # no less, and no more than Bonferroni's
        return smallest <= level
    return conjunction(findings, p_values, needed) <= level


def conjunction(findings: Sequence[Finding], p_values: Sequence[float], needed: int) -> float:
    """p of fewer than `needed` alternatives being true (Benjamini and Heller 2008).

    One is true among any `len - needed + 1` of them then; the least favourable are the largest
    p-values, the smallest of which is corrected for having been picked among them, by the joint
    distribution of these numbers (Westfall and Young 1993).
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
    """Draws of these numbers' t statistics where nothing but noise moves them.

    Numbers that have sources of noise in common (runs, or users at a seed) move together. Those
    that name none move on their own.
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
    """Of numbers that the same sources move, by how far."""
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
