"""Atomic writing of files, and checksums for text that must not change."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic_core import from_json

# Names of files and folders that come from a config: no dot at either end, no two dots in a row.
NAME = r"[A-Za-z0-9+_@=,-]+(\.[A-Za-z0-9+_@=,-]+)*"
SEAL = "sha256"  # the key of the checksum in a JSON object; it covers all other keys


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` once it is complete and on the disk.

    The folder is created if it is missing. After a failure `path` is unchanged. A process that is
    killed leaves a file `<name>.<process>.tmp`, which nothing reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, as `replaced` does."""
    with replaced(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically, as `write_bytes` does."""
    write_bytes(path, content.encode())


def write_with_sum(path: Path, content: str) -> None:
    """Write a text file, and next to it a checksum file that `sha256sum --check` reads."""
    write_text(path, content)
    write_text(_sum_of(path), f"{hashlib.sha256(content.encode()).hexdigest()}  {path.name}\n")


def read_with_sum(path: Path) -> str:
    """Read a file that `write_with_sum` wrote. Without a checksum file, nothing is checked.

    Raises:
        ValueError: checksum mismatch.
    """
    content = path.read_bytes()
    if _sum_of(path).exists():
        found = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        if _sum_of(path).read_bytes() != found.encode():
            raise ValueError(f"checksum mismatch with {_sum_of(path).name}")
    return content.decode()


def remove_unfinished(path: Path) -> None:
    """Remove temporary files that killed processes left of `path`; no process may be writing it."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object with its checksum as one more key."""
    return {**values, SEAL: _checksum(values)}


def unsealed(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object that `sealed` made, and check its checksum.

    An object without a checksum, written by an older version, is accepted.

    Raises:
        ValueError: the text is not a JSON object, or its checksum does not match.
    """
    values = from_json(text)  # twice as fast as the standard library
    if not isinstance(values, dict):
        raise ValueError("is not a JSON object")
    seal = values.pop(SEAL, None)
    if seal is not None and seal != _checksum(values):
        raise ValueError("checksum mismatch: it was changed or damaged")
    return values


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk; otherwise a power cut could undo the renaming."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
