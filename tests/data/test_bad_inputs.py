"""Everything that a file may be instead of data: one message, and nothing written."""

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fedrec.cli.main import main
from fedrec.data.dataset import Dataset
from fedrec.data.readers import streams
from fedrec.errors import DataError

PLAIN = {"separator": ",", "user": 0, "item": 1, "time": 2}
NAMED = {"separator": ",", "user": "who", "item": "what", "time": "when", "header": True}
ISO = PLAIN | {"time_format": "iso8601"}
ZIPPED = PLAIN | {"member": "log.csv"}
NUMERIC = PLAIN | {"numeric_ids": True}
GOOD = b"a,p,1\na,q,2\na,r,3\n"


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, GOOD)
    return buffer.getvalue()


# What is wrong: the file's name, its content, the format it is read in, and the message.
BAD: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "truncated gzip": ("a.gz", gzip.compress(GOOD * 99)[:-9], PLAIN, "fetch the file again"),
    "damaged zip": ("a.zip", zipped("log.csv")[:-9], ZIPPED, "fetch the file again"),
    "HTML page": ("a.csv", b"<!doctype html>\n<p>gone", PLAIN, "line 1: is a web page.*fetch"),
    "missing column": ("a.csv", b"a,p\n", PLAIN, "line 1: needs user, item, time.*correct"),
    "no such name": ("a.csv", b"who,what\na,p\n", NAMED, "line 1: .*no columns 'when'.*correct"),
    "two of a name": ("a.csv", b"who,who,what,when\n", NAMED, "line 1: .*2 columns 'who'.*correct"),
    "header again": (
        "a.csv", b"who,what,when\na,p,1\nwho,what,when\n", NAMED, "line 3: its time .* is not unix",
    ),
    "non-numeric user": ("a.csv", b"1,2,3\nx,2,3\n", NUMERIC, "line 2: its user .* is no.*correct"),
    "non-numeric item": ("a.csv", b"1,2,3\n1,2.5,3\n", NUMERIC, "line 2: its item .* not a whole"),
    "unparsable time": ("a.csv", GOOD + b"a,p,soon\n", PLAIN, "line 4: its time .* is not unix"),
    "negative time": ("a.csv", GOOD + b"a,p,-1\n", PLAIN, "line 4: its time .* is before 1970"),
    "milliseconds": ("a.csv", b"a,p,1700000000000\n", PLAIN, "line 1: .*after 9999.*`unix_ms`"),
    "mixed zones": (
        "a.csv", b"a,p,2020-01-01T00:00:00Z\na,p,2020-01-01T00:00:00\n", ISO, "line 2: .*zone",
    ),
    "empty file": ("a.csv", b"", PLAIN, "no line of data: fetch"),
    "header alone": ("a.csv", b"who,what,when\n", NAMED, "no line of data: fetch"),
    "UTF-16": ("a.csv", GOOD.decode().encode("utf-16"), PLAIN, "UTF-16 text: save it as UTF-8"),
    "NaN id": ("a.csv", b"a,p,1\nNaN,p,1\n", PLAIN, "line 2: its user .* seems to be missing"),
    "giant line": ("a.csv", GOOD + b"x" * 2**21, PLAIN, "line 4: is longer than 1 MiB: end lines"),
    "member with ..": ("a.zip", zipped("log.csv", "../x"), ZIPPED, "outside the archive: do not"),
    "absolute member": ("a.zip", zipped("log.csv", "/x"), ZIPPED, "outside the archive: do not"),
    "bomb": ("a.gz", gzip.compress(GOOD * 2**18), PLAIN, "unpacks to more than.*fetch"),
}  # fmt: skip


@pytest.fixture
def bad(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, Any], str]:
    """A file, the dataset's entry that reads it, and what is to be said of it."""
    name, content, settings, message = BAD[request.param]
    monkeypatch.setattr(streams, "BOMB_BYTES", 2**22)
    (tmp_path / name).write_bytes(content)
    return tmp_path / name, {"source": {"path": str(tmp_path / name)}, "format": settings}, message


