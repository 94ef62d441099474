"""Figures from records: nothing is simulated here."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fedrec.analysis.summary import half_width
from fedrec.files import write_bytes
from fedrec.records import Record, Report

mpl.use("Agg")
# Without dates and versions, the same records give the same bytes.
UNDATED = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
# Seaborn's colour-blind palette with black for its pink and no yellow, too pale to print. Nine
# colours over four dashes: 36 arms before two look the same.
COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#000000", "#56b4e9", "#949494",
)  # fmt: skip
DASHES = ("-", "--", "-.", ":")
ARM = ["attack", "defense", "ratio"]

Styles = Mapping[Any, Mapping[str, Any]]  # by arm


def training_curves(
    records: Sequence[Record], title: str, report: Report, metric: str = "hr@5"
) -> Figure:
    """Test performance against rounds: a panel for each model and dataset, a line for each arm.

    Lines are means over seeds in a 95 % Student-t band; a dot marks the reported evaluation of
    each seed. A second row shows the number of clusters K where an attack adapts it.
    """
    frame = pd.DataFrame(_points(records, metric, report))
    panels = list(frame.groupby(["dataset", "model"], sort=False))
    rows = 2 if frame.clusters.notna().any() else 1
    with sns.axes_style("ticks"), sns.plotting_context("paper"):
        figure = Figure(figsize=(5.6 * len(panels), 1.2 + 1.6 * rows), layout="constrained")
        axes = figure.subplots(
            rows, len(panels), squeeze=False, sharex="col",
            gridspec_kw={"height_ratios": (2, 1)[:rows]},
        )  # fmt: skip
        styles = _styles(frame)
        for column, ((dataset, model), panel) in enumerate(panels):
            _draw_metric(axes[0, column], panel, styles)
            axes[0, column].set_title(f"{model}, {dataset}")
            axes[0, column].set_ylabel(f"test {metric.upper()}")
            if rows == 2:
                _draw_clusters(axes[1, column], panel, styles)
            axes[-1, column].set_xlabel("round")
        figure.suptitle(title)
        figure.legend(
            handles=[Line2D([], [], **style) for style in styles.values()],
            loc="outside lower center", ncols=min(4, len(styles)), frameon=False,
        )  # fmt: skip
    return figure


def save_figure(figure: Figure, pdf: Path) -> None:
    """Write a figure as PDF, and as PNG beside it."""
    for kind in ("pdf", "png"):
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, dpi=200, metadata=UNDATED[kind])
        write_bytes(pdf.with_suffix(f".{kind}"), buffer.getvalue())


def _points(records: Sequence[Record], metric: str, report: Report) -> Iterator[dict[str, object]]:
    """One row for each record and evaluation."""
    for record in records:
        track, chosen = record.trajectory, record.reported_index(report)
        clusters = track.attack.get("clusters", [None] * len(track.round))
        for i, number in enumerate(track.round):
            yield record.cell.model_dump() | {
                "round": number,
                "value": track.test[metric][i],
                "clusters": clusters[i],
                "reported": i == chosen,
            }


def _styles(frame: pd.DataFrame) -> Styles:
    """A colour and a dash for each arm, told apart in grey too."""
    arms = list(frame[ARM].drop_duplicates().itertuples(index=False, name=None))
    several = frame.defense.nunique() > 1
    return {
        arm: {"color": colour, "linestyle": dash, "label": _name(*arm, with_defense=several)}
        for arm, colour, dash in zip(arms, cycle(COLOURS), cycle(DASHES), strict=False)
    }


def _name(attack: str, defense: str, ratio: float, *, with_defense: bool) -> str:
    share = f" ({100 * ratio:g} % malicious)" if ratio else ""
    return f"{attack}{share}" + (f", {defense}" if with_defense else "")


def _draw_metric(axes: Axes, panel: pd.DataFrame, styles: Styles) -> None:
    for arm, lines in panel.groupby(ARM, sort=False):
        rounds = lines.groupby("round").value
        mean, half = rounds.mean(), rounds.agg(lambda values: half_width(values.to_numpy()))
        style = styles[arm]
        axes.plot(mean.index, mean, **style)
        axes.fill_between(
            mean.index, mean - half, mean + half, color=style["color"], alpha=0.2, lw=0
        )
        chosen = lines[lines.reported]
        axes.plot(chosen["round"], chosen.value, ".", color=style["color"], ms=4, alpha=0.7)
    axes.set_ylim(bottom=0)
    sns.despine(ax=axes)


def _draw_clusters(axes: Axes, panel: pd.DataFrame, styles: Styles) -> None:
    adaptive = panel.dropna(subset="clusters")
    for (*arm, _), line in adaptive.groupby([*ARM, "seed"], sort=False):
        style = styles[tuple(arm)]
        axes.step(
            line["round"], line.clusters, color=style["color"], where="post", alpha=0.6, lw=0.9
        )
    axes.set_ylabel("clusters K")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.set_ylim(bottom=0)
    sns.despine(ax=axes)
