"""The paper's numbers against this study's."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedrec.analysis.figures.style import COLOURS, REFERENCE, new_figure, styled

MARKERS = ("o", "s", "D", "^")  # of metrics
ALONE = 3.4  # inches of a panel


def draw(found: pd.DataFrame, title: str, note: str = "") -> Figure:
    """Draw a point for each number of the paper with a result to compare, by attack and metric.

    This study's results have the 95 % prediction interval for five other seeds; a point is hollow
    if the paper's number is outside. On the dashed diagonal both are equal. There is a panel for
    each dataset and model.
    """
    known = found.dropna(subset="again")
    panels: list[Any] = list(known.groupby(["dataset", "model"], sort=False))
    attacks, metrics = (list(dict.fromkeys(known[name])) for name in ("attack", "metric"))
    with styled():
        figure = new_figure(max(ALONE * len(panels), 5.6), ALONE + 1.1, title, note)
        row = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
        for axes, ((dataset, model), panel) in zip(row, panels, strict=False):
            axes.set_title(f"{model}, {dataset}")
            _draw_panel(axes, panel, attacks, metrics)
        row[0].set_ylabel("ours")
        figure.legend(
            handles=_legend(attacks, metrics), loc="outside lower center", ncols=4, frameon=False
        )
    return figure


def _draw_panel(axes: Axes, panel: pd.DataFrame, attacks: list[str], metrics: list[str]) -> None:
    groups: Any = panel.groupby(["attack", "metric", panel.agrees.eq(True)], sort=False)
    for (attack, metric, agrees), some in groups:
        colour, marker = _colour(attacks, attack), MARKERS[metrics.index(metric) % len(MARKERS)]
        axes.errorbar(
            some.paper, some["mean"], some.again, linestyle="", color=colour, marker=marker,
            ms=4, mfc=colour if agrees else "white", elinewidth=0.7, capsize=1.5, mew=0.9,
        )  # fmt: skip
    ends = axes.get_xlim(), axes.get_ylim()
    low, high = max(0.0, min(e[0] for e in ends)), max(e[1] for e in ends)
    axes.plot([low, high], [low, high], **REFERENCE, zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.set_xlabel("paper")
    sns.despine(ax=axes)


def _colour(attacks: list[str], attack: str) -> str:
    return COLOURS[attacks.index(attack) % len(COLOURS)]


def _legend(attacks: list[str], metrics: list[str]) -> list[Line2D]:
    plain = {"linestyle": "", "ms": 5}
    grey: dict[str, Any] = plain | {"color": "0.6"}
    return [
        *(
            Line2D([], [], marker="o", color=_colour(attacks, attack), label=attack, **plain)  # type: ignore[arg-type]
            for attack in attacks
        ),
        *(
            Line2D([], [], marker=marker, label=metric.upper(), **grey)
            for metric, marker in zip(metrics, MARKERS, strict=False)
        ),
        Line2D([], [], marker="o", mfc="white", label="does not agree", **grey),
        Line2D([], [], **REFERENCE, label="the same"),
    ]
