"""Parquet files with one interaction a row."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from pydantic import TypeAdapter, ValidationError

from fedrec.data.readers import parquet as module
from fedrec.data.readers.table import Table
from fedrec.errors import DataError

READER = Table(user="who", item="what", time="when", kind="parquet")
DAY = 86_400  # seconds


def read(tmp_path: Path, reader: Table = READER, **columns: Any) -> list[tuple[str, str, float]]:
    """The rows of a file with columns who, what and when, these or others."""
    table = {"who": ["a", "a"], "what": ["p", "q"], "when": [1, 2], **columns}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "log.parquet")
    log = reader.read(tmp_path / "log.parquet")
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], log.time, strict=True)
    return [(str(user), str(item), time / 10**6) for user, item, time in labels]


def test_labels_are_text_or_numbers_and_order_is_by_time(tmp_path: Path) -> None:
    found = read(tmp_path, who=[7, 7], what=["p", "é"], when=[2, 1], other=[None, [1]])
    assert found == [("7", "é", 1), ("7", "p", 2)]
    packed = pyarrow.array(["p", "q"]).dictionary_encode()
    assert read(tmp_path, what=packed) == [("a", "p", 1), ("a", "q", 2)]


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({}, [DAY, 2 * DAY]),
        ({}, [float(DAY), 2.0 * DAY]),
        ({}, [str(DAY), str(2 * DAY)]),
        ({"time_format": "unix_ms"}, [DAY * 1000, 2 * DAY * 1000]),
        ({"time_format": "iso8601"}, ["1970-01-02", "1970-01-03 00:00:00"]),
        ({}, [datetime(1970, 1, 2), datetime(1970, 1, 3)]),
        ({}, [datetime(1970, 1, 2, tzinfo=UTC), datetime(1970, 1, 3, tzinfo=UTC)]),
        ({}, [date(1970, 1, 2), date(1970, 1, 3)]),
        ({"time_zone": "Asia/Tokyo"}, [datetime(1970, 1, 2, 9), datetime(1970, 1, 3, 9)]),
        (
            {"time_zone": "Asia/Tokyo", "time_format": "iso8601"},
            ["1970-01-02T09:00:00", "1970-01-03T09:00:00"],
        ),
    ],
)
def test_times_of_any_type(tmp_path: Path, settings: dict[str, Any], times: list[Any]) -> None:
    reader = replace(READER, **settings)
    assert [row[2] for row in read(tmp_path, reader, when=times)] == [DAY, 2 * DAY]


@pytest.mark.parametrize("stars", [[3.5, 4.0], [3, 4], ["3", "4"]])
def test_low_ratings_are_left_out(tmp_path: Path, stars: list[Any]) -> None:
    reader = replace(READER, rating="stars", min_rating=4.0)
    assert read(tmp_path, reader, stars=stars) == [("a", "q", 2)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"who": ["a", None]}, "row 2: needs user, item, time in columns who, what, when"),
        ({"what": ["p", ""]}, "row 2: needs user"),
        ({"who": [1.0, float("nan")]}, "row 2: its user 'nan' seems to be missing"),
        ({"when": [1, None]}, "row 2: needs user"),
        ({"when": [1, -1]}, "row 2: its time .* is before 1970"),
        ({"when": [1.0, 1e-7]}, "row 2: its time .* is finer than a microsecond"),
        ({"when": ["1", "soon"]}, "row 2: its time .* is not unix"),
        (
            {"when": [datetime(1970, 1, 2), datetime(1969, 1, 2)]},
            "row 2: its time .* is before 1970",
        ),
        ({"when": [1, DAY * 10**8]}, "row 2: its time .* is after 9999"),
        ({"who": [["a"], ["b"]]}, "cannot be read"),
        ({"who": [], "what": [], "when": []}, "no line of data"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"log\.parquet: {message}|log\.parquet: .*{message}"):
        read(tmp_path, **columns)


def test_numeric_ids(tmp_path: Path) -> None:
    reader = replace(READER, numeric_ids=True)
    assert read(tmp_path, reader, who=[1, 2], what=["3", "4"]) == [("1", "3", 1), ("2", "4", 2)]
    with pytest.raises(DataError, match="row 1: its user 'a' is not a whole number"):
        read(tmp_path, reader)


def test_columns_that_lack_or_come_twice_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    arrays = [pyarrow.array([1])] * 3
    for names, found in ((["who", "what", "at"], "no"), (["what", "who", "who"], "2")):
        pyarrow.parquet.write_table(pyarrow.table(arrays, names=names), path)
        with pytest.raises(DataError, match=rf"log\.parquet: has {found} columns .*config"):
            READER.read(path)


def test_a_file_that_claims_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of equal rows take a few kilobytes."""
    monkeypatch.setattr(module, "_ROWS_PER_BYTE", 2)
    same = [1] * 100_000
    with pytest.raises(DataError, match=r"claims 100,000 rows in [0-9,]+ bytes.*fetch"):
        read(tmp_path, who=same, what=same, when=same)


@pytest.mark.parametrize("content", [None, b"", b"who,what,when\na,p,1\n", b"PAR1", b"<html>"])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "log.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"log\.parquet: cannot be read .*fetch the file again"):
        READER.read(tmp_path / "log.parquet")


def test_names_that_differ_in_case_are_two(tmp_path: Path) -> None:
    assert read(tmp_path, Who=["c", "d"], WHAT=[None, None])[0] == ("a", "p", 1)


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    read(tmp_path)
    (tmp_path / "log.parquet").rename(tmp_path / "l[1]*?.parquet")
    assert READER.read(tmp_path / "l[1]*?.parquet").n_items == 2


@pytest.mark.parametrize(
    "values", [{"rating": "stars"}, {"time_zone": "Europe/Atlantis"}, {"user": 0}]
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Table).validate_python(
            {"user": "u", "item": "i", "time": "t", "kind": "parquet"} | values
        )
