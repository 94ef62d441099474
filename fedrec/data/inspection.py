"""What a file holds: its columns, its numbers, and the config entry that reads it."""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Bool

from fedrec.data.columns import Known, Sample
from fedrec.data.filters import KCore
from fedrec.data.guessing import Guess, Reader, guess
from fedrec.data.interactions import Counts, Interactions
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.rows import MISSING
from fedrec.data.readers.table import Table
from fedrec.data.sources import sha256_of
from fedrec.data.split import Repeats, leave_one_out

CORES = (5, 10)
SHOWN_ROWS, WIDEST = 3, 24
LARGE_SHARE, MANY = 0.1, 50  # of the interactions; users or items from which on it is odd


@dataclass(frozen=True)
class Facts:
    """What matters of a log before it is used."""

    counts: Counts
    span: tuple[int, int]  # first and last time, microseconds since 1970-01-01 UTC
    repeated_pairs: int  # interactions of a user with an item that it took before
    repeated_rows: int  # those at the same time, too
    ties: int  # interactions at the time of another of their user, with another item
    tied_tests: int  # users whose test item another one at the same time might as well be
    short_users: int  # with fewer than three interactions, too few to split
    cores: dict[int, Counts]  # what a k-core leaves, by k
    repeats: Repeats | None  # of the users who are long enough; None where nobody is

    @staticmethod
    def of(log: Interactions) -> "Facts":
        """Count what a log holds."""
        rows = pd.DataFrame({"user": log.user, "item": log.item, "time": log.time})
        long = (np.bincount(log.user) >= 3)[log.user]
        first = _tied_with_next(log)
        lasts = np.cumsum(np.bincount(log.user)) - 1
        return Facts(
            counts=log.counts,
            span=(int(log.time.min()), int(log.time.max())),
            repeated_pairs=int(rows.duplicated(["user", "item"]).sum()),
            repeated_rows=int(rows.duplicated().sum()),
            ties=int((first | np.roll(first, 1)).sum()),
            tied_tests=int(np.roll(first, 1)[lasts][long[lasts]].sum()),
            short_users=log.n_users - log.count(long).users,
            cores={k: _core(log, k) for k in CORES},
            repeats=leave_one_out(log.select(long)).repeats if long.any() else None,
        )


def _tied_with_next(log: Interactions) -> Bool[np.ndarray, "n"]:
    """Which interactions have the time of their user's next one, with another item."""
    same = (np.diff(log.user) == 0) & (np.diff(log.time) == 0) & (np.diff(log.item) != 0)
    return np.append(same, False)


def inspect(path: Path, known: Known) -> str:
    """What a file holds, as text that ends with an entry for the config.

    Raises:
        Unsure: two readings fit; the message says which option decides.
        DataError: the file cannot be read, or not be understood.
    """
    found = guess(path, known)
    missing: dict[str, int] = {}
    if isinstance(found.reader, Table) and known.missing_ids is None:
        missing = _missing(replace(found.reader, missing_ids="keep").read(found.path))
        if missing:
            found = replace(found, reader=replace(found.reader, missing_ids="drop"))
    log = _read(found)
    facts = Facts.of(log)
    timeless = isinstance(found.reader, ItemLists) or found.reader.time is None
    parts = [
        f"{found.path}: {_kind(found.reader)}\n",
        _table(_head(found)),
        _table([*_lines(facts, timeless), *_oddities(log, missing)]),
        "An entry under `datasets:` in the config:\n",
        entry(found.path, found.reader, log, needs_core=facts.short_users > 0),
    ]
    return "\n".join(parts)


def _read(found: Guess) -> Interactions:
    if isinstance(found.reader, ItemLists):
        return found.reader.read([found.path])
    return found.reader.read(found.path)


def _missing(log: Interactions) -> dict[str, int]:
    """How many interactions have a user or an item that seems to be missing, by what it is."""
    counts: Counter[str] = Counter()
    for ids, labels in ((log.user, log.user_labels), (log.item, log.item_labels)):
        for i in np.flatnonzero(np.isin(labels, MISSING)):
            counts[str(labels[i])] += int((ids == i).sum())
    return dict(counts)


def _oddities(log: Interactions, missing: Mapping[str, int]) -> Iterator[list[str]]:
    """What a reader should look at: ids that seem to be missing, and much too frequent ones."""
    if missing:
        each = ", ".join(f"{word} ({count:,})" for word, count in missing.items())
        yield ["with an id that seems missing", f"{each}: left out (--missing-ids keep keeps them)"]
    for what, ids, labels in (
        ("user", log.user, log.user_labels), ("item", log.item, log.item_labels),
    ):  # fmt: skip
        counts = np.bincount(ids)
        for i in np.flatnonzero(counts > LARGE_SHARE * len(ids)) if len(counts) >= MANY else ():
            share = counts[i] / len(ids)
            text = f"{share:.0%} of all, more than {LARGE_SHARE:.0%}: is it one {what}?"
            yield [f"of {what} {_short(str(labels[i]))!r}", text]


def entry(path: Path, reader: Reader, log: Interactions, needs_core: bool) -> str:
    """The YAML entry that reads a file; with a k-core where some users are too short."""
    settings = {
        field.name: getattr(reader, field.name)
        for field in dataclasses.fields(reader)
        if getattr(reader, field.name) != field.default
    }
    if isinstance(reader, Table) and reader.kind == "text":
        settings = {"separator": reader.separator, **settings}
    if not isinstance(reader, ItemLists) and _numeric(log):
        settings["numeric_ids"] = True
    values: dict[str, Any] = {
        "source": {"path": str(path), "sha256": sha256_of(path)},
        "item_lists" if isinstance(reader, ItemLists) else "format": settings,
    }
    if needs_core:
        values["k_core"] = {"k": CORES[0]}
    text = yaml.safe_dump({_name(path): values}, sort_keys=False, width=1000, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _name(path: Path) -> str:
    """What a dataset may be called: it becomes a folder."""
    plain = unicodedata.normalize("NFKD", path.name.partition(".")[0]).encode("ascii", "ignore")
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain.decode()).strip("-") or "mine"


def _core(log: Interactions, k: int) -> Counts:
    *_, rows = KCore(k=k).passes(log)
    return log.count(rows)


def _numeric(log: Interactions) -> bool:
    return all(np.char.isdecimal(labels).all() for labels in (log.user_labels, log.item_labels))


def _kind(reader: Reader) -> str:
    if isinstance(reader, ItemLists):
        return f"item lists, separated by {reader.separator!r}, in the order of time"
    if reader.kind != "text":
        return {"parquet": "Parquet", "json_lines": "JSON, an object on each line"}[reader.kind]
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
    parts = ("user", "item", "time", "clock", "rating")
    places = {getattr(reader, what): what for what in parts}
    uses = [places.get(name, places.get(i, "")) for i, name in enumerate(names)]
    return [f"{use} ({reader.time_format})" if use == "time" else use for use in uses]


def _lines(facts: Facts, timeless: bool) -> Iterator[list[str]]:
    """Each fact and its value."""
    counts = facts.counts
    yield ["users", f"{counts.users:,}"]
    yield ["items", f"{counts.items:,}"]
    yield ["interactions", f"{counts.interactions:,}"]
    if not timeless:
        for what, time in zip(("first", "last"), facts.span, strict=True):
            yield [what, f"{pd.Timestamp(time, unit='us')} UTC"]
        decides = "the file's order decides"
        yield ["at the same time as another", f"{facts.ties:,} interactions: {decides}"]
        yield ["whose test item is such a one", f"{facts.tied_tests:,} users: {decides}"]
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
