"""What records say of a number that a claim rests on, with its 95 % interval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from fedrec.analysis.statistics import RESAMPLES, half_width, loss
from fedrec.analysis.summary import by_arm
from fedrec.outline import Scorecard, Section
from fedrec.records import BASELINE, PLAIN, Cell, Record, Report, Uploads, cell_path

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
Region = tuple[float, float]


class Finding(Section):
    """One number that bears on a claim, with its 95 % interval, and where it has to lie."""

    what: str
    estimate: float | None  # None where records are missing
    low: float | None = None  # None where there is no interval
    high: float | None = None
    region: Region
    records: tuple[str, ...] = ()  # what the estimate is of

    @property
    def verdict(self) -> Verdict:
        """Whether the interval lies inside the region, outside, or across its border.

        The end of a half-line does not belong to it: no difference is neither better nor worse.
        """
        if self.estimate is None:
            return "not run"
        if self.low is None or self.high is None:
            return "inconclusive"
        lower, upper = self.region
        closed = lower <= self.low and self.high <= upper
        if closed and (np.isfinite(self.region).all() or (lower < self.low and self.high < upper)):
            return "reproduced"
        apart = self.high < lower or upper < self.low
        return "not reproduced" if apart else "inconclusive"

    def __str__(self) -> str:
        if self.estimate is None:
            return f"{self.what}: no record"
        text = f"{self.what}: {_number(self.estimate)}"
        if self.low is None or self.high is None:
            return f"{text} (no interval)"
        if self.low == self.high == self.estimate:
            return text
        return f"{text} [{_number(self.low)}, {_number(self.high)}]"


class Evidence:
    """Records by arm, and dataset sizes, under the names that claims use."""

    def __init__(
        self,
        records: Iterable[Record],
        counts: Mapping[str, Mapping[str, int]],
        card: Scorecard,
        regions: Mapping[str, Region],
        report: Report,
    ) -> None:
        self._arms, self._counts = by_arm(records), counts
        self._datasets, self._regions, self._report = card.datasets, regions, report

    def loss(self, arm: Cell, reference: Cell, metric: str, within: str) -> Finding:
        """The loss (%) of an arm against another one."""
        what, region = f"{_differing(arm, reference)}, % lost", self._regions[within]
        ours, theirs = self._of(arm), self._of(reference)
        try:
            found = loss(ours, theirs, metric, self._report)
        except ValueError:
            return Finding(what=what, estimate=None, region=region)
        interval = (found.low, found.high)
        return _finding(what, found.percent, interval, region, _names([*ours, *theirs]))

    def uploads(self, arm: Cell, measure: Any, name: str, within: str) -> Finding:
        """A measure over rounds, resampled."""
        region, seen = self._regions[within], [r for r in self._of(arm) if r.uploads]
        rounds = [value for r in seen for value in measure(r.uploads, r.config)]
        what = f"{name} under {arm.defense}"
        if not rounds:
            return Finding(what=what, estimate=None, region=region)
        interval = _bootstrap(np.array(rounds))
        return _finding(what, float(np.mean(rounds)), interval, region, _names(seen))

    def spread(self, arms: Sequence[Cell], others: Sequence[Cell]) -> Finding:
        """The difference of the standard deviations of two sets of means (%), over seeds."""
        what, region = "difference of spreads, % of the mean", (-np.inf, 0.0)
        sides = [[self._of(cell) for cell in cells] for cells in (arms, others)]
        seeds = set.intersection(
            *({r.cell.seed for r in found} for side in sides for found in side)
        )
        if not seeds:
            return Finding(what=what, estimate=None, region=region)
        spreads = [self._spreads(side, sorted(seeds)) for side in sides]
        differences = spreads[0] - spreads[1]
        interval = _t_interval(differences)
        used = _names(r for side in sides for found in side for r in found if r.cell.seed in seeds)
        return _finding(what, float(differences.mean()), interval, region, used)

    def count(self, dataset: str, name: str, stated: int) -> Finding:
        """A dataset's count: exact or not."""
        used = self._datasets.get(dataset, dataset)
        found = self._counts.get(used, {}).get(name)
        what, region = f"{name} of {dataset}", (float(stated), float(stated))
        if found is None:
            return Finding(what=what, estimate=None, region=region)
        interval = (float(found), float(found))
        return _finding(what, float(found), interval, region, [f"{used}/counts.json"])

    def _spreads(
        self, side: Sequence[Sequence[Record]], seeds: Sequence[int]
    ) -> Float[np.ndarray, " seeds"]:
        """Standard deviation over arms in per cent of their mean, for each seed."""
        values = np.array(
            [[_by_seed(found)[s].reported("hr@5", self._report) for s in seeds] for found in side]
        )
        relative: np.ndarray = 100 * values.std(axis=0, ddof=1) / values.mean(axis=0)
        return relative

    def _of(self, cell: Cell) -> Sequence[Record]:
        dataset = self._datasets.get(cell.dataset, cell.dataset)
        return self._arms.get(cell.model_copy(update={"dataset": dataset}), ())


