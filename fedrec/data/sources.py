"""Sources of raw files (this machine, a mirror or the web) and their checksums."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from fedrec.data.byte_bar import byte_bar
from fedrec.errors import DataError
from fedrec.files import NAME

if TYPE_CHECKING:  # importing it takes 0.1 s, which only downloads should pay
    import requests

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = (10, 60)  # to connect, and between two chunks


class DownloadError(DataError):
    """A raw file could not be downloaded. The message names it and says what to do."""


def _over_https(url: str) -> str:
    if not re.fullmatch(rf"https://\S*/{NAME}", url):
        raise ValueError(f"{url!r} must be an https address whose last part is a plain file name")
    return url


def _without_braces(path: str) -> str:
    if "{" in path or "}" in path:
        raise ValueError(
            f"{path!r} contains braces, which Snakemake reads as wildcards: rename the file or "
            "folder"
        )
    return path


@dataclass(frozen=True)
class Source:
    """One raw file on the web."""

    url: Annotated[str, AfterValidator(_over_https)]
    """The address of the file; its last part is the file's name."""
    sha256: str
    """The checksum of the file, 64 hexadecimal digits."""
    terms: str
    """The terms under which the file may be used."""
    citation: str
    """The publication that users of the file are asked to cite."""

    @property
    def name(self) -> str:
        """The file's name, on the web and in a mirror."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def name_in_folder(self) -> str:
        """The file's name after its folder in the URL; a mirror may have separate folders."""
        return "/".join(self.url.rsplit("/", 2)[-2:])


@dataclass(frozen=True)
class LocalFile:
    """One raw file on this machine; it is read in place."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_without_braces)]
    """The path of the file, relative to the folder in which the study runs."""
    page: str | None = None
    """The web page that offers the file; nothing is downloaded from it."""
    sha256: str | None = None
    """The checksum that the file must have, if one is given."""
    terms: str | None = None
    """The terms under which the file may be used."""
    citation: str | None = None
    """The publication that users of the file are asked to cite."""

    @property
    def name(self) -> str:
        """The file's path."""
        return self.path

    def check(self) -> None:
        """Check that the file exists and has the right checksum.

        Raises:
            DataError: the file does not exist, or it has another checksum.
        """
        path = Path(self.path)
        if not path.is_file():
            page = f", or get the file from {self.page}" if self.page else ""
            raise DataError(
                f"{path}: there is no such file in {Path.cwd()}: correct `path` in the config{page}"
            )
        if self.sha256 is not None and (found := sha256_of(path)) != self.sha256:
            raise DataError(
                f"{path}: has the sha256 {found}, expected {self.sha256}: get the right file, or "
                "correct `sha256` in the config"
            )


def _kind(source: Any) -> str:
    local = "path" in source if isinstance(source, dict) else isinstance(source, LocalFile)
    return "file" if local else "download"


RawFile = Annotated[
    Annotated[Source, Tag("download")] | Annotated[LocalFile, Tag("file")], Discriminator(_kind)
]


def fetch(source: Source, target: Path, mirror: str | None = None) -> None:
    """Download the file of `source` to `target`, unless it is already there.

    `mirror`, a directory or a base http(s) URL, is tried first: with the folder and name from the
    file's URL, then with the name only. An interrupted transfer leaves `<target>.part`, from which
    the next one resumes. `target` appears only after its checksum has matched.

    Raises:
        DownloadError: the file is not available anywhere, or it has another checksum.
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
    """Check that a raw file is still the one that was downloaded.

    Raises:
        DataError: the file has another checksum than the source.
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
        except _failures() as error:
            reasons.append(f"{place}: {_reason(error)}")
        else:
            return place
    raise DownloadError(
        f"{source.name} could not be downloaded ({'; '.join(reasons)}): get {source.url} manually, "
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
        except _failures():
            # Retry as long as each attempt brings more bytes.
            if _size(part) <= before:
                raise


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of a failed transfer."""
    from urllib3.exceptions import HTTPError

    return OSError, HTTPError  # requests' exceptions are OSErrors


def _download_rest(url: str, part: Path) -> None:
    import requests

    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; the checksum shows whether there is too much
        response.raise_for_status()
        if url.startswith("https://") and not response.url.startswith("https://"):
            raise OSError(f"it redirects to {response.url}, which is not https")
        resumed = response.status_code == requests.codes.partial_content
        _append(response, part, have if resumed else 0)


def _append(response: "requests.Response", part: Path, start: int) -> None:
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
            "removed: try again, and if the checksum stays wrong, get the file from another place"
        )


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return str(error) if type(error) is OSError else type(error).__name__


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
