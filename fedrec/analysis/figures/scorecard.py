"""The verdict on each claim, as a figure."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedrec.analysis.figures.style import new_figure, styled
from fedrec.analysis.tables.table import rows_of

# Each verdict has its own shape, for readers who cannot tell the colours apart.
MARKS: Mapping[str, Mapping[str, Any]] = {
    "reproduced": {"marker": "o", "color": "#029e73"},
    "not reproduced": {"marker": "X", "color": "#d55e00"},
    "too close to call": {"marker": "s", "color": "#cc78bc", "fillstyle": "right"},
    "inconclusive": {"marker": "D", "color": "#de8f05", "fillstyle": "left"},
    "not run": {"marker": "o", "color": "0.6", "fillstyle": "none"},
}
WIDTH = 92  # characters of a claim on a line


def draw(card: pd.DataFrame, title: str, note: str = "") -> Figure:
    """Draw a line for each claim, in order: the verdict's mark, the text and the place."""
    texts = ["\n".join(wrap(f"{r['says']} ({r['place']})", WIDTH)) for r in rows_of(card)]
    heights = [0.6 + 0.55 * (1 + text.count("\n")) for text in texts]
    with styled():
        figure = new_figure(7.0, 1.0 + 0.21 * sum(heights), title, note)
        axes = figure.subplots()
        y = 0.0
        for verdict, text, height in zip(card.verdict, texts, heights, strict=True):
            axes.plot(0, y + height / 2, linestyle="", ms=7, **MARKS[verdict])
            axes.text(0.35, y + height / 2, text, va="center", fontsize=7.5)
            y += height
        axes.set_xlim(-0.3, 12)
        axes.set_ylim(y, 0)
        axes.axis("off")
        figure.legend(handles=_legend(card), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _legend(card: pd.DataFrame) -> list[Line2D]:
    """Return the marks with the number of claims that have each."""
    tally = card.verdict.value_counts()
    return [
        Line2D([], [], linestyle="", ms=7, label=f"{verdict} ({tally.get(verdict, 0)})", **mark)
        for verdict, mark in MARKS.items()
    ]