def separation(uploads: Uploads, config: Mapping[str, Any]) -> list[float]:
    """In each round with both kinds: the chance that a malicious upload is the less uniform one.

    Of a malicious and a benign upload drawn at random, ties counting half (the area under the ROC
    curve): 0.5 for no difference, 1 for two separate groups.
    """
    frame = pd.DataFrame(uploads.model_dump())
    found = []
    for _, seen in frame.groupby("round"):
        malicious = seen.uniformity[seen.malicious].to_numpy()
        benign = seen.uniformity[~seen.malicious].to_numpy()
        if len(malicious) and len(benign):
            below = malicious[:, None] < benign
            level = malicious[:, None] == benign
            found.append(float((below + 0.5 * level).mean()))
    return found


def outliers(uploads: Uploads, config: Mapping[str, Any]) -> list[float]:
    """In each window: the share of malicious uploads further out than 95 % of the benign ones.

    Distances are from the window's mean along the first two principal components.
    """
    frame = pd.DataFrame(uploads.model_dump(include=COMPONENTS))
    window = (frame["round"] - 1) // config["protocol"]["window"]
    found = []
    for _, seen in frame.groupby(window):
        away = np.hypot(seen.component_1.to_numpy(), seen.component_2.to_numpy())
        who = seen.malicious.to_numpy()
        if who.any() and not who.all():
            found.append(float((away[who] > np.quantile(away[~who], 0.95)).mean()))
    return found


COMPONENTS = {"round", "malicious", "component_1", "component_2"}
MEASURES = {"separation": separation, "outliers": outliers}


def _differing(arm: Cell, reference: Cell) -> str:
    """Two arms by what tells them apart."""
    names = [n for n in ("attack", "defense", "ratio") if getattr(arm, n) != getattr(reference, n)]
    if reference.attack == BASELINE:
        names = [name for name in names if name != "ratio"]
    shared = "" if "attack" in names or arm.attack == BASELINE else f"{arm.attack}, "
    if "defense" not in names and arm.defense != PLAIN:
        shared += f"{arm.defense}, "
    ours, theirs = (" ".join(str(getattr(c, n)) for n in names) for c in (arm, reference))
    return f"{shared}{ours} against {theirs}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _finding(
    what: str,
    estimate: float,
    interval: tuple[float, float],
    region: Region,
    records: Iterable[str],
) -> Finding:
    low, high = (None if np.isnan(end) else float(end) for end in interval)
    return Finding(
        what=what,
        estimate=float(estimate),
        low=low,
        high=high,
        region=region,
        records=tuple(records),
    )


def _names(records: Iterable[Record]) -> Iterable[str]:
    return dict.fromkeys(cell_path(record.cell) for record in records)


def _bootstrap(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The 95 % interval of a mean, from resamples."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _t_interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    mean, half = values.mean(), half_width(values)
    return float(mean - half), float(mean + half)


def _by_seed(records: Sequence[Record]) -> Mapping[int, Record]:
    return {record.cell.seed: record for record in records}
