"""Files are written whole or not at all, and text that must not change carries its checksum."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# Of files and folders whose names come from a config: no dot at an end, and never two in a row.
NAME = r"[A-Za-z0-9+_@=,-]+(\.[A-Za-z0-9+_@=,-]+)*"
SEAL = "sha256"  # the key of a JSON object's checksum over all else in it


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which becomes `path` once it is complete and on the disk.

    Its folder is made where missing. After a failure `path` is what it was before. A process that
    is killed leaves a file `<name>.<process>.tmp`, which nothing reads.
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
    """Write a file as `replaced` does."""
    with replaced(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file, as `write_bytes` does."""
    write_bytes(path, content.encode())


def write_with_sum(path: Path, content: str) -> None:
    """Write a text file, and beside it its checksum as `sha256sum --check` reads it."""
    write_text(path, content)
    write_text(_sum_of(path), f"{hashlib.sha256(content.encode()).hexdigest()}  {path.name}\n")


def read_with_sum(path: Path) -> str:
    """Read what `write_with_sum` wrote; without a file of the sum it is let through.

    Raises:
        ValueError: the sum does not hold.
    """
    content = path.read_bytes()
    if _sum_of(path).exists():
        found = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        if _sum_of(path).read_bytes() != found.encode():
            raise ValueError(f"its checksum in {_sum_of(path).name} does not hold")
    return content.decode()


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes left of `path`, once none of them can be writing it."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same JSON object with a checksum as one more key."""
    return {**values, SEAL: _checksum(values)}


def unsealed(text: str | bytes) -> dict[str, Any]:
    """The JSON object that was sealed. One without a checksum, of an older version, is let through.

    Raises:
        ValueError: this is no JSON object, or not the one that was sealed.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("is no JSON object")
    seal = values.pop(SEAL, None)
    if seal is not None and seal != _checksum(values):
        raise ValueError("its checksum does not hold: it was changed or damaged")
    return values


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Have the disk know a folder's names, without which a power cut undoes the renaming."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
