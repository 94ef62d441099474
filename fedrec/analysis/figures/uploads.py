"""Uploads and their uniformity in the first rounds (paper, Figure 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

from fedrec.analysis.figures.style import COLOURS, new_figure, styled
from fedrec.errors import RecordError
from fedrec.plan.blocks import UploadFigure
from fedrec.plan.cells import cell_path
from fedrec.plan.metrics import Report
from fedrec.plan.variants import Variant
from fedrec.records import Record

SIDES: Mapping[bool, tuple[str, str, str, Any]] = {
    False: ("benign", COLOURS[0], ".", "-"),
    True: ("malicious", COLOURS[3], "x", "--"),
}
GRID = 200  # points of a density


def draw(records: Sequence[Record], block: UploadFigure, report: Report, note: str = "") -> Figure:
    """Draw a column for each window of rounds: principal components, then uniformity densities.

    The components are those of the uploads under the last defence in the block. The densities have
    a row for each defence, from last to first. Only the first seed is shown: other seeds start from
    other embedding tables, which would blur the differences between the uploads of one run.
    """
    defenses = [d for d in reversed(block.defenses) if any(r.cell.defense == d for r in records)]
    seed = min(record.cell.seed for record in records)
    frame = pd.concat([_uploads(record) for record in records if record.cell.seed == seed])
    windows = list(dict.fromkeys(frame.window))
    with styled():
        size = (max(1.45 * len(windows), 4.5), 1.1 + 1.35 * (1 + len(defenses)))
        figure = new_figure(*size, block.title, note)
        axes = figure.subplots(1 + len(defenses), len(windows), squeeze=False)
        first = frame[frame.defense == defenses[0]]
        for column, window in enumerate(windows):
            _scatter(axes[0, column], first[first.window == window])
            axes[0, column].set_title(window)
            for row, defense in enumerate(defenses, start=1):
                shown = frame[(frame.defense == defense) & (frame.window == window)]
                _densities(axes[row, column], shown)
        axes[0, 0].set_ylabel("components")
        for row, defense in enumerate(defenses, start=1):
            axes[row, 0].set_ylabel(f"{Variant.parse(defense).base}\ndensity")
            _share_limits(axes[row])
        axes[-1, len(windows) // 2].set_xlabel("uniformity")
        handles = [
            Line2D([], [], color=colour, marker=marker, linestyle=dash, label=label)
            for label, colour, marker, dash in SIDES.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _uploads(record: Record) -> pd.DataFrame:
    """Return one row for each upload in a record.

    Raises:
        RecordError: the record contains no uploads.
    """
    if record.uploads is None:
        raise RecordError(
            f"{cell_path(record.cell)}: contains no uploads; set `observe`, and run its cell again"
        )
    window = record.config["protocol"]["window"]
    columns = pd.DataFrame(record.uploads.model_dump())
    start = (columns["round"] - 1) // window * window
    ends = np.minimum(start + window, columns["round"].max())
    columns["window"] = [
        f"rounds {a + 1}–{b}" if a + 1 < b else f"round {b}"
        for a, b in zip(start, ends, strict=True)
    ]
    return columns.assign(defense=record.cell.defense)


def _scatter(axes: Axes, uploads: pd.DataFrame) -> None:
    for malicious, (label, colour, marker, _) in SIDES.items():
        side = uploads[uploads.malicious == malicious]
        axes.plot(
            side.component_1, side.component_2, marker, color=colour, ms=3, alpha=0.7,
            label=label, mew=0.9 if malicious else 0, zorder=2 + malicious,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


def _densities(axes: Axes, uploads: pd.DataFrame) -> None:
    """Draw kernel density estimates of both sides; a rug alone if there are too few values."""
    for malicious, (_, colour, _, dash) in SIDES.items():
        values = uploads.uniformity[uploads.malicious == malicious].to_numpy(float)
        axes.plot(values, np.zeros_like(values), "|", color=colour, ms=4, alpha=0.5)
        if len(values) > 2 and np.ptp(values) > 0:
            margin = 0.5 * np.ptp(values)
            x = np.linspace(values.min() - margin, values.max() + margin, GRID)
            axes.plot(x, gaussian_kde(values)(x), color=colour, linestyle=dash, lw=1.2)
    axes.set_yticks([])
    sns.despine(ax=axes, left=True)


def _share_limits(row: np.ndarray) -> None:
    """Set one horizontal scale for all panels of a row, with few ticks."""
    limits = np.array([axes.get_xlim() for axes in row])
    for axes in row:
        axes.set_xlim(limits[:, 0].min(), limits[:, 1].max())
        axes.locator_params(axis="x", nbins=3)
