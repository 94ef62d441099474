"""Losses by attack and defence, as a map."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedrec.analysis.figures.style import UNDEFENDED, new_figure, panels, styled
from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import percent_lost
from fedrec.analysis.tables.table import MISSING
from fedrec.plan.blocks import LossMap, unattacked
from fedrec.plan.cells import PLAIN
from fedrec.plan.metrics import Report
from fedrec.records import Record

DARK = 30  # %: on darker colours text is white
SHOWN = 50  # %: from here on the colour is the darkest; below 0 it is the lightest
KEY = "Bold: its 95 % interval excludes 0."


def draw(records: Sequence[Record], block: LossMap, report: Report, note: str = "") -> Figure:
    """Draw the loss (%) of each attack under each defence, against no attack and no defence.

    There is a map for each model, dataset and share of malicious clients. The defence with the
    smallest worst case is at the top; defences that lack a record come last, in the block's order.
    A loss is bold if its 95 % interval excludes 0; a dash marks a missing record.
    """
    found = pd.DataFrame(_losses(records, Noises(records, Measure(block.metric, report))))
    maps = list(panels(found))
    height = 1.5 + (0.9 + 0.22 * len(block.defenses)) * len(maps)
    with styled():
        figure = new_figure(7.0, height, f"{block.title} {KEY}", note)
        column = figure.subplots(len(maps), squeeze=False)[:, 0]
        for axes, (name, panel) in zip(column, maps, strict=True):
            _draw_map(axes, panel, block)
            axes.set_title(name)
    return figure


def _losses(records: Sequence[Record], noises: Noises) -> Iterator[dict[str, object]]:
    """Yield each arm with its loss (%), and whether the interval excludes 0."""
    arms = by_arm(records)
    for arm, runs in arms.items():
        lost, half = percent_lost(runs, arms.get(unattacked(arm), ()), noises)
        yield arm.model_dump(exclude={"seed"}) | {"lost": lost, "sure": abs(lost) > half}


def _draw_map(axes: Axes, panel: pd.DataFrame, block: LossMap) -> None:
    """Draw one panel from its rows by attack and defence."""
    arms = panel.set_index(["defense", "attack"])
    lost = arms.lost.unstack().reindex(index=block.defenses, columns=block.attacks)
    worst = lost.max(axis=1, skipna=False)
    lost = lost.loc[worst.sort_values(kind="stable").index]  # incomplete ones are last
    sns.heatmap(
        lost, ax=axes, cmap="YlOrRd", vmin=0, vmax=SHOWN, linewidths=0.5,
        cbar_kws={"label": f"lost {block.metric.upper()} (%)", "extend": "both"},
    )  # fmt: skip
    for (row, defense), (column, attack) in product(enumerate(lost.index), enumerate(lost.columns)):
        value = lost.loc[defense, attack]
        axes.text(
            column + 0.5, row + 0.5, MISSING if np.isnan(value) else str(round(value)),
            ha="center", va="center", fontsize=7, color="white" if value > DARK else "black",
            weight="bold" if arms.sure.get((defense, attack), False) else "normal",
        )  # fmt: skip
    axes.set_yticks(
        axes.get_yticks(), [UNDEFENDED if name == PLAIN else name for name in lost.index]
    )
    axes.set_xticks(
        axes.get_xticks(), lost.columns, rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    axes.set(xlabel="", ylabel="")
