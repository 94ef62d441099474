"""What `fedrec data inspect` says of a file, and whether its entry reads it."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from fedrec.cli.main import main
from fedrec.data.dataset import Dataset
from fedrec.data.guessing import Known, guess
from fedrec.data.interactions import Counts
from fedrec.data.readers.delimited import Delimited
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.parquet import Parquet
from fedrec.errors import DataError

CSV = "listener,track,stars,played_at\nann,t-17,4.5,2023-05-01 09:30:00\nbob,t-1,2.0,2023-05-02\n"


def guessed(tmp_path: Path, text: str, **known: Any) -> Any:
    (tmp_path / "log").write_text(text)
    return guess(tmp_path / "log", Known(**known)).reader


@pytest.mark.parametrize(
    ("text", "reader"),
    [
        ("1::1193::5::978300760\n2::661::3::978302109\n", Delimited("::", 0, 1, 3)),
        (
            "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22847\n0\t2010-10-18T22:17:43Z\t30.3\t-97.8\t4\n",
            Delimited("\t", 0, 4, 1, time_format="iso8601"),
        ),
        (
            CSV,
            Delimited(",", "listener", "track", "played_at", time_format="iso8601", header=True),
        ),
        ("1700000000123;i;u\n1700000000456;j;v\n", Delimited(";", 1, 2, 0, time_format="unix_ms")),
        (
            "item_id,timestamp,user_id\n5,978300760,6\n",
            Delimited(",", "user_id", "item_id", "timestamp", header=True),
        ),
        ("u i 978300760\nv j 978300760\n", Delimited(" ", 0, 1, 2)),
        ("0 1 2 3 4\n1 2\n2 7 8\n", ItemLists()),
        ("7 1\n", ItemLists()),
    ],
)
def test_formats_are_guessed(tmp_path: Path, text: str, reader: Any) -> None:
    assert guessed(tmp_path, text) == reader


def test_one_bad_line_does_not_mislead(tmp_path: Path) -> None:
    assert guessed(tmp_path, "u,i,978300760\nu,i\nu,j,978300761\n") == Delimited(",", 0, 1, 2)


def test_what_is_known_is_not_guessed(tmp_path: Path) -> None:
    text = "1,2,3,4\n5,6,7,8\n"
    known = {"user": 3, "item": 0, "time": 1, "time_format": "unix_ms", "header": True}
    expected = Delimited(",", 3, 0, 1, time_format="unix_ms", header=True)
    assert guessed(tmp_path, text, **known) == expected
    assert guessed(tmp_path, CSV, user="track").user == "track"
    assert guessed(tmp_path, CSV, rating="stars", min_rating=4.0).min_rating == 4.0
    assert guessed(tmp_path, "1,2,3\n4,5,6\n", separator=",", item_lists=True) == ItemLists(",")


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("", {}, "no line of data"),
        ("abc\ndef\n", {}, "line 1: 'abc' has no fields .*--separator"),
        ("a,b,c\nd,e,f\n", {}, r"which column is the time .* a, b, c.*--time"),
        ("978300760,1.5,a\n", {}, r"which column is the item .*--item"),
        (CSV, {"rating": "stars"}, "`rating` and `min_rating` belong together"),
        (CSV, {"time_zone": "Mars/Olympus"}, "no time zone"),
    ],
)
def test_what_cannot_be_understood_says_which_option_helps(
    tmp_path: Path, text: str, known: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"log: .*{message}"):
        guessed(tmp_path, text, **known)


def test_a_zip_of_several_files_asks_for_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("in/a.csv", CSV)
        archive.writestr("in/b.csv", CSV)
    with pytest.raises(DataError, match=r"holds in/a\.csv, in/b\.csv: choose by --member"):
        guess(tmp_path / "log.zip", Known())
    found = guess(tmp_path / "log.zip", Known(member="in/a.csv")).reader
    assert isinstance(found, Delimited) and found.member == "in/a.csv"


# The command

ROWS = (
    [("ann", item, day) for day, item in enumerate("pqrspp", start=1)]
    + [("bob", item, day) for day, item in enumerate("pqr", start=1)]
    + [("cat", "p", 1), ("cat", "p", 1)]
)
LINES = [f"{user},{item},2023-05-{day:02d}T12:00:00+02:00" for user, item, day in ROWS]
TEXT = "who,what,when\n" + "".join(f"{line}\n" for line in LINES)


def written(folder: Path, kind: str) -> Path:
    """The same log as plain text, gzipped, zipped, or Parquet."""
    path = folder / f"visits-2023.{kind}"
    match kind:
        case "csv":
            path.write_text(TEXT)
        case "csv.gz":
            path.write_bytes(gzip.compress(TEXT.encode()))
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("visits.csv", TEXT)
        case "parquet":
            who, what, when = zip(*(line.split(",") for line in LINES), strict=True)
            table = pyarrow.table({"user": who, "item": what, "time": when})
            pyarrow.parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "zip", "parquet"])
def test_the_command_says_what_a_file_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = written(tmp_path, kind)
    named = ["--user", "who", "--item", "what", "--time", "when"] if kind != "parquet" else []
    assert main(["data", "inspect", str(path), *named]) == 0
    text = capsys.readouterr().out
    facts = dict(line.strip().split("  ", 1) for line in text.splitlines() if "  " in line.strip())
    found = {key: value.strip() for key, value in facts.items()}
    assert (found["users"], found["items"], found["interactions"]) == ("3", "4", "11")
    assert found["first"] == "2023-05-01 10:00:00 UTC" and found["last"].startswith("2023-05-06 10")
    # ann took p twice again, cat once, at the same time too; cat is too short for a split.
    assert found["of an item that its user had before"] == "3 interactions"
    assert found["of these at the same time too"] == "1 interactions"
    assert found["with fewer than 3 interactions"] == "1 users, too short to split"
    assert found["whose test item they had before"].startswith("1 of 2 users")
    assert found["left by a 5-core"] == found["left by a 10-core"] == "nothing"
    ((name, entry),) = yaml.safe_load(text.partition("in the config:")[2]).items()
    dataset = Dataset.model_validate_json(json.dumps(entry))
    assert name == "visits-2023" and dataset.k_core
    assert dataset.read([path]).counts == Counts(3, 4, 11)
    for source in dataset.raw:
        source.check()


def test_item_lists_have_no_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.txt").write_text("0 1 2 3 1\n1 2 3\n2 3 1 2\n")
    assert main(["data", "inspect", str(tmp_path / "train.txt")]) == 0
    text = capsys.readouterr().out
    assert "item lists" in text and "UTC" not in text
    (entry,) = yaml.safe_load(text.partition("in the config:")[2]).values()
    assert entry["item_lists"] == {}


def test_numbers_as_ids_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("1,2,978300760\n")
    main(["data", "inspect", str(tmp_path / "log.csv")])
    assert "numeric_ids: true" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"<html>", "is a web page"),
        (b"u,i,978300760\n,i,978300760\n", "line 2: needs user"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"PAR1", "cannot be read"),
    ],
)
def test_what_is_no_data_ends_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "log.csv").write_bytes(content)
    assert main(["data", "inspect", str(tmp_path / "log.csv")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith("fedrec data inspect: ") and message in shown.err


def test_a_guess_of_a_parquet_file_goes_by_names_and_types(tmp_path: Path) -> None:
    found = guess(written(tmp_path, "parquet"), Known()).reader
    assert found == Parquet("user", "item", "time", time_format="iso8601")
