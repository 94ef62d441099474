"""Notes below tables: the sources of the numbers, and cautions."""

from collections.abc import Iterable, Sequence

import pandas as pd

from fedrec.analysis.summary import BETWEEN, CPU, devices, ended_early, mixtures, version
from fedrec.records import Record

NAMED = 3  # versions that are named individually


def of_summary(table: pd.DataFrame, note: str) -> list[str]:
    """Return the notes for a table made from a summary."""
    first = table[table.metric == table.metric.iloc[0]]
    missing = int(first.missing.sum())
    return _noted(
        "± is half of a 95 % interval, estimated from the users and seeds of all arms together "
        "(docs/statistics.md). Losses are against the run without attack and defence, paired by "
        "seed. The CSV has Holm-corrected p-values and intervals for other users, and names the "
        "records behind each row (column records).",
        _capital("; ".join(dict.fromkeys(filter(None, first.noise.dropna())))),
        ""
        if "paper" not in table or table.paper.isna().all()
        else "Agrees: the paper's value lies in the 95 % prediction interval for the mean of five "
        "new seeds.",
        counted(
            missing + int(first.seeds.sum()),
            missing,
            *map(int, (first.diverged.sum(), first.stopped.sum())),
        ),
        _versions(_split(table.versions)),
        made_on(_split(table.devices, BETWEEN) if "devices" in table else ()),
        _mixed(table.mixed.dropna().iloc[:1].tolist()),
        note,
    )


def of_records(records: Sequence[Record], note: str, *, count: bool = True) -> list[str]:
    """Return the notes for a table made from records; `count` adds the number of runs."""
    return _noted(
        counted(len(records), 0, **ended_early(records)) if count else "",
        _versions({version(r) for r in records}),
        made_on(devices(records)),
        _mixed(mixtures(records)),
        note,
    )


def of_picture(records: Sequence[Record], note: str) -> str:
    """Return the note for a figure, which has room only for the study's note and the devices."""
    return " ".join(_noted(note, made_on(devices(records))))


def made_on(names: Iterable[str]) -> str:
    """Describe the devices that made records; empty if all were made on a CPU."""
    found = sorted(names)
    if len(found) > 1:
        return f"Mixes records of {len(found)} devices: {', '.join(found)}."
    return f"Made on {found[0]}." if found and found != [CPU] else ""


def counted(runs: int, missing: int, diverged: int, stopped: int) -> str:
    """Describe how runs ended. A failed run has no record, so it is missing."""
    there = f"Runs: {runs - missing} of {runs}, {missing} missing" if missing else f"Runs: {runs}"
    return f"{there}; {diverged} diverged, {stopped} stopped before the last round."


def _capital(text: str) -> str:
    """Return a text as a sentence."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _noted(*notes: str) -> list[str]:
    return [note for note in notes if note]


def _split(column: "pd.Series[str]", between: str | None = None) -> set[str]:
    """Return the names in a column whose entries contain several names."""
    return {name for text in column.dropna() for name in str(text).split(between) if name}


def _versions(found: Iterable[str]) -> str:
    names = sorted(found)
    if len(names) <= 1:
        return f"Made by fedrec {names[0]}." if names else ""
    listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return f"Mixes records of {len(names)} versions of the code: {listed}."


def _mixed(found: Sequence[str]) -> str:
    text = "; ".join(text for text in found if text)
    return f"Mixes records of different settings: {text}." if text else ""
