"""ClusterAttack with and without adaptive clustering (paper, Figure 3)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedrec.analysis.figures.style import COLOURS, REFERENCE, new_figure, share, styled
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noises
from fedrec.plan.blocks import AdaptiveClustering
from fedrec.plan.cells import BASELINE
from fedrec.plan.metrics import Report
from fedrec.records import Record

SERIES = {True: ("adaptive", COLOURS[0], "o", -0.06), False: ("K fixed", COLOURS[3], "s", 0.06)}


def draw(
    records: Sequence[Record],
    block: AdaptiveClustering,
    report: Report,
    note: str = "",
) -> Figure:
    """Draw test performance against the initial number of clusters K, adaptive and fixed.

    Points are means over seeds with 95 % intervals, from the noise of all given records. The dashed
    line is the performance without attack, if available. There is a panel for each model, dataset
    and share of malicious clients.
    """
    noises = Noises(records, Measure(block.metric, report))
    frame = pd.DataFrame(_points(records, noises))
    panels: list[Any] = list(frame.groupby(["dataset", "model", "ratio"], sort=False))
    with styled():
        figure = new_figure(max(3.6 * len(panels), 4.5), 3.0, block.title, note)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for place, ((dataset, model, ratio), panel) in zip(axes, panels, strict=True):
            _draw_series(place, panel)
            for value in _unattacked(records, dataset, model, block.metric, report):
                place.axhline(value, label="no attack", **REFERENCE)
            place.set_ylim(bottom=0)  # after drawing, or the upper limit would not adapt
            place.set_title(f"{model}, {dataset}{share(ratio)}")
            place.set_xlabel("initial number of clusters K")
        axes[0].set_ylabel(f"test {block.metric.upper()}")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _points(records: Sequence[Record], noises: Noises) -> Iterator[dict[str, object]]:
    """Yield mean and half-width over seeds for each arm whose attack has clusters."""
    for arm, runs in by_arm(records).items():
        attack = runs[0].config["attack"]
        if "clusters" in attack:
            mean, half = noises.mean(runs)
            yield arm.model_dump(include={"dataset", "model", "ratio"}) | {
                "clusters": attack["clusters"],
                "adaptive": attack["adaptive"],
                "mean": mean,
                "half": half,
            }


def _draw_series(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw one line for adaptive and one for fixed K, over the values of K in order."""
    ticks = sorted(set(panel.clusters))
    for adaptive, (label, colour, marker, aside) in SERIES.items():
        line = panel[panel.adaptive == adaptive].sort_values("clusters")
        x = np.array([ticks.index(k) for k in line.clusters]) + aside
        axes.errorbar(
            x, line["mean"], line.half, label=label, color=colour, marker=marker, ms=4, lw=1,
            capsize=2, linestyle="-" if adaptive else "--",
        )  # fmt: skip
    axes.set_xticks(range(len(ticks)), [str(k) for k in ticks])
    sns.despine(ax=axes)


def _unattacked(
    records: Sequence[Record], dataset: str, model: str, metric: str, report: Report
) -> Iterator[float]:
    """Yield the mean without attack; nothing if there is no record."""
    cells = [r for r in records if (r.cell.dataset, r.cell.model) == (dataset, model)]
    values = [r.reported(metric, report) for r in cells if r.cell.attack == BASELINE]
    if values:
        yield float(np.mean(values))
