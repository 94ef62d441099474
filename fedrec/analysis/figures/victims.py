"""Who loses: attacks by the activity of users, and by the popularity of their test items."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedrec.analysis.figures.style import COLOURS, REFERENCE, new_figure, share, styled
from fedrec.analysis.victims import victims
from fedrec.errors import RecordError
from fedrec.plan.blocks import VictimFigure
from fedrec.plan.cells import BASELINE, PLAIN
from fedrec.plan.metrics import Report
from fedrec.records import Record

SIDES = {"activity": "Activity of the user", "popularity": "Popularity of the test item"}
MARKERS = ("o", "s", "^", "D", "v", "P")
APART = 0.5  # width of the points of one group, whose neighbour is 1 away
WORST = 100.0  # per cent: losses and gains beyond it are cut off

Styles = Mapping[str, Mapping[str, Any]]  # by attack


def draw(
    records: Sequence[Record],
    block: VictimFigure,
    report: Report,
    note: str = "",
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> Figure:
    """Draw the share of users hit, and what attacks take from it, by fifths of the users.

    Left, the fifths are by the user's number of training interactions; right, by the popularity of
    its test item. Points have 95 % intervals. Losses are relative to the same users and seeds
    without attack. `groups` has the fifth of each user, by dataset.

    Raises:
        RecordError: the dataset has no groups, or a record has other users.
    """
    (dataset,) = block.datasets
    if dataset not in (groups or {}):
        raise RecordError(f"no groups of {dataset}: give its groups.json (`--groups`)")
    attacks = [a for a in (BASELINE, *block.attacks) if any(r.cell.attack == a for r in records)]
    looks = _looks(attacks)
    with styled():
        figure = new_figure(7.0, 4.6, block.title, note)
        axes = figure.subplots(2, len(SIDES), sharex=True, sharey="row")
        for column, (side, words) in zip(axes.T, SIDES.items(), strict=True):
            found = victims(records, (groups or {})[dataset][side], block.metric, report)
            _points(column[0], found, looks, "mean", "half")
            _points(column[1], found, looks, "loss", "loss_half")
            column[0].set_title(words)
            column[1].set_xlabel("fifth of the users, from least to most")
        _scales(axes, block.metric.upper())
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, title=_setting(block), title_fontsize=8, loc="outside lower center",
            ncols=4, frameon=False,
        )  # fmt: skip
    return figure


def _setting(block: VictimFigure) -> str:
    """Return what all results of the figure have in common."""
    (dataset,), (model,), (defense,), (ratio,) = (
        block.datasets, block.models, block.defenses, block.ratios,
    )  # fmt: skip
    return f"{model}, {dataset}{share(ratio)}" + ("" if defense == PLAIN else f", {defense}")


def _looks(attacks: Sequence[str]) -> Styles:
    """Return a style for each attack; no attack is black and dashed."""
    looks = {}
    others = [attack for attack in attacks if attack != BASELINE]
    for i, attack in enumerate(others):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        looks[attack] = {"color": colour, "marker": marker, "linestyle": "-"}
    plain = {"color": "black", "marker": ".", "linestyle": "--"}
    return ({BASELINE: plain} if BASELINE in attacks else {}) | looks


def _points(axes: Axes, found: pd.DataFrame, looks: Styles, value: str, half: str) -> None:
    """Draw one column of results against the groups, with intervals where there are any."""
    for i, (attack, look) in enumerate(looks.items()):
        rows = found[(found.attack == attack) & found[value].notna()]
        if rows.empty:
            continue
        x = rows.group + APART * ((i + 0.5) / len(looks) - 0.5)
        axes.errorbar(
            x, rows[value], rows[half].fillna(0), label=attack, ms=3.5, lw=0.9, elinewidth=0.9,
            **look,
        )  # fmt: skip
    if value == "loss":
        axes.axhline(0, **REFERENCE)
    axes.set_xticks(range(1, 6))
    sns.despine(ax=axes)


def _scales(axes: np.ndarray, metric: str) -> None:
    """Set limits that show all losses and intervals, but nothing beyond ±100 %."""
    low, high = axes[1, 0].get_ylim()  # of the whole row
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylim(max(low, -WORST), min(high, 1.05 * WORST))
    axes[0, 0].set_ylabel(f"test {metric}")
    axes[1, 0].set_ylabel(f"loss of {metric} (%)")
