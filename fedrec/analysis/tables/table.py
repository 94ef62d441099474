"""The type of all tables, and its output as CSV, Markdown, LaTeX and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fedrec.files import write_text

MISSING = "–"
MATHS = {
    "±": r"\pm", "≤": r"\leq", "≥": r"\geq", "α": r"\alpha", "β": r"\beta", "η": r"\eta",
    "λ": r"\lambda", "μ": r"\mu", "σ": r"\sigma", "τ": r"\tau", "Θ": r"\Theta", "‖": r"\|",
    "²": "^2", "⌈": r"\lceil ", "⌉": r"\rceil ", "·": r"\cdot ", "½": r"\frac{1}{2}",
    "−": "-", "\u0302": r"\hat{}",
}  # fmt: skip
LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%#_${}"}
    | {c: f"${maths}$" for c, maths in MATHS.items()}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"–": "--", "…": r"\dots{}"}
)


@dataclass(frozen=True)
class Table:
    """A table in full precision and as shown, with its title and its notes."""

    title: str
    values: pd.DataFrame
    shown: pd.DataFrame
    notes: Sequence[str] = field(default=())

    def write(self, csv: Path) -> None:
        """Write the values to `csv`, and the shown table as Markdown, LaTeX and HTML beside it."""
        write_text(csv, self.values.to_csv(index=False))
        for suffix, text in ((".md", _markdown), (".tex", _latex), (".html", _html)):
            write_text(csv.with_suffix(suffix), text(self))


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, by column."""
    rows: Any = table.to_dict("records")
    return list(rows)


def value(mean: float, half_width: float = float("nan")) -> str:
    """Format a metric, with half of its interval if there is one."""
    if pd.isna(mean):
        return MISSING
    return f"{mean:.5f}" + ("" if pd.isna(half_width) else f" ± {half_width:.5f}")


def percent(number: float, half_width: float = float("nan")) -> str:
    """Format a number of per cent, with half of its interval if there is one."""
    if pd.isna(number):
        return MISSING
    return f"{number:.2f} %" + ("" if pd.isna(half_width) else f" ± {half_width:.2f}")


def share(ratio: float) -> str:
    """Format a share of malicious clients in per cent."""
    return f"{100 * ratio:g} %" if ratio else MISSING


def seeds_of(row: Mapping[str, Any]) -> str:
    """Describe how many records a row has, and how many are wanted."""
    wanted = f" of {row['seeds'] + row['missing']}" if row["missing"] else ""
    early = [f"{row[how]} {how}" for how in ("diverged", "stopped") if row[how]]
    return f"{row['seeds']}{wanted}" + (f" ({', '.join(early)})" if early else "")


def page(title: str, text: str, note: str = "") -> str:
    """Return a preformatted text as an HTML page."""
    notes = f"<p>{escape(note)}</p>\n" if note else ""
    return PAGE.format(title=escape(title), table=f"<pre>{escape(text)}</pre>", notes=notes)


def _markdown(table: Table) -> str:
    shown = table.shown
    rows = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    body = "".join(f"| {' | '.join(str(c).replace('|', '/') for c in row)} |\n" for row in rows)
    return f"# {table.title}\n\n{body}" + "".join(f"\n{note}\n" for note in table.notes)


def _latex(table: Table) -> str:
    shown = table.shown.map(lambda cell: str(cell).translate(LATEX))
    shown.columns = pd.Index([name.translate(LATEX) for name in shown.columns])
    text = shown.style.hide(axis="index").to_latex(
        hrules=True,
        caption=table.title.translate(LATEX),
        position="tbp",
        position_float="centering",
    )
    notes = "".join(f"\\par\\smallskip {note.translate(LATEX)}\n" for note in table.notes)
    small = text.replace(
        "\\begin{tabular}", "\\footnotesize\\setlength{\\tabcolsep}{3pt}\n\\begin{tabular}"
    )
    return small.replace("\\end{table}", notes + "\\end{table}")


def _html(table: Table) -> str:
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in table.notes)
    shown = table.shown.map(_html_cell).rename(columns=escape)
    made = shown.to_html(index=False, border=0, escape=False)
    return PAGE.format(title=escape(table.title), table=made, notes=notes)


def _html_cell(content: object) -> str:
    """Mark long texts, so that they do not shrink to one word per line beside wide columns."""
    text = escape(str(content))
    return f"<div>{text}</div>" if len(text) > LONG else text


LONG = 40  # characters of a text
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 sans-serif; margin: 2em; color: #222; background: #fff; }}
table {{ border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }}
th, td {{ padding: .3em .8em; text-align: left; vertical-align: top; }}
td div {{ min-width: 18em; }}
th:first-child, td:first-child {{ min-width: 12em; }}
thead th {{ border-bottom: 1px solid; }}
tbody tr:hover {{ background: #f2f2f2; }}
p {{ max-width: 60em; color: #444; }}
</style>
<h1>{title}</h1>
{table}
{notes}</html>
"""