@pytest.mark.parametrize("bad", BAD, indirect=True)
def test_the_reader_names_the_file_the_line_and_the_remedy(
    bad: tuple[Path, dict[str, Any], str],
) -> None:
    path, dataset, message = bad
    with pytest.raises(DataError, match=message) as caught:
        Dataset.model_validate_json(json.dumps(dataset)).read([path])
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", BAD, indirect=True)
def test_the_command_fails_in_one_line_and_writes_nothing(
    bad: tuple[Path, dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, dataset, message = bad
    fails_with(
        message, ["interactions", json.dumps(dataset), "--raw", str(path)], path.parent, capsys
    )


def fails_with(
    message: str, command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command exits with 1, one line, and the folder as it was."""
    before = sorted(folder.iterdir())
    assert main([*command, "--output", str(folder / "out.npz")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fedrec {command[0]}: ") and error.count("\n") == 1
    assert re.search(message, error)
    assert sorted(folder.iterdir()) == before


def test_a_checksum_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    source = {"path": str(tmp_path / "a.csv"), "sha256": "0" * 64}
    dataset = json.dumps({"source": source, "format": PLAIN})
    command = ["interactions", dataset, "--raw", str(tmp_path / "a.csv")]
    fails_with("has the sha256 .*expected 000.*correct", command, tmp_path, capsys)


def test_a_download_whose_checksum_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "out.npz").write_bytes(GOOD)
    monkeypatch.setenv("FEDREC_MIRROR", str(tmp_path / "mirror"))
    source = {"url": "https://example.org/out.npz", "sha256": "0" * 64, "terms": "", "citation": ""}
    before = sorted(tmp_path.rglob("*"))
    command = ["download", json.dumps({"source": source, "format": PLAIN})]
    assert main([*command, "--output", str(tmp_path / "out.npz")]) == 1
    assert "expected 000" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_local_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = json.dumps({"source": {"path": "gone.csv"}, "format": PLAIN})
    command = ["interactions", dataset, "--raw", "gone.csv"]
    fails_with("gone.csv: there is no such file in .*: correct `path`", command, tmp_path, capsys)


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """A folder with the interactions of one user who took p, q and r, and another who took p."""
    (tmp_path / "a.csv").write_bytes(GOOD + b"b,p,4\n")
    dataset = json.dumps({"source": {"path": str(tmp_path / "a.csv")}, "format": PLAIN})
    raw, out = str(tmp_path / "a.csv"), str(tmp_path / "log.npz")
    assert main(["interactions", dataset, "--raw", raw, "--output", out]) == 0
    return tmp_path


def test_a_user_who_is_too_short(stages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["split", "--input", str(stages / "log.npz"), "--repeats", str(stages / "r.json")]
    fails_with("1 of 2 users have fewer than 3 .*filter .* by a k-core", command, stages, capsys)


def test_a_filter_that_leaves_nothing(stages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = {"source": {"path": "a.csv"}, "format": PLAIN, "k_core": {"k": 3}}
    command = ["filter", json.dumps(dataset), "--input", str(stages / "log.npz")]
    written = ["--counts", str(stages / "counts.json"), "--passes", str(stages / "filter.json")]
    fails_with("3-core has no .*smaller k", [*command, *written], stages, capsys)


@pytest.mark.parametrize("text", ["", "id n\n", "id n\na 0 1\n", "id n\nz 0\n"])
def test_a_list_that_is_empty_malformed_or_of_another_dataset(
    stages: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (stages / "list.txt").write_text(text)
    (stages / "items.txt").write_text("id n\np 0\n")
    lists = {
        "users": {"path": str(stages / "list.txt")},
        "items": {"path": str(stages / "items.txt")},
    }
    dataset = {"source": {"path": "a.csv"}, "format": PLAIN, "id_lists": lists}
    command = ["filter", json.dumps(dataset), "--input", str(stages / "log.npz")]
    given = ["--lists", *(str(stages / name) for name in ("list.txt", "items.txt"))]
    fails_with(
        r"list\.txt.*(give the lists|correct)",
        [*command, *given, "--counts", str(stages / "c")],
        stages,
        capsys,
    )


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    dataset = Dataset.model_validate_json(
        json.dumps({"source": {"path": "a.csv"}, "format": PLAIN})
    )
    found = dataset.read([tmp_path / "a.csv"])
    assert found.user_labels.tolist() == ["a"] and found.item_labels.tolist() == ["p", "q", "r"]
    assert found.time.tolist() == [1_000_000, 2_000_000, 3_000_000]
