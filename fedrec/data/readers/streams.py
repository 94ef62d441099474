"""Raw text files as blocks of whole lines: unpacked, and checked to be data."""

import bz2
import gzip
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from fedrec.data.byte_bar import byte_bar
from fedrec.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 2**20  # bytes
LONGEST_LINE = 2**20  # bytes
# Compression shrinks a text to a tenth, perhaps to a thirtieth.
BOMB_RATIO, BOMB_BYTES = 200, 2**30
BOM, WIDE_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")
UNPACKERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstd.open,
}
# Everything that the unpackers raise for files that are damaged, encrypted or in another format.
_UNREADABLE = (
    *(OSError, EOFError, KeyError, RuntimeError, UnicodeDecodeError, zipfile.BadZipFile),
    *(lzma.LZMAError, zstd.ZstdError, struct.error, zlib.error),
)


def blocks(path: Path, member: str | None = None) -> Iterator[bytes]:
    """Yield the text of a file, plain or compressed, in blocks of whole lines, with progress.

    All line ends are converted to line feeds. The text is UTF-8 without a byte order mark; a byte
    that is not valid UTF-8 appears as an escape such as `\\xff`.

    Raises:
        DataError: the file cannot be read, or is not data: a web page, UTF-16, a line that is too
            long, or an archive that unpacks to far more than a text would.
    """
    try:
        packed = path.stat().st_size
        with _unpacked(path, member) as stream, byte_bar(path.name, delay=1.0) as bar:
            for block in _Text(path, packed).blocks(stream):
                bar.update(len(block))
                yield block
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}): fetch the file again") from error


def after_lines(count: int, found: Iterator[bytes]) -> Iterator[bytes]:
    """Drop the first `count` lines of some blocks."""
    for block in found:
        while block and count:
            _, _, block = block.partition(b"\n")
            count -= 1
        if block:
            return chain([block], found)
    return iter(())


def members(path: Path) -> list[str]:
    """Return the names of the files in a zip archive.

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
        with UNPACKERS.get(path.suffix.lower(), Path.open)(path, "rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise DataError(
                    f"{path}: contains {name!r}, a path outside the archive: do not unpack it, and "
                    "get the file from another place"
                )
        with archive.open(member) as stream:
            yield stream


class _Text:
    """Passes blocks on, and raises an error for content that is not a text of short lines."""

    def __init__(self, path: Path, packed: int) -> None:
        self._path, self._packed = path, packed
        self._most = max(BOMB_RATIO * packed, BOMB_BYTES)
        self._given = self._lines = 0

    def blocks(self, stream: Any) -> Iterator[bytes]:
        old_mac = None
        while block := stream.read(BLOCK):
            block += stream.readline(LONGEST_LINE)
            if old_mac is None:
                block = self._beginning(block)
                old_mac = b"\r" in block and b"\n" not in block
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
                block = block.replace(b"\r", b"\n") if old_mac else block
            self._check(block)
            yield block if block.isascii() else block.decode("utf-8", "backslashreplace").encode()

    def _beginning(self, block: bytes) -> bytes:
        if block.startswith(WIDE_BOMS):
            raise DataError(f"{self._path}: is UTF-16 text: save it as UTF-8")
        block = block.removeprefix(BOM)
        if block[:4096].lstrip().lower().startswith(MARKUP):
            raise DataError(
                f"{self._path}: line 1: is a web page, not data: its address may have moved or may "
                "need a login; fetch the file again"
            )
        if b"\0" in block[:4096]:
            raise DataError(
                f"{self._path}: is not a text: name its format, or fetch the file again"
            )
        return block

    def _check(self, block: bytes) -> None:
        self._given += len(block)
        if self._given > self._most:
            raise DataError(
                f"{self._path}: unpacks to more than {self._most >> 20:,} MiB from "
                f"{self._packed >> 10:,} KiB, which no text does: fetch the file again"
            )
        self._refuse(block, b"\0", "has a zero byte, which no text has: fetch the file again")
        self._refuse(block, b"\r", "has a carriage return within a line: put a blank there")
        ends = block.count(b"\n")
        if len(block) - block.rfind(b"\n") - 1 > LONGEST_LINE:
            raise DataError(
                f"{self._path}: line {self._lines + ends + 1}: is longer than "
                f"{LONGEST_LINE >> 20} MiB: end lines with a line feed, or fetch the file again"
            )
        self._lines += ends

    def _refuse(self, block: bytes, byte: bytes, problem: str) -> None:
        if (place := block.find(byte)) >= 0:
            line = self._lines + block.count(b"\n", 0, place) + 1
            raise DataError(f"{self._path}: line {line}: {problem}")
