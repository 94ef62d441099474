"""What a file holds: its columns, its numbers, and the config entry that reads it."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fedrec.data.filters import KCore
from fedrec.data.guessing import Guess, Known, Reader, Sample, guess
from fedrec.data.interactions import Counts, Interactions
from fedrec.data.readers.delimited import Delimited
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.parquet import Parquet
from fedrec.data.sources import sha256_of
from fedrec.data.split import Repeats, leave_one_out

CORES = (5, 10)
SHOWN_ROWS, WIDEST = 3, 24
_KEYS: dict[type, str] = {Delimited: "format", ItemLists: "item_lists", Parquet: "parquet"}


@dataclass(frozen=True)
class Facts:
    """What matters of a log before it is used."""

    counts: Counts
    span: tuple[int, int]  # first and last time, seconds since 1970-01-01 UTC
    repeated_pairs: int  # interactions of a user with an item that it took before
    repeated_rows: int  # those at the same time, too
    short_users: int  # with fewer than three interactions, too few to split
    cores: dict[int, Counts]  # what a k-core leaves, by k
    repeats: Repeats | None  # of the users who are long enough; None where nobody is

    @staticmethod
    def of(log: Interactions) -> "Facts":
        """Count what a log holds."""
        rows = pd.DataFrame({"user": log.user, "item": log.item, "time": log.time})
        long = (np.bincount(log.user) >= 3)[log.user]
        return Facts(
            counts=log.counts,
            span=(int(log.time.min()), int(log.time.max())),
            repeated_pairs=int(rows.duplicated(["user", "item"]).sum()),
            repeated_rows=int(rows.duplicated().sum()),
            short_users=log.n_users - log.count(long).users,
            cores={k: _core(log, k) for k in CORES},
            repeats=leave_one_out(log.select(long)).repeats if long.any() else None,
        )


def inspect(path: Path, known: Known) -> str:
    """What a file holds, as text that ends with an entry for the config.

    Raises:
        DataError: the file cannot be read, or not be understood.
    """
    found = guess(path, known)
    log = (
        found.reader.read([path])
        if isinstance(found.reader, ItemLists)
        else found.reader.read(path)
    )
    facts = Facts.of(log)
    timeless = isinstance(found.reader, ItemLists)
    parts = [
        f"{path}: {_kind(found.reader)}\n",
        _table(_head(found)),
        _table(list(_lines(facts, timeless))),
        "An entry under `datasets:` in the config:\n",
        entry(path, found.reader, log, needs_core=facts.short_users > 0),
    ]
    return "\n".join(parts)


def entry(path: Path, reader: Reader, log: Interactions, needs_core: bool) -> str:
    """The YAML entry that reads a file; with a k-core where some users are too short."""
    settings = {
        field.name: getattr(reader, field.name)
        for field in dataclasses.fields(reader)
        if getattr(reader, field.name) != field.default
    }
    if not isinstance(reader, ItemLists) and _numeric(log):
        settings["numeric_ids"] = True
    values: dict[str, Any] = {
        "source": {"path": str(path), "sha256": sha256_of(path)},
        _KEYS[type(reader)]: settings,
    }
    if needs_core:
        values["k_core"] = {"k": CORES[0]}
    name = re.sub(r"\W+", "-", path.name.partition(".")[0]).strip("-") or "mine"
    text = yaml.safe_dump({name: values}, sort_keys=False, width=1000, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _core(log: Interactions, k: int) -> Counts:
    *_, keep = KCore(k=k).passes(log)
    return log.count(keep)


def _numeric(log: Interactions) -> bool:
    return all(np.char.isdecimal(labels).all() for labels in (log.user_labels, log.item_labels))


def _kind(reader: Reader) -> str:
    if isinstance(reader, Parquet):
        return "Parquet"
    if isinstance(reader, ItemLists):
        return f"item lists, separated by {reader.separator!r}, in the order of time"
    header = "a header" if reader.header else "no header"
    return f"text with one interaction a line, separated by {reader.separator!r}, {header}"


def _head(found: Guess) -> list[list[str]]:
    """The first rows, each column under its number, name and use."""
    sample, rows = found.sample, []
    rows.append(["column", *(str(i) for i in range(len(sample.columns)))])
    if sample.names:
        rows.append(["name", *sample.names])
    rows.append(["read as", *_uses(found.reader, sample)])
    for i in range(min(SHOWN_ROWS, *map(len, sample.columns))):
        rows.append([f"row {i + 1}", *(_short(column[i]) for column in sample.columns)])
    return rows


def _uses(reader: Reader, sample: Sample) -> list[str]:
    if isinstance(reader, ItemLists):
        return list(sample.names)
    names = sample.names or range(len(sample.columns))
    places = {getattr(reader, what): what for what in ("user", "item", "time", "rating")}
    uses = [places.get(name, places.get(i, "")) for i, name in enumerate(names)]
    return [f"{use} ({reader.time_format})" if use == "time" else use for use in uses]


def _lines(facts: Facts, timeless: bool) -> Iterator[list[str]]:
    """Each fact and its value."""
    counts = facts.counts
    yield ["users", f"{counts.users:,}"]
    yield ["items", f"{counts.items:,}"]
    yield ["interactions", f"{counts.interactions:,}"]
    if not timeless:
        for what, seconds in zip(("first", "last"), facts.span, strict=True):
            yield [what, f"{pd.Timestamp(seconds, unit='s')} UTC"]
    yield ["of an item that its user had before", f"{facts.repeated_pairs:,} interactions"]
    yield ["of these at the same time too", f"{facts.repeated_rows:,} interactions"]
    yield ["with fewer than 3 interactions", f"{facts.short_users:,} users, too short to split"]
    for k, core in facts.cores.items():
        yield [f"left by a {k}-core", str(core) if core.users else "nothing"]
    if facts.repeats:
        yield [
            "whose test item they had before",
            f"{facts.repeats.test:,} of {facts.repeats.users:,} users (protocol.repeat_targets)",
        ]


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"  {line}\n" for line in lines)
