"""Losses by the values of one field, such as the share of malicious clients."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fedrec.analysis.figures.style import COLOURS, DASHES, new_figure, share, styled
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import percent_lost
from fedrec.plan.blocks import Sweep, unattacked
from fedrec.plan.cells import Cell
from fedrec.plan.grid import RATIO, Value, Values, setting_in, varies, without_setting
from fedrec.plan.metrics import Report
from fedrec.records import Record

BESIDE = 3  # panels in a row
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
RATIO_LABEL = "share of malicious clients (%)"
ASIDE = 0.012  # between the points of two defences, as a part of the axis
PANEL = ["dataset", "model", "attack", "ratio"]

COLUMNS = [*PANEL, "defense", "value", "lost", "half"]

Looks = Mapping[str, Mapping[str, Any]]  # by defence


def draw(records: Sequence[Record], block: Sweep, report: Report, note: str = "") -> Figure:
    """Draw the loss (%) by the values of the block's field: a line for each defence.

    Losses are against the run without attack and defence, paired by seed, with 95 % intervals from
    the noise of all given records. A dotted line in a band is no defence, if the field is of
    defences. There is a panel for each dataset, model and attack, and for each share of malicious
    clients if the field is another. The axis of numbers above 0 is logarithmic; other values are
    evenly spaced.
    """
    noises = Noises(records, Measure(block.metric, report))
    frame = pd.DataFrame(_points(records, block, noises), columns=COLUMNS)
    panels: list[Any] = list(frame.groupby(PANEL, sort=False))
    looks, axis = _looks(frame), _Axis(block.key, block.grid[block.key])
    wide, high = min(max(len(panels), 1), BESIDE), ceil(max(len(panels), 1) / BESIDE)
    with styled():
        figure = new_figure(max(3.2 * wide, 4.5), 1.1 + 2.3 * high, block.title, note)
        places = figure.subplots(high, wide, squeeze=False, sharey=True).ravel()
        for axes, (names, panel) in zip(places, panels, strict=False):
            _draw_panel(axes, panel, looks, axis)
            axes.set_title(_title(*names))
            axes.set_xlabel(block.axis or (RATIO_LABEL if block.key == RATIO else block.key))
        for axes in places[len(panels) :]:
            axes.axis("off")
        for axes in places[::wide]:
            axes.set_ylabel(f"lost {block.metric.upper()} (%)")
        handles, labels = _legend(places)
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _points(records: Sequence[Record], block: Sweep, noises: Noises) -> Iterator[dict[str, object]]:
    """Yield the loss of each arm, under the names that it has without the field."""
    arms = by_arm(records)
    for arm, runs in arms.items():
        plain = unattacked(arm)
        if arm == plain:
            continue
        named = without_setting(arm, block.key).model_dump(include={*PANEL, "defense"})
        lost, half = percent_lost(runs, arms.get(plain, ()), noises)
        yield named | {"value": _value(arm, block), "lost": lost, "half": half}


def _value(arm: Cell, block: Sweep) -> Value | None:
    """Return an arm's value of the field; None if it does not have the field."""
    if not varies(arm, block.key):
        return None
    given = setting_in(arm, block.key)
    return block.unchanged.get(block.key) if given is None else given


def _looks(frame: pd.DataFrame) -> Looks:
    """Return a colour, a dash and a marker for each defence."""
    cycles = zip(dict.fromkeys(frame.defense), cycle(COLOURS), cycle(DASHES), cycle(MARKERS))
    return {
        defense: {"color": colour, "linestyle": dash, "marker": marker, "label": defense}
        for defense, colour, dash, marker in cycles
    }


class _Axis:
    """The values of a field as places on the horizontal axis."""

    def __init__(self, key: str, values: Values) -> None:
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        self._values, self._shown = list(values), 100 if key == RATIO else 1
        self._is_log = len(numbers) == len(values) and min(numbers) > 0

    def at(self, values: Iterable[Value], aside: float) -> Float[np.ndarray, " n"]:
        """Return the places of values, moved aside by a part of the axis."""
        if not self._is_log:
            places = np.array([self._values.index(v) for v in values], dtype=float)
            return places + aside * len(self._values)
        numbers = np.log(np.array(list(values), dtype=float))
        found: np.ndarray = np.exp(numbers + aside * np.ptp(np.log(self._numbers)))
        return found

    def label(self, axes: Axes) -> None:
        """Put a tick at each value."""
        if not self._is_log:
            axes.set_xticks(range(len(self._values)), [str(v) for v in self._values])
            return
        axes.set_xscale("log")
        axes.set_xticks(self._numbers, [f"{self._shown * v:g}" for v in self._numbers])
        axes.xaxis.set_minor_locator(NullLocator())

    @property
    def _numbers(self) -> list[float]:
        return [float(value) for value in self._values]


def _draw_panel(axes: Axes, panel: pd.DataFrame, looks: Looks, axis: _Axis) -> None:
    """Draw one attack: a line for each defence."""
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    for i, (defense, look) in enumerate(looks.items()):
        line = panel[panel.defense == defense]
        for _, (lost, half) in line[line.value.isna()][["lost", "half"]].iterrows():
            axes.axhline(lost, color=look["color"], linestyle=":", label=defense)
            axes.axhspan(lost - half, lost + half, color=look["color"], alpha=0.15, lw=0)
        points = line[line.value.notna()]
        if len(points):
            x = axis.at(points.value, ASIDE * (i - (len(looks) - 1) / 2))
            order = np.argsort(x)
            axes.errorbar(
                x[order], points.lost.to_numpy()[order], points.half.to_numpy()[order],
                ms=3.5, lw=1, elinewidth=0.8, capsize=1.5, **look,
            )  # fmt: skip
    axis.label(axes)
    sns.despine(ax=axes)


def _title(dataset: str, model: str, attack: str, ratio: float) -> str:
    return f"{attack}\n{model}, {dataset}{share(ratio)}"


def _legend(places: Iterable[Axes]) -> tuple[list[Any], list[str]]:
    """Return each line and its label once."""
    found: dict[str, Any] = {}
    for axes in places:
        handles, labels = axes.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    return list(found.values()), list(found)
