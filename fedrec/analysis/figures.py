"""Figures from records: nothing is simulated here."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from fedrec.analysis.summary import BASELINE, half_width
from fedrec.analysis.tables import MISSING
from fedrec.files import write_bytes
from fedrec.records import Record, Report

mpl.use("Agg")
mpl.rcParams["hatch.linewidth"] = 0.5  # read when a figure is saved: no context would reach it
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
PLAIN = "FedAvg"  # the aggregation that defends against nothing
# Bars: from light to dark, so that they differ in grey too. Seven colours over six hatches: 42
# attacks before two look the same.
FILLS = ("#ffffff", "#f6d55c", "#56b4e9", "#e08fc8", "#2aa876", "#d55e00", "#0b4a7d")
HATCHES = ("", "////", "....", r"\\\\", "xxxx", "----")
REFERENCE: Mapping[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}
HALO = [withStroke(linewidth=2, foreground="white")]  # so that intervals show on dark bars too
# In points, as printed.
SMALL = dict.fromkeys(
    ("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8
)
COLUMNS = 4  # of the legend
GROUP = 0.84  # width of a group of bars; its neighbour is 1 away

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


def attack_grid(
    records: Sequence[Record],
    title: str,
    report: Report,
    attacks: Sequence[str],
    defenses: Sequence[str],
    metric: str = "hr@5",
) -> Figure:
    """Test performance as bars: a group for each defence, a bar in it for each attack (Figure 2).

    Bars are means over seeds with their 95 % Student-t intervals; a dash stands where there is no
    record. The dashed line is the performance without attack and defence. A panel for each model,
    dataset and share of malicious clients.
    """
    panels = list(_shares(_means(records, metric, report)))
    looks, heading = _looks(attacks), "\n".join(wrap(title, width=95))
    with sns.axes_style("ticks"), sns.plotting_context("paper", rc=SMALL):
        figure = Figure(figsize=(7, 0.9 + 1.9 * len(panels)), layout="constrained")
        column = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for axes, (name, panel) in zip(column, panels, strict=True):
            means = panel.set_index(["defense", "attack"])
            _draw_groups(axes, means, looks, defenses)
            axes.set_title(name)
            axes.set_ylabel(f"test {metric.upper()}")
        figure.suptitle(heading, fontsize=9.5)
        figure.legend(
            handles=_grid_legend(looks, with_line=any(axes.lines for axes in column)),
            loc="outside lower center",
            ncols=COLUMNS,
            frameon=False,
        )
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


def _means(records: Sequence[Record], metric: str, report: Report) -> pd.DataFrame:
    """Mean and half-width over seeds, one row for each arm of each dataset and model."""
    frame = pd.DataFrame(
        record.cell.model_dump() | {"value": record.reported(metric, report)} for record in records
    )
    seeds = frame.groupby(["dataset", "model", *ARM], sort=False).value
    half = seeds.agg(lambda values: half_width(values.to_numpy()))
    return seeds.mean().to_frame("mean").assign(half=half).reset_index()


def _shares(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The panels of a grid by title: attacks of one strength, beside no attack."""
    for (dataset, model), panel in frame.groupby(["dataset", "model"], sort=False):
        for ratio in sorted(set(panel.ratio) - {0}) or [0]:
            share = f", {100 * ratio:g} % malicious" if ratio else ""
            yield f"{model}, {dataset}{share}", panel[panel.ratio.isin([0, ratio])]


def _looks(attacks: Sequence[str]) -> Styles:
    """A fill and a hatch for each attack."""
    return {
        attack: {"facecolor": fill, "hatch": hatch, "edgecolor": "black", "lw": 0.5}
        for attack, fill, hatch in zip(attacks, cycle(FILLS), cycle(HATCHES), strict=False)
    }


def _draw_groups(axes: Axes, means: pd.DataFrame, looks: Styles, defenses: Sequence[str]) -> None:
    """The bars of one panel, from its rows by defence and attack."""
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
    """One attack's bars at `x`, with intervals where there are several seeds."""
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
    """As the paper calls it; parts below each other."""
    return "No defense" if name == PLAIN else name.replace("+", "\n+")


def _grid_legend(looks: Styles, *, with_line: bool) -> list[Patch | Line2D]:
    """The bars in their order and the line, arranged so that rows are read first."""
    entries: list[Patch | Line2D] = [Patch(**look, label=attack) for attack, look in looks.items()]
    if with_line:
        entries.append(Line2D([], [], **REFERENCE, label=f"{BASELINE}, no defense"))
    return [entry for i in range(COLUMNS) for entry in entries[i::COLUMNS]]
