"""Tables: the paper's values beside ours, as CSV, Markdown and LaTeX."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fedrec.analysis.summary import ARM, BASELINE
from fedrec.files import write_text

SHOWN = ("hr@5", "ndcg@5")
MISSING = "–"


def attack_table(
    summary: pd.DataFrame, paper: pd.DataFrame, metrics: tuple[str, ...] = SHOWN
) -> pd.DataFrame:
    """The paper's value and ours for each arm and metric: one row each, full precision.

    `paper` has the columns of an arm, `metric` and `value`. Its degradation is worked out from
    its own values, in per cent. Arms that the paper does not have stay without its columns.
    """
    theirs = paper.rename(columns={"value": "paper"})[[*ARM, "metric", "paper"]]
    base = theirs[theirs.attack == BASELINE].rename(columns={"paper": "base"})
    keys = ["dataset", "model", "defense", "metric"]
    theirs = theirs.merge(base[[*keys, "base"]], on=keys, how="left")
    theirs["paper_degradation"] = 100 * (theirs.base - theirs.paper) / theirs.base
    theirs.loc[theirs.attack == BASELINE, "paper_degradation"] = float("nan")
    shown = summary[summary.metric.isin(metrics)]
    return shown.merge(theirs.drop(columns="base"), on=[*ARM, "metric"], how="left")


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """An attack table in the shape of the paper's: a row an arm, columns by metric."""
    shown = table[["dataset", "model", "defense", "attack", "ratio"]].copy()
    shown["ratio"] = [f"{100 * ratio:g} %" if ratio else MISSING for ratio in table.ratio]
    shown.columns = pd.Index(["Dataset", "Model", "Defense", "Attack", "Malicious"])
    values = pd.DataFrame(
        {
            "paper": [_value(v) for v in table.paper],
            "ours": [_value(m, c) for m, c in zip(table["mean"], table.ci95, strict=True)],
            "paper: lost": [_percent(v) for v in table.paper_degradation],
            "ours: lost": [
                _percent(d, c)
                for d, c in zip(table.degradation, table.degradation_ci95, strict=True)
            ],
        }
    )
    if table.paper.isna().all():
        values = values.drop(columns=["paper", "paper: lost"])
    blocks = []
    for metric in table.metric.unique():
        rows = (table.metric == metric).to_numpy()
        block = values[rows].add_prefix(f"{metric.upper()} ").reset_index(drop=True)
        blocks.append(block)
    arms = shown[(table.metric == table.metric.iloc[0]).to_numpy()].reset_index(drop=True)
    return pd.concat([arms, *blocks], axis=1)


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
            "repeated_validation": repeats[name]["validation"],
            "repeated_test": repeats[name]["test"],
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
    shown["Repeated targets"] = [f"{value:,}" for value in table.repeated_test]
    shown["As in the paper"] = [_agrees(row) for _, row in table.iterrows()]
    return shown


def write_table(values: pd.DataFrame, shown: pd.DataFrame, title: str, csv: Path) -> None:
    """Full precision to `csv`; what is shown to Markdown and LaTeX (booktabs) beside it."""
    write_text(csv, values.to_csv(index=False))
    write_text(csv.with_suffix(".md"), f"# {title}\n\n{_markdown(shown)}")
    write_text(csv.with_suffix(".tex"), _latex(shown, title))


def _agrees(row: pd.Series) -> str:
    keys = ("users", "items", "interactions")
    if pd.isna(row["paper_users"]):
        return MISSING
    return "yes" if all(row[key] == row[f"paper_{key}"] for key in keys) else "no"


def _value(mean: float, half_width: float = float("nan")) -> str:
    if pd.isna(mean):
        return MISSING
    return f"{mean:.5f}" + ("" if pd.isna(half_width) else f" ± {half_width:.5f}")


def _percent(value: float, half_width: float = float("nan")) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:.2f} %" + ("" if pd.isna(half_width) else f" ± {half_width:.2f}")


def _markdown(shown: pd.DataFrame) -> str:
    rows = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def _latex(shown: pd.DataFrame, title: str) -> str:
    style = (
        shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    )
    caption = re.sub(r"([&%#_$])", r"\\\1", title)
    text = style.to_latex(hrules=True, caption=caption, position="tbp", position_float="centering")
    return text.replace("±", r"$\pm$").replace("–", "--")
