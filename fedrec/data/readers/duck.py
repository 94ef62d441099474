"""DuckDB, which reads and sorts tables, with settings that give the same rows everywhere."""

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedrec.errors import DataError

Database = Any  # duckdb.DuckDBPyConnection; the module is imported only where it is used

THREADS, MEMORY = 1, "1GB"


@contextmanager
def session() -> Iterator[Database]:
    """Open an empty database in memory; data that do not fit go to a temporary folder."""
    import duckdb  # imported here, so that code which reads no tables starts without it

    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "threads": THREADS,
            "memory_limit": MEMORY,
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        }
        with duckdb.connect(":memory:", config=settings) as database:
            database.execute("SET TimeZone = 'UTC'")
            yield database


@contextmanager
def piped(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield a path from which DuckDB reads `blocks` as they arrive.

    An error in `blocks` is raised as it is, instead of DuckDB's error about the early end.
    """
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        pumping = pool.submit(_pump, blocks, writer)
        try:
            yield f"/dev/fd/{reader}"
        finally:
            os.close(reader)  # ends a writer that has more data
            pumping.result()


def _pump(blocks: Iterable[bytes], writer: int) -> None:
    with suppress(BrokenPipeError), os.fdopen(writer, "wb") as pipe:
        for block in blocks:
            pipe.write(block)


def text(value: str) -> str:
    """Quote a text as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Quote a column name for SQL."""
    return '"' + value.replace('"', '""') + '"'


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn errors of DuckDB and Python's CSV reader into a one-line message.

    Raises:
        DataError: DuckDB or the CSV reader raised an error.
    """
    import duckdb

    try:
        yield
    except (OSError, MemoryError, csv.Error, duckdb.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read ({reason}): fetch the file again") from error
