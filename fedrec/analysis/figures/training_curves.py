"""Test performance during training."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fedrec.analysis.figures.style import COLOURS, DASHES, new_figure, styled
from fedrec.analysis.statistics import half_width
from fedrec.plan.blocks import TrainingCurves
from fedrec.plan.metrics import Report
from fedrec.records import Record

ARM = ["attack", "defense", "ratio"]

Styles = Mapping[Any, Mapping[str, Any]]  # by arm


def draw(
    records: Sequence[Record], block: TrainingCurves, report: Report, note: str = ""
) -> Figure:
    """Draw test performance by round: a panel per model and dataset, a line per arm.

    Lines are means over seeds in a 95 % Student-t band; a dot marks the reported evaluation of
    each seed. A second row shows the number of clusters K, if an attack adapts it.
    """
    frame = pd.DataFrame(_points(records, block.metric, report))
    panels = list(frame.groupby(["dataset", "model"], sort=False))
    rows = 2 if frame.clusters.notna().any() else 1
    with styled():
        size = (max(3.6 * len(panels), 5.6), 1.4 + 1.7 * rows)
        figure = new_figure(*size, block.title, note)
        axes = figure.subplots(
            rows, len(panels), squeeze=False, sharex="col",
            gridspec_kw={"height_ratios": (2, 1)[:rows]},
        )  # fmt: skip
        styles = _styles(frame)
        for column, ((dataset, model), panel) in enumerate(panels):
            _draw_metric(axes[0, column], panel, styles)
            axes[0, column].set_title(f"{model}, {dataset}")
            if rows == 2:
                _draw_clusters(axes[1, column], panel, styles)
            axes[-1, column].set_xlabel("round")
        axes[0, 0].set_ylabel(f"test {block.metric.upper()}")
        figure.legend(
            handles=[Line2D([], [], **style) for style in styles.values()],
            loc="outside lower center", ncols=_columns(styles, size[0]), frameon=False,
        )  # fmt: skip
    return figure


def _points(records: Sequence[Record], metric: str, report: Report) -> Iterator[dict[str, object]]:
    """Yield one row for each record and evaluation."""
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
    """Return a colour and a dash for each arm, distinct in grey as well."""
    arms = list(frame[ARM].drop_duplicates().itertuples(index=False, name=None))
    several = frame.defense.nunique() > 1
    return {
        arm: {"color": colour, "linestyle": dash, "label": _name(*arm, with_defense=several)}
        for arm, colour, dash in zip(arms, cycle(COLOURS), cycle(DASHES), strict=False)
    }


def _columns(styles: Styles, width: float) -> int:
    """Return how many legend entries fit in a row: a letter takes about 0.06 inches."""
    longest = max(len(style["label"]) for style in styles.values())
    return max(1, min(4, len(styles), int(width / (0.06 * longest + 0.5))))


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
