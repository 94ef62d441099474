"""What figures share: colours, sizes, and how they are saved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fedrec.files import write_bytes

mpl.use("Agg")
# Read when a figure is saved: no context would reach them. The salt makes an SVG's ids the same
# each time; its text stays text.
mpl.rcParams |= {"hatch.linewidth": 0.5, "svg.hashsalt": "fedrec", "svg.fonttype": "none"}
FORMATS = ("pdf", "svg", "png")
# Without dates and versions, the same records give the same bytes.
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
# Seaborn's colour-blind palette with black for its pink and no yellow, too pale to print. Nine
# colours over four dashes: 36 arms before two look the same.
COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#000000", "#56b4e9", "#949494",
)  # fmt: skip
DASHES = ("-", "--", "-.", ":")
REFERENCE: Mapping[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}
HALO = [withStroke(linewidth=2, foreground="white")]  # so that intervals show on dark bars too
# In points, as printed.
SMALL = dict.fromkeys(
    ("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8
)


@contextmanager
def styled() -> Iterator[None]:
    """Axes with ticks and text of the size that papers print."""
    with sns.axes_style("ticks"), sns.plotting_context("paper", rc=SMALL):
        yield


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure of some inches under its title and its note."""
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [line for text in (title, note) for line in wrap(text, width=int(13.5 * width))]
    figure.suptitle("\n".join(lines), fontsize=9.5)
    return figure


def share(ratio: float) -> str:
    """A share of malicious clients, to follow a name; nothing for none."""
    return f", {100 * ratio:g} % malicious" if ratio else ""


def save_figure(figure: Figure, pdf: Path) -> None:
    """Write a figure as PDF, and as SVG and PNG beside it."""
    for kind in FORMATS:
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, dpi=200, metadata=UNDATED[kind])
        write_bytes(pdf.with_suffix(f".{kind}"), buffer.getvalue())
