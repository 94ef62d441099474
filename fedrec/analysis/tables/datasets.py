"""The table of datasets (paper, Table 2)."""

from collections.abc import Mapping

import pandas as pd

from fedrec.analysis.tables.table import MISSING


def dataset_table(
    counts: Mapping[str, Mapping[str, int]],
    repeats: Mapping[str, Mapping[str, int]],
    paper: pd.DataFrame,
) -> pd.DataFrame:
    """Return statistics of datasets as in the paper's Table 2, beside the paper's counts.

    `repeats` counts the users whose validation or test item is among their earlier items.
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
    """Format Table 2 as in the paper; a last column shows whether the paper's counts are met."""
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


def _agrees(row: pd.Series) -> str:
    keys = ("users", "items", "interactions")
    if pd.isna(row["paper_users"]):
        return MISSING
    return "yes" if all(row[key] == row[f"paper_{key}"] for key in keys) else "no"
