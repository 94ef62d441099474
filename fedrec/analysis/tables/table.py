"""Tables: the paper's values beside ours, as CSV, Markdown, LaTeX and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fedrec.analysis.summary import ARM
from fedrec.files import write_text
from fedrec.records import BASELINE, PLAIN

MISSING = "–"
ARM_TITLES = {
    "dataset": "Dataset",
    "model": "Model",
    "defense": "Defense",
    "attack": "Attack",
    "ratio": "Malicious",
}
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
    """A table in full precision, as it is shown, and what has to be said of it."""

    title: str
    values: pd.DataFrame
    shown: pd.DataFrame
    notes: Sequence[str] = field(default=())

    def write(self, csv: Path) -> None:
        """Full precision to `csv`; what is shown to Markdown, LaTeX (booktabs), HTML beside it."""
        write_text(csv, self.values.to_csv(index=False))
        for suffix, text in ((".md", _markdown), (".tex", _latex), (".html", _html)):
            write_text(csv.with_suffix(suffix), text(self))


def attack_table(
    summary: pd.DataFrame, paper: pd.DataFrame, metrics: Sequence[str]
) -> pd.DataFrame:
    """The paper's value and ours for each arm and metric: one row each, full precision.

    `paper` has the columns of an arm, `metric` and `value`. Its degradation is worked out from
    its own values, in per cent. Arms that the paper does not have stay without its columns.
    """
    theirs = paper.rename(columns={"value": "paper"})[[*ARM, "metric", "paper"]]
    theirs = theirs.drop_duplicates([*ARM, "metric"])  # tables of the paper share some
    plain = (theirs.attack == BASELINE) & (theirs.defense == PLAIN)
    base = theirs[plain].rename(columns={"paper": "base"})
    keys = ["dataset", "model", "metric"]
    theirs = theirs.merge(base[[*keys, "base"]], on=keys, how="left")
    theirs["paper_degradation"] = 100 * (theirs.base - theirs.paper) / theirs.base
    theirs.loc[plain.to_numpy(), "paper_degradation"] = float("nan")
    shown = summary[summary.metric.isin(metrics)]
    found = shown.merge(theirs.drop(columns="base"), on=[*ARM, "metric"], how="left")
    return found.assign(agreement=[_agreement(row) for row in rows_of(found)])


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by column."""
    rows: Any = table.to_dict("records")
    return list(rows)


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """An attack table to be read: a row an arm, columns by metric, without what never varies."""
    arms = _arms(table.drop_duplicates(ARM))
    blocks = [
        _metric_columns(table[table.metric == metric]).add_prefix(f"{metric.upper()} ")
        for metric in table.metric.unique()
    ]
    return pd.concat([arms, *blocks], axis=1)


def constants(table: pd.DataFrame) -> str:
    """What all arms of a table share, in words."""
    return ", ".join(
        f"{share(table.ratio.max())} malicious" if name == "ratio" else str(table[name].iloc[0])
        for name in ARM_TITLES
        if len(set(table[name]) - {0}) == 1
    )


def dataset_table(
    counts: Mapping[str, Mapping[str, int]],
    repeats: Mapping[str, Mapping[str, int]],
    paper: pd.DataFrame,
) -> pd.DataFrame:
    """Statistics of datasets, as in the paper's Table 2, with the paper's counts beside ours.

    `repeats` are the users whose validation or test item they took before.
    """
    rows = []
    for name, found in counts.items():
        users, items, actions = found["users"], found["items"], found["interactions"]
        row = {
            "dataset": name,
            "users": users,
            "items": items,
            "interactions": actions,
            "avg_length": actions / users,
            "density": actions / (users * items),
            **{f"repeated_{target}": n for target, n in repeats.get(name, {}).items()},
        }
        stated = paper[paper.dataset == name].set_index("metric").value
        rows.append(row | {f"paper_{key}": stated.get(key) for key in found})
    return pd.DataFrame(rows)


def formatted_datasets(table: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as the paper prints it; a last column says whether the paper's counts are met."""
    shown = pd.DataFrame({"Dataset": table.dataset})
    for title, key in (("#Users", "users"), ("#Items", "items"), ("#Actions", "interactions")):
        shown[title] = [f"{value:,}" for value in table[key]]
    shown["Avg. length"] = [f"{value:.1f}" for value in table.avg_length]
    shown["Density"] = [f"{100 * value:.2f} %" for value in table.density]
    if "repeated_test" in table:
        counts = table.repeated_test
        shown["Repeated targets"] = [MISSING if pd.isna(n) else f"{n:,.0f}" for n in counts]
    shown["As in the paper"] = [_agrees(row) for _, row in table.iterrows()]
    return shown


def value(mean: float, half_width: float = float("nan")) -> str:
    """A metric, with half of its interval if there is one."""
    if pd.isna(mean):
        return MISSING
    return f"{mean:.5f}" + ("" if pd.isna(half_width) else f" ± {half_width:.5f}")


def percent(number: float, half_width: float = float("nan")) -> str:
    """A share in per cent, likewise."""
    if pd.isna(number):
        return MISSING
    return f"{number:.2f} %" + ("" if pd.isna(half_width) else f" ± {half_width:.2f}")


def _arms(table: pd.DataFrame) -> pd.DataFrame:
    """The names that tell rows apart, and of how many seeds there are records."""
    shown = pd.DataFrame(
        {
            title: [share(r) for r in table.ratio] if name == "ratio" else table[name].tolist()
            for name, title in ARM_TITLES.items()
            if len(set(table[name]) - {0}) > 1 or name == "attack"
        }
    )
    shown["Seeds"] = [_seeds(row) for row in rows_of(table)]
    return shown


def _seeds(row: Mapping[str, Any]) -> str:
    """How many records a row is made from, and of how many that are wanted."""
    wanted = f" of {row['seeds'] + row['missing']}" if row["missing"] else ""
    diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
    return f"{row['seeds']}{wanted}{diverged}"


def share(ratio: float) -> str:
    """A share of malicious clients in per cent."""
    return f"{100 * ratio:g} %" if ratio else MISSING


def _metric_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """What is shown of one metric."""
    found = rows_of(rows)
    columns = {
        "paper": [value(row["paper"]) for row in found],
        "ours": [value(row["mean"], row["ci95"]) for row in found],
        "agrees": [row["agreement"] for row in found],
        "paper: lost": [percent(row["paper_degradation"]) for row in found],
        "ours: lost": [percent(row["degradation"], row["degradation_ci95"]) for row in found],
    }
    if rows.paper.isna().all():
        columns = {name: column for name, column in columns.items() if "ours" in name}
    return pd.DataFrame(columns)


def page(title: str, text: str, note: str = "") -> str:
    """A text as it stands, as an HTML page."""
    notes = f"<p>{escape(note)}</p>\n" if note else ""
    return PAGE.format(title=escape(title), table=f"<pre>{escape(text)}</pre>", notes=notes)


def _agreement(row: Mapping[str, Any]) -> str:
    """Whether the paper's value lies where the mean of five other seeds would, at 95 %."""
    apart = abs(row["paper"] - row["mean"])
    if pd.isna(apart) or pd.isna(row["again"]):
        return MISSING
    return "yes" if apart <= row["again"] else "no"


def _agrees(row: pd.Series) -> str:
    keys = ("users", "items", "interactions")
    if pd.isna(row["paper_users"]):
        return MISSING
    return "yes" if all(row[key] == row[f"paper_{key}"] for key in keys) else "no"


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
    """Long texts are marked, so that they do not shrink to a word a line beside wide columns."""
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
