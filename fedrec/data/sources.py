"""Where raw files come from: this machine, a mirror or the web; and their checksums."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import requests
from pydantic import AfterValidator, Discriminator, Field, Tag
from urllib3.exceptions import HTTPError

from fedrec.data.byte_bar import byte_bar
from fedrec.errors import DataError
from fedrec.files import NAME

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = (10, 60)  # to connect, between two chunks
_FAILURES = (OSError, HTTPError)  # requests' exceptions are OSErrors


class DownloadError(DataError):
    """A raw file that could not be had: the message names it and says what to do."""


def _over_https(url: str) -> str:
    if not re.fullmatch(rf"https://\S*/{NAME}", url):
        raise ValueError(f"{url!r} must be an https address whose last part is a plain file name")
    return url


def _without_braces(path: str) -> str:
    if "{" in path or "}" in path:
        raise ValueError(
            f"{path!r} holds braces, which stand for wildcards in Snakemake: rename the file or "
            "folder"
        )
    return path


@dataclass(frozen=True)
class Source:
    """One raw file on the web."""

    url: Annotated[str, AfterValidator(_over_https)]
    """Where the file is; its last part is the file's name."""
    sha256: str
    """The checksum of the file, 64 hexadecimal digits."""
    terms: str
    """Under which terms the file may be used."""
    citation: str
    """What its users are asked to cite."""

    @property
    def name(self) -> str:
        """The file's name, on the web and in a mirror."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def name_in_folder(self) -> str:
        """The same after the folder that it lies in: a mirror may keep folders apart."""
        return "/".join(self.url.rsplit("/", 2)[-2:])


@dataclass(frozen=True)
class LocalFile:
    """One raw file on this machine; it is read where it lies."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_without_braces)]
    """Where the file is, seen from the folder that the study is run in."""
    page: str | None = None
    """The web page where the file can be had; nothing is fetched from it."""
    sha256: str | None = None
    """The checksum of the file, if it must be this one."""
    terms: str | None = None
    """Under which terms the file may be used."""
    citation: str | None = None
    """What its users are asked to cite."""

    @property
    def name(self) -> str:
        """The file's path."""
        return self.path

    def check(self) -> None:
        """Refuse a file that is not there, or not the one that was meant.

        Raises:
            DataError: there is no such file, or it has another checksum.
        """
        path = Path(self.path)
        if not path.is_file():
            page = f", or get the file from {self.page}" if self.page else ""
            raise DataError(
                f"{path}: there is no such file in {Path.cwd()}: correct `path` in the config{page}"
            )
        if self.sha256 is not None and (found := sha256_of(path)) != self.sha256:
            raise DataError(
                f"{path}: has the sha256 {found}, expected {self.sha256}: get the file that was "
                "meant, or correct `sha256` in the config"
            )


def _kind(source: Any) -> str:
    local = "path" in source if isinstance(source, dict) else isinstance(source, LocalFile)
    return "file" if local else "download"


RawFile = Annotated[
    Annotated[Source, Tag("download")] | Annotated[LocalFile, Tag("file")], Discriminator(_kind)
]


def fetch(source: Source, target: Path, mirror: str | None = None) -> None:
    """Bring the file of `source` to `target`; do nothing where it already is.

    `mirror`, a directory or a base http(s) URL, is tried first: for the file in the folder that it
    has in its URL, then for the file itself. A transfer that breaks leaves `<target>.part`, from
    which the next one goes on. `target` appears only once its sum is right.

    Raises:
        DownloadError: no place has the file, or it has another checksum.
    """
    if target.exists() and sha256_of(target) == source.sha256:
        return
    print(f"{source.name}: {source.terms}\nPlease cite: {source.citation}", file=sys.stderr)
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    place = _bring(source, part, mirror)
    _verify(source, part, place)
    os.replace(part, target)


def check_sum(source: Source, path: Path) -> None:
    """Refuse a raw file that is not the one that was fetched.

    Raises:
        DataError: its checksum is not the source's.
    """
    found = sha256_of(path)
    if found != source.sha256:
        raise DataError(
            f"{path}: has the sha256 {found}, expected {source.sha256}: it was changed or damaged; "
            "delete it and fetch it again"
        )


def _bring(source: Source, part: Path, mirror: str | None) -> str:
    reasons = []
    for place in _places(source, mirror):
        try:
            _transfer(place, part)
        except _FAILURES as error:
            reasons.append(f"{place}: {_reason(error)}")
        else:
            return place
    raise DownloadError(
        f"{source.name} could not be had ({'; '.join(reasons)}): get {source.url} by other means, "
        f"put the file named {source.name} into a directory and set FEDREC_MIRROR to it"
    )


def _places(source: Source, mirror: str | None) -> Iterator[str]:
    if mirror is not None:
        yield f"{mirror.rstrip('/')}/{source.name_in_folder}"
        yield f"{mirror.rstrip('/')}/{source.name}"
    yield source.url


def _transfer(place: str, part: Path) -> None:
    if place.startswith(("http://", "https://")):
        _download(place, part)
    else:
        shutil.copyfile(place, part)


def _download(url: str, part: Path) -> None:
    while True:
        before = _size(part)
        try:
            return _download_rest(url, part)
        except _FAILURES:
            # As long as each attempt brings something, the end comes nearer.
            if _size(part) <= before:
                raise


def _download_rest(url: str, part: Path) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; whether too much is there, the checksum tells
        response.raise_for_status()
        if url.startswith("https://") and not response.url.startswith("https://"):
            raise OSError(f"it leads to {response.url}, which is not https")
        resumed = response.status_code == requests.codes.partial_content
        _append(response, part, have if resumed else 0)


def _append(response: requests.Response, part: Path, start: int) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    with part.open("ab" if start else "wb") as file, byte_bar(part.stem, start, total) as bar:
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))


def _verify(source: Source, part: Path, place: str) -> None:
    found = sha256_of(part)
    if found != source.sha256:
        part.unlink()
        raise DownloadError(
            f"{source.name} from {place} has the sha256 {found}, expected {source.sha256}; it was "
            "removed: try again, and if the sum stays, get the file from another place"
        )


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return str(error) if type(error) is OSError else type(error).__name__


def sha256_of(path: Path) -> str:
    """The checksum of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
