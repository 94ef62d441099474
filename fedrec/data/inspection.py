"""Inspection of a data file: its columns, its statistics, and a config entry that reads it."""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Int64

from fedrec.data.columns import Known, Sample
from fedrec.data.filters import KCore
from fedrec.data.guessing import Guess, Reader, guess
from fedrec.data.interactions import Interactions
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.rows import MISSING
from fedrec.data.readers.table import Table
from fedrec.data.sources import sha256_of
from fedrec.data.split import leave_one_out
from fedrec.errors import DataError

CORES = (5, 10)
SHOWN_ROWS, WIDEST = 3, 24
# A user or item with a larger share of the interactions than LARGE_SHARE is reported, if there are
# at least MANY users or items.
LARGE_SHARE, MANY = 0.1, 50


def inspect(path: Path, known: Known) -> str:
    """Describe a file as text that ends with an entry for the config.

    Raises:
        Unsure: two interpretations fit; the message names the option that decides.
        DataError: the file cannot be read, or its format is not recognised.
    """
    found = guess(path, known)
    log, missing, reader = _read(found, known)
    timed = isinstance(reader, Table) and reader.time is not None
    parts = [
        f"{found.path}: {_kind(reader)}\n",
        _table(_head(found)),
        _table([*_facts(log, timed), *_missing(missing), *_frequent(log)]),
        "An entry under `datasets:` in the config:\n",
        _yaml(*_entry(found.path, reader, log)),
    ]
    return "\n".join(parts)


def entry_of(path: Path, known: Known) -> tuple[str, dict[str, Any]]:
    """Return a name for a file, and the config entry that `inspect` prints.

    Raises:
        Unsure, DataError: as in `inspect`.
    """
    found = guess(path, known)
    log, _, reader = _read(found, known)
    return _entry(found.path, reader, log)


def _read(found: Guess, known: Known) -> tuple[Interactions, Mapping[str, int], Reader]:
    """Return the log without rows whose ids seem missing, their counts by id, and the reader."""
    if isinstance(found.reader, ItemLists):
        return found.reader.read([found.path]), {}, found.reader
    if known.missing_ids is not None:
        return found.reader.read(found.path), {}, found.reader
    log = replace(found.reader, missing_ids="keep").read(found.path)
    missing: Counter[str] = Counter()
    keep = np.ones(len(log.user), dtype=bool)
    for ids, labels in ((log.user, log.user_labels), (log.item, log.item_labels)):
        for i in np.flatnonzero(np.isin(labels, MISSING)):
            missing[str(labels[i])] += int((ids == i).sum())
            keep &= ids != i
    if not missing:
        return log, {}, found.reader
    if not keep.any():
        raise DataError(
            f"{found.path}: in every row the user or the item seems missing: name other columns "
            "with --user and --item, or use --missing-ids keep"
        )
    return log.select(keep), missing, replace(found.reader, missing_ids="drop")


def _facts(log: Interactions, timed: bool) -> Iterator[list[str]]:
    """Yield the statistics of a log that matter before it is used, as (label, value)."""
    rows = pd.DataFrame({"user": log.user, "item": log.item, "time": log.time})
    again, lengths = rows.duplicated(["user", "item"]), np.bincount(log.user)
    yield ["users", f"{log.n_users:,}"]
    yield ["items", f"{log.n_items:,}"]
    yield ["interactions", f"{len(log.user):,}"]
    if timed:
        for what, time in (("first", log.time.min()), ("last", log.time.max())):
            yield [what, f"{pd.Timestamp(time, unit='us')} UTC"]
        yield from _ties(log, lengths)
    yield ["repeating an earlier user-item pair", f"{again.sum():,} interactions"]
    yield ["of these at the same time", f"{rows.duplicated().sum():,} interactions"]
    yield ["with fewer than 3 interactions", f"{(lengths < 3).sum():,} users, too short to split"]
    for k in CORES:
        *_, kept = KCore(k=k).passes(log)
        core = log.count(kept)
        yield [f"left after a {k}-core", str(core) if core.users else "nothing"]
    if (lengths >= 3).any():
        repeats = leave_one_out(log.select((lengths >= 3)[log.user])).repeats
        text = f"{repeats.test:,} of {repeats.users:,} users (protocol.repeat_targets)"
        yield ["with a test item seen before", text]


def _ties(log: Interactions, lengths: Int64[np.ndarray, "users"]) -> Iterator[list[str]]:
    """Count ties: interactions at the same time as one with another item, and tied test items."""
    same = (np.diff(log.user) == 0) & (np.diff(log.time) == 0) & (np.diff(log.item) != 0)
    with_next, with_last = np.append(same, False), np.append(False, same)
    lasts = np.cumsum(lengths) - 1
    for what, count, unit in (
        ("at the same time as another", (with_next | with_last).sum(), "interactions"),
        ("with such a test item", with_last[lasts][lengths >= 3].sum(), "users"),
    ):
        decides = ": the file's order decides" if count else ""
        yield [what, f"{count:,} {unit}{decides}"]


def _missing(missing: Mapping[str, int]) -> Iterator[list[str]]:
    if missing:
        each = ", ".join(f"{word} ({count:,})" for word, count in missing.items())
        yield ["with an id that seems missing", f"{each}: left out (--missing-ids keep keeps them)"]


def _frequent(log: Interactions) -> Iterator[list[str]]:
    """Yield users and items with a large share of the log; several may share one id."""
    for what, ids, labels in (
        ("user", log.user, log.user_labels), ("item", log.item, log.item_labels),
    ):  # fmt: skip
        counts = np.bincount(ids)
        for i in np.flatnonzero(counts > LARGE_SHARE * len(ids)) if len(counts) >= MANY else ():
            share = counts[i] / len(ids)
            text = f"{share:.0%} of all, more than {LARGE_SHARE:.0%}: is this a single {what}?"
            yield [f"of {what} {_short(str(labels[i]))!r}", text]


def _entry(path: Path, reader: Reader, log: Interactions) -> tuple[str, dict[str, Any]]:
    """Return a dataset name and the entry that reads a file, with a k-core if one is needed."""
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
    if (np.bincount(log.user) < 3).any():
        values["k_core"] = {"k": CORES[0]}
    return _name(path), values


def _yaml(name: str, values: Mapping[str, Any]) -> str:
    text = yaml.safe_dump({name: values}, sort_keys=False, width=1000, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _name(path: Path) -> str:
    """Derive a dataset name from a path; only characters that a folder's name may have."""
    plain = unicodedata.normalize("NFKD", path.name.partition(".")[0]).encode("ascii", "ignore")
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain.decode()).strip("-") or "mine"


def _numeric(log: Interactions) -> bool:
    return all(np.char.isdecimal(labels).all() for labels in (log.user_labels, log.item_labels))


def _kind(reader: Reader) -> str:
    if isinstance(reader, ItemLists):
        return f"item lists, separated by {reader.separator!r}, in time order"
    if reader.kind != "text":
        return {"parquet": "Parquet", "json_lines": "JSON, one object per line"}[reader.kind]
    header = "with a header" if reader.header else "without a header"
    return f"text with one interaction per line, separated by {reader.separator!r}, {header}"


def _head(found: Guess) -> list[list[str]]:
    """Return the first rows, with number, name and use of each column above them."""
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


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"  {line}\n" for line in lines)
