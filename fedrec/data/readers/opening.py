"""Raw text files as bytes: plain, gzipped or inside a zip, and refused where they are no data."""

import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path, PurePosixPath
from typing import Any

from fedrec.data.byte_bar import byte_bar
from fedrec.errors import DataError

BOM = b"\xef\xbb\xbf"
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")
LONGEST_LINE = 2**20  # bytes
# A text shrinks to a tenth, perhaps to a thirtieth.
BOMB_RATIO, BOMB_BYTES = 200, 2**30
# All that gzip and zipfile raise over archives that are damaged, encrypted or packed otherwise.
_UNREADABLE = (
    *(OSError, EOFError, KeyError, RuntimeError, UnicodeDecodeError),
    *(lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error),
)


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[BufferedReader]:
    """The decompressed bytes of a text file without its byte order mark, with a progress bar.

    Raises:
        DataError: it cannot be read, or is no data: a web page, UTF-16, a line without end, or an
            archive that unpacks to far more than a text would.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with _unpacked(path, member) as stream, byte_bar(path.name, delay=1.0) as bar:
            yield BufferedReader(_Guarded(stream, path, size, bar), 2**16)
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}): fetch the file again") from error


def members(path: Path) -> list[str]:
    """The files within a zip archive.

    Raises:
        DataError: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}): fetch the file again") from error


@contextmanager
def _unpacked(path: Path, member: str | None) -> Iterator[Any]:
    if member is None:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise DataError(
                    f"{path}: holds {name!r}, a name outside the archive: do not unpack it, and "
                    "get the file from another place"
                )
        with archive.open(member) as stream:
            yield stream


class _Guarded(RawIOBase):
    """Passes bytes on, and stops at the first that cannot belong to a text of short lines."""

    def __init__(self, stream: Any, path: Path, packed: int, bar: Any) -> None:
        self._stream, self._path, self._packed, self._bar = stream, path, packed, bar
        self._most = max(BOMB_RATIO * packed, BOMB_BYTES)
        self._given, self._lines, self._unfinished = 0, 0, 0
        self._ahead = self._beginning(stream.read(2**12))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._ahead[: len(buffer)] or self._stream.read(len(buffer))
        self._ahead = self._ahead[len(data) :]
        self._check(data)
        buffer[: len(data)] = data
        self._bar.update(len(data))
        return len(data)

    def _beginning(self, data: bytes) -> bytes:
        if data.startswith(WIDE_BOMS):
            raise DataError(f"{self._path}: is UTF-16 text: save it as UTF-8")
        data = data.removeprefix(BOM)
        if data.lstrip().lower().startswith(MARKUP):
            raise DataError(
                f"{self._path}: line 1: is a web page, not data: its address may have moved, or "
                "ask for a login; fetch the file again"
            )
        if b"\0" in data:
            raise DataError(f"{self._path}: is no text: name its format, or fetch the file again")
        return data

    def _check(self, data: bytes) -> None:
        self._given += len(data)
        if self._given > self._most:
            raise DataError(
                f"{self._path}: unpacks to more than {self._most >> 20:,} MiB from "
                f"{self._packed >> 10:,} KiB, as no text does: fetch the file again"
            )
        first, _, _ = data.partition(b"\n")
        if self._unfinished + len(first) > LONGEST_LINE:
            raise DataError(
                f"{self._path}: line {self._lines + 1}: is longer than {LONGEST_LINE >> 20} MiB: "
                "end lines with a line feed, or fetch the file again"
            )
        ends = data.count(b"\n")
        self._lines += ends
        self._unfinished = (
            len(data) - data.rfind(b"\n") - 1 if ends else self._unfinished + len(data)
        )
