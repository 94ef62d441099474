"""Attacks under defences, as bars (paper, Figure 2)."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fedrec.analysis.figures.style import HALO, REFERENCE, UNDEFENDED, new_figure, panels, styled
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noises
from fedrec.analysis.tables.table import MISSING
from fedrec.plan.blocks import AttackGrid
from fedrec.plan.cells import BASELINE, PLAIN
from fedrec.plan.metrics import Report
from fedrec.records import Record

ARM = ["attack", "defense", "ratio"]
# From light to dark, so that bars also differ in grey. Seven colours and six hatches give 42
# attacks a look of their own.
FILLS = ("#ffffff", "#f6d55c", "#56b4e9", "#e08fc8", "#2aa876", "#d55e00", "#0b4a7d")
HATCHES = ("", "////", "....", r"\\\\", "xxxx", "----")
COLUMNS = 4  # of the legend
GROUP = 0.84  # width of a group of bars; its neighbour is 1 away

Styles = Mapping[Any, Mapping[str, Any]]  # by attack


def draw(
    records: Sequence[Record],
    block: AttackGrid,
    report: Report,
    note: str = "",
) -> Figure:
    """Draw test performance as bars: a group per defence, a bar per attack (paper, Figure 2).

    Bars are means over seeds with 95 % intervals, from the noise of all given records. A dash marks
    a missing record. The dashed line is the performance without attack and defence. There is a
    panel for each model, dataset and share of malicious clients.
    """
    shown = list(panels(_means(records, Noises(records, Measure(block.metric, report)))))
    looks = _looks(block.attacks)
    with styled():
        figure = new_figure(7.0, 1 + 1.9 * len(shown), block.title, note)
        column = figure.subplots(len(shown), squeeze=False, sharex=True)[:, 0]
        for axes, (name, panel) in zip(column, shown, strict=True):
            means = panel.set_index(["defense", "attack"])
            _draw_groups(axes, means, looks, block.defenses)
            axes.set_title(name)
            axes.set_ylabel(f"test {block.metric.upper()}")
        figure.legend(
            handles=_grid_legend(looks, with_line=any(axes.lines for axes in column)),
            loc="outside lower center", ncols=COLUMNS, frameon=False,
        )  # fmt: skip
    return figure


def _means(records: Sequence[Record], noises: Noises) -> pd.DataFrame:
    """Return mean and half-width over seeds, one row for each arm of each dataset and model."""
    arms = by_arm(records)
    found = pd.DataFrame([noises.mean(runs) for runs in arms.values()], columns=["mean", "half"])
    return pd.DataFrame([arm.model_dump(exclude={"seed"}) for arm in arms]).join(found)


def _looks(attacks: Sequence[str]) -> Styles:
    """Return a fill and a hatch for each attack."""
    return {
        attack: {"facecolor": fill, "hatch": hatch, "edgecolor": "black", "lw": 0.5}
        for attack, fill, hatch in zip(attacks, cycle(FILLS), cycle(HATCHES), strict=False)
    }


def _draw_groups(axes: Axes, means: pd.DataFrame, looks: Styles, defenses: Sequence[str]) -> None:
    """Draw the bars of one panel, from its rows by defence and attack."""
    width = GROUP / len(looks)
    for i, (attack, look) in enumerate(looks.items()):
        arms = means.reindex([(defense, attack) for defense in defenses])
        x = np.arange(len(defenses)) - GROUP / 2 + (i + 0.5) * width
        _draw_bars(axes, x, arms, width, look)
    if (PLAIN, BASELINE) in means.index:
        axes.axhline(means["mean"][(PLAIN, BASELINE)], **REFERENCE)
    axes.set_xticks(range(len(defenses)), [_defense_label(defense) for defense in defenses])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(defenses) - 0.5)
    axes.set_ylim(bottom=0)
    sns.despine(ax=axes)


def _draw_bars(
    axes: Axes, x: np.ndarray, arms: pd.DataFrame, width: float, look: Mapping[str, Any]
) -> None:
    """Draw one attack's bars at `x`, with intervals if there are several seeds."""
    mean, half = arms["mean"].to_numpy(), arms.half.to_numpy()
    there, several = ~np.isnan(mean), ~np.isnan(half)
    axes.bar(x[there], mean[there], width, **look)
    axes.errorbar(
        x[several], mean[several], half[several],
        fmt="none", ecolor="black", elinewidth=0.8, path_effects=HALO,
    )  # fmt: skip
    for gap in x[~there]:
        axes.text(gap, 0, MISSING, ha="center", va="baseline", fontsize=8, color="0.3")


def _defense_label(name: str) -> str:
    """Return the paper's name of a defence; the parts of a combination are below each other."""
    return UNDEFENDED if name == PLAIN else name.replace("+", "\n+")


def _grid_legend(looks: Styles, *, with_line: bool) -> list[Patch | Line2D]:
    """Return the bars in order and the line, arranged so that the legend reads row by row."""
    entries: list[Patch | Line2D] = [Patch(**look, label=attack) for attack, look in looks.items()]
    if with_line:
        entries.append(Line2D([], [], **REFERENCE, label=f"{BASELINE}, no defense"))
    return [entry for i in range(COLUMNS) for entry in entries[i::COLUMNS]]
