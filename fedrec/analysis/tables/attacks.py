"""The table of attacks: the paper's value and this study's, one row per arm."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec.analysis.summary import ARM
from fedrec.analysis.tables.table import MISSING, percent, rows_of, seeds_of, share, value
from fedrec.plan.cells import BASELINE, PLAIN

ARM_TITLES = {
    "dataset": "Dataset",
    "model": "Model",
    "defense": "Defense",
    "attack": "Attack",
    "ratio": "Malicious",
}


def attack_table(
    summary: pd.DataFrame, paper: pd.DataFrame, metrics: Sequence[str]
) -> pd.DataFrame:
    """Return one row, in full precision, per arm and metric: the paper's value and this study's.

    `paper` has the columns of an arm, `metric` and `value`. The paper's degradation is computed
    from its own values, in per cent. Its columns are empty for arms that it does not have.
    """
    theirs = paper.rename(columns={"value": "paper"})[[*ARM, "metric", "paper"]]
    theirs = theirs.drop_duplicates([*ARM, "metric"])  # several tables of the paper share values
    plain = (theirs.attack == BASELINE) & (theirs.defense == PLAIN)
    base = theirs[plain].rename(columns={"paper": "base"})
    keys = ["dataset", "model", "metric"]
    theirs = theirs.merge(base[[*keys, "base"]], on=keys, how="left")
    theirs["paper_degradation"] = 100 * (theirs.base - theirs.paper) / theirs.base
    theirs.loc[plain.to_numpy(), "paper_degradation"] = float("nan")
    shown = summary[summary.metric.isin(metrics)]
    found = shown.merge(theirs.drop(columns="base"), on=[*ARM, "metric"], how="left")
    return found.assign(agreement=[_agreement(row) for row in rows_of(found)])


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """Format an attack table: one row per arm, columns by metric, without constant columns."""
    arms = _arms(table.drop_duplicates(ARM))
    blocks = [
        _metric_columns(table[table.metric == metric]).add_prefix(f"{metric.upper()} ")
        for metric in table.metric.unique()
    ]
    return pd.concat([arms, *blocks], axis=1)


def constants(table: pd.DataFrame) -> str:
    """Describe what all arms of a table share."""
    return ", ".join(
        f"{share(table.ratio.max())} malicious" if name == "ratio" else str(table[name].iloc[0])
        for name in ARM_TITLES
        if len(set(table[name]) - {0}) == 1
    )


def _arms(table: pd.DataFrame) -> pd.DataFrame:
    """Return the names that distinguish the rows, and the number of seeds with records."""
    shown = pd.DataFrame(
        {
            title: [share(r) for r in table.ratio] if name == "ratio" else table[name].tolist()
            for name, title in ARM_TITLES.items()
            if len(set(table[name]) - {0}) > 1 or name == "attack"
        }
    )
    shown["Seeds"] = [seeds_of(row) for row in rows_of(table)]
    return shown


def _metric_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns shown for one metric."""
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


def _agreement(row: Mapping[str, Any]) -> str:
    """Return whether the paper's value is in the 95 % interval for the mean of five other seeds."""
    apart = abs(row["paper"] - row["mean"])
    if pd.isna(apart) or pd.isna(row["again"]):
        return MISSING
    return "yes" if apart <= row["again"] else "no"
