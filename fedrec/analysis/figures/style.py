"""Shared by all figures: colours, sizes, and saving."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fedrec.files import write_bytes

mpl.use("Agg")
# These settings are read when a figure is saved, so a context manager would not reach them. With
# the salt an SVG has the same ids each time, and its text stays text.
mpl.rcParams |= {"hatch.linewidth": 0.5, "svg.hashsalt": "fedrec", "svg.fonttype": "none"}
FORMATS = ("pdf", "svg", "png")
# Without dates and versions, the same records give the same bytes.
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
# Seaborn's colour-blind palette, with black instead of its pink, and without yellow, which is too
# pale to print. Nine colours and four dashes give 36 arms a look of their own.
COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#000000", "#56b4e9", "#949494",
)  # fmt: skip
DASHES = ("-", "--", "-.", ":")
REFERENCE: Mapping[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}
UNDEFENDED = "No defense"  # the paper's words
HALO = [withStroke(linewidth=2, foreground="white")]  # makes intervals visible on dark bars
# Sizes in points, as printed.
SMALL = dict.fromkeys(
    ("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8
)


@contextmanager
def styled() -> Iterator[None]:
    """Use axes with ticks, and text in the size that papers print."""
    with sns.axes_style("ticks"), sns.plotting_context("paper", rc=SMALL):
        yield


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Return an empty figure with a title and a note; width and height are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [line for text in (title, note) for line in wrap(text, width=int(13.5 * width))]
    figure.suptitle("\n".join(lines), fontsize=9.5)
    return figure


def share(ratio: float) -> str:
    """Return a share of malicious clients as the end of a title; empty if there are none."""
    return f", {100 * ratio:g} % malicious" if ratio else ""


def panels(arms: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the panels by title: the attacks of a model and dataset at one ratio, and no attack."""
    for (dataset, model), panel in arms.groupby(["dataset", "model"], sort=False):
        for ratio in sorted(set(panel.ratio) - {0}) or [0.0]:
            yield f"{model}, {dataset}{share(ratio)}", panel[panel.ratio.isin([0, ratio])]


def save_figure(figure: Figure, pdf: Path) -> None:
    """Write a figure as PDF, and as SVG and PNG beside it."""
    for kind in FORMATS:
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, dpi=200, metadata=UNDATED[kind])
        write_bytes(pdf.with_suffix(f".{kind}"), buffer.getvalue())
