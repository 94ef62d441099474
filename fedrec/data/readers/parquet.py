"""Parquet files: their columns and rows, read by DuckDB."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedrec.data.readers.duck import Database, text
from fedrec.errors import DataError

# Even repetitive rows take some bits each. A damaged row count could otherwise fill the memory.
_ROWS_PER_BYTE = 1_000
_NESTED = ("[", "STRUCT", "MAP", "UNION", "VARIANT", "BLOB")


class Column(NamedTuple):
    """A column of a Parquet file: its name in the file, and its unique name in DuckDB."""

    name: str
    alias: str
    type: str


def parquet_columns(db: Database, path: Path) -> list[Column]:
    """Return the columns of a Parquet file; a nested column counts as one.

    Raises:
        DataError: the file claims more rows than a log of its size could have.
    """
    place = text(glob.escape(str(path)))
    (count,) = db.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({place})").fetchone()
    if count > _ROWS_PER_BYTE * path.stat().st_size:
        raise DataError(
            f"{path}: claims {count:,} rows in {path.stat().st_size:,} bytes, which is impossible "
            "for a log: fetch the file again"
        )
    schema = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({place})"
    names = _outermost(db.execute(schema).fetchall())
    types = db.execute(f"DESCRIBE SELECT * FROM {source(path)}").fetchall()
    return [Column(name, *found[:2]) for name, found in zip(names, types, strict=True)]


def column_named(db: Database, path: Path, name: str) -> Column:
    """Return the column of a Parquet file with a given name.

    Raises:
        DataError: there is no such column, there are two, or it has several values per row.
    """
    known = parquet_columns(db, path)
    found = [column for column in known if column.name == name]
    if len(found) != 1:
        raise DataError(
            f"{path}: has {len(found) or 'no'} columns {name!r}, only "
            f"{', '.join(column.name for column in known)}: correct the config"
        )
    if any(mark in found[0].type for mark in _NESTED):
        raise DataError(
            f"{path}: cannot be read (column {name!r} has the type {found[0].type}): correct the "
            "config, or fetch the file again"
        )
    return found[0]


def first_rows(
    db: Database, path: Path, count: int
) -> tuple[list[str], list[tuple[str | None, ...]]]:
    """Return the column names and the first rows of a Parquet file, as texts."""
    names = [column.name for column in parquet_columns(db, path)]
    query = f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {source(path)} LIMIT {count}"
    return names, db.execute(query).fetchall()


def source(path: Path) -> str:
    """Return the SQL that reads a Parquet file."""
    return f"read_parquet({text(glob.escape(str(path)))})"


def _outermost(schema: Sequence[tuple[str, int]]) -> list[str]:
    """Return the names directly below the root of a schema tree listed depth first."""
    left, found = [schema[0][1]], []
    for column, children in schema[1:]:
        while not left[-1]:
            left.pop()
        left[-1] -= 1
        if len(left) == 1:
            found.append(column)
        if children:
            left.append(children)
    return found
