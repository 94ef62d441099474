"""What stands below tables: where numbers come from, and what to be careful about."""

from collections.abc import Iterable, Sequence

import pandas as pd

from fedrec.analysis.summary import mixtures, version
from fedrec.records import Record

NAMED = 3  # versions that are named one by one


def of_summary(table: pd.DataFrame, note: str) -> list[str]:
    """For a table made from a summary."""
    first = table[table.metric == table.metric.iloc[0]]
    missing = int(first.missing.sum())
    return _noted(
        "± is a 95 % Student-t interval over seeds. Losses are against the run without attack and "
        "defence, paired by seed. The CSV has intervals and Holm-corrected p-values over users, "
        "and names the records behind each row (column records).",
        ""
        if table.paper.isna().all()
        else "Agrees: the paper's value lies in our interval; else ours within ±10 % of it; or no.",
        f"Missing: {missing} of {missing + int(first.seeds.sum())} records." if missing else "",
        _versions({v for text in table.versions.dropna() for v in str(text).split()}),
        _mixed(table.mixed.dropna().iloc[:1].tolist()),
        note,
    )


def of_records(records: Sequence[Record], note: str) -> list[str]:
    """For a table made from records."""
    return _noted(_versions({version(r) for r in records}), _mixed(mixtures(records)), note)


def _noted(*notes: str) -> list[str]:
    return [note for note in notes if note]


def _versions(found: Iterable[str]) -> str:
    names = sorted(found)
    if len(names) <= 1:
        return f"Made by fedrec {names[0]}." if names else ""
    listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return f"Mixes records of {len(names)} versions of the code: {listed}."


def _mixed(found: Sequence[str]) -> str:
    text = "; ".join(text for text in found if text)
    return f"Mixes records of different settings: {text}." if text else ""
