"""DuckDB, which reads and sorts tables; set so that it gives the same rows everywhere."""

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedrec.errors import DataError

Database = Any  # duckdb.DuckDBPyConnection, a module that is loaded where it is used

THREADS, MEMORY = 1, "1GB"


@contextmanager
def session() -> Iterator[Database]:
    """An empty database in memory; what does not fit goes to a folder that is deleted after."""
    import duckdb  # here, because all that reads no table should start without it

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
    """A path at which DuckDB reads `blocks` while they come.

    Raises what the blocks raise, rather than what DuckDB says of their sudden end.
    """
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        pumping = pool.submit(_pump, blocks, writer)
        try:
            yield f"/dev/fd/{reader}"
        finally:
            os.close(reader)  # so that a writer with more to say ends
            pumping.result()


def _pump(blocks: Iterable[bytes], writer: int) -> None:
    with suppress(BrokenPipeError), os.fdopen(writer, "wb") as pipe:
        for block in blocks:
            pipe.write(block)


def text(value: str) -> str:
    """A text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """The name of a column as SQL has it."""
    return '"' + value.replace('"', '""') + '"'


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What DuckDB or Python's reader of CSV says of a file becomes one line for its user.

    Raises:
        DataError: they did.
    """
    import duckdb

    try:
        yield
    except (OSError, MemoryError, csv.Error, duckdb.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read ({reason}): fetch the file again") from error
