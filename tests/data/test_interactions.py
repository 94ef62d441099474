import gzip
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fedrec.data import interactions as module
from fedrec.data.interactions import (
    Counts,
    DataError,
    Delimited,
    Interactions,
    check_counts,
    from_columns,
)

COMMA = Delimited(separator=",", user=0, item=1, time=2)


def log(*rows):
    users, items, times = zip(*rows, strict=True)
    return from_columns(np.array(users), np.array(items), np.array(times))


def rows_of(log):
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], log.time, strict=True)
    return [(str(user), str(item), int(time)) for user, item, time in labels]


def read(tmp_path, text, reader=COMMA, name="log.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return reader.read(path)


def test_rows_are_sorted_by_user_and_time_and_ids_follow_first_appearance():
    found = log(("z", "q", 30), ("a", "p", 5), ("z", "p", 10), ("a", "r", 4))
    assert found.user_labels.tolist() == ["z", "a"]
    assert found.item_labels.tolist() == ["q", "p", "r"]
    assert found.user.tolist() == [0, 0, 1, 1]
    assert found.item.tolist() == [1, 0, 2, 1]
    assert found.time.tolist() == [10, 30, 4, 5]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("pqrs"), st.integers(0, 3)), min_size=1
    )
)
def test_order_is_that_of_a_stable_sort(rows):
    users = list(dict.fromkeys(user for user, _, _ in rows))
    assert rows_of(log(*rows)) == sorted(rows, key=lambda row: (users.index(row[0]), row[2]))


def test_numbers_serve_as_labels():
    assert log((7, 12, 0), (7, 3, 1)).item_labels.tolist() == ["12", "3"]


def test_counts_worked_by_hand():
    counts = log(("a", "p", 0), ("a", "q", 1), ("b", "p", 0)).counts
    assert counts == Counts(users=2, items=2, interactions=3)
    assert counts.avg_length == 1.5
    assert counts.density == 0.75


def test_unexpected_counts_show_both():
    check_counts(Counts(1, 2, 3), Counts(1, 2, 3), "tiny")
    with pytest.raises(
        DataError, match=r"tiny: found 1 users, 2 items, 3 .*, expected 1,000 users"
    ):
        check_counts(Counts(1, 2, 3), Counts(1000, 2, 3), "tiny")


def test_select_compacts_ids_and_keeps_order_and_labels():
    found = log(("long", "p", 0), ("b", "q", 1), ("b", "wide", 2), ("c", "q", 3))
    kept = found.select(np.array([False, True, False, True]))
    assert rows_of(kept) == [("b", "q", 1), ("c", "q", 3)]
    assert kept.counts == Counts(2, 1, 2)
    assert kept.checksum == log(("b", "q", 1), ("c", "q", 3)).checksum


def test_saved_interactions_are_loaded_as_they_were(tmp_path):
    found = log(("ä", "p", 3), ("b", "q", -1))
    found.save(tmp_path / "log.npz")
    loaded = Interactions.load(tmp_path / "log.npz")
    assert rows_of(loaded) == rows_of(found)
    assert loaded.checksum == found.checksum


@pytest.mark.parametrize("changed", [("a", "p", 4), ("b", "p", 3), ("a", "q", 3)])
def test_checksum_covers_users_items_and_times(changed):
    assert log(("a", "p", 3)).checksum != log(changed).checksum


@pytest.mark.parametrize("separator", [",", "\t", "::", " | ", "§"])
def test_any_separator_and_any_columns(tmp_path, separator):
    lines = [["9", "x:y", "u 1", "007"], ["8", "x:y", "NA", "7"]]
    text = "".join(separator.join(line) + "\n" for line in lines)
    reader = Delimited(separator=separator, user=2, item=3, time=0)
    assert rows_of(read(tmp_path, text, reader)) == [("u 1", "007", 9), ("NA", "7", 8)]


def test_quotes_are_letters_line_ends_may_be_windows_and_the_last_may_lack(tmp_path):
    found = read(tmp_path, '"a,p,1\r\na",q,2')
    assert rows_of(found) == [('"a', "p", 1), ('a"', "q", 2)]


def test_a_header_is_no_data(tmp_path):
    reader = Delimited(separator=",", user=0, item=1, time=2, header=True)
    assert rows_of(read(tmp_path, "user,item,time\na,p,1\n", reader)) == [("a", "p", 1)]


def test_iso_times_are_utc_seconds(tmp_path):
    text = "a,p,1970-01-02T00:00:01Z\na,q,1970-01-01T02:00:00+01:00\na,r,1970-01-01 00:00:02.9\n"
    reader = Delimited(separator=",", user=0, item=1, time=2, time_format="iso8601")
    assert read(tmp_path, text, reader).time.tolist() == [2, 3_600, 86_401]


def test_gzip_and_zip_are_read_as_they_stand(tmp_path):
    with gzip.open(tmp_path / "log.txt.gz", "wb") as file:
        file.write(b"a,p,1\n")
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("folder/log.txt", "a,p,1\n")
    zipped = Delimited(separator=",", user=0, item=1, time=2, member="folder/log.txt")
    assert rows_of(COMMA.read(tmp_path / "log.txt.gz")) == [("a", "p", 1)]
    assert rows_of(zipped.read(tmp_path / "log.zip")) == [("a", "p", 1)]
    with pytest.raises(DataError, match=r"log\.zip.*other\.txt"):
        Delimited(separator=",", user=0, item=1, time=2, member="other.txt").read(
            tmp_path / "log.zip"
        )


@pytest.mark.parametrize(
    "line",
    ["a,p", "a,p,1,2", "a,,1", ",p,1", "a,p,", "a,p,soon", "a,p,1.5", "a,p,inf", ""],
)
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_a_malformed_line_is_named_in_any_chunk(tmp_path, monkeypatch, line, chunk):
    monkeypatch.setattr(module, "_CHUNK_LINES", chunk)
    with pytest.raises(DataError, match=r"log\.txt.* line 4\b.*correct"):
        read(tmp_path, f"a,p,1\na,q,1\na,r,1\n{line}\na,s,1\n")


def test_the_header_counts_as_a_line(tmp_path):
    reader = Delimited(separator=",", user=0, item=1, time=2, header=True)
    with pytest.raises(DataError, match=r"line 3\b"):
        read(tmp_path, "user,item,time\na,p,1\na,p,x\n", reader)


def test_columns_that_are_not_there_are_blamed_on_the_first_line(tmp_path):
    with pytest.raises(DataError, match=r"line 1: .*columns 0, 1, 9.*config"):
        read(tmp_path, "a,p,1\n", Delimited(separator=",", user=0, item=1, time=9))


def test_a_malformed_iso_time_is_named(tmp_path):
    reader = Delimited(separator=",", user=0, item=1, time=2, time_format="iso8601")
    with pytest.raises(DataError, match=r"line 2: .*iso8601"):
        read(tmp_path, "a,p,2020-01-01T00:00:00Z\na,p,2020-13-01T00:00:00Z\n", reader)


def test_a_letter_outside_utf8_harms_no_other_field(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"a,p,1\nb\xff,p,2\n")
    assert COMMA.read(tmp_path / "log.txt").user_labels.tolist() == ["a", "b\\xff"]


def test_files_without_data_are_refused(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a,p,1\n" * 1000)[:-12])
    (tmp_path / "empty.txt").touch()
    (tmp_path / "no.zip").write_bytes(b"a,p,1\n")
    zipped = Delimited(separator=",", user=0, item=1, time=2, member="log.txt")
    for reader, name in [
        (COMMA, "cut.gz"),
        (COMMA, "empty.txt"),
        (COMMA, "missing.txt"),
        (zipped, "no.zip"),
    ]:
        with pytest.raises(DataError, match=f"{name}.*fetch the file again"):
            reader.read(tmp_path / name)


def test_a_reader_comes_from_strict_settings():
    def parse(values):
        settings = json.dumps(values)
        return TypeAdapter(Delimited).validate_json(settings, strict=True, extra="forbid")

    good = {"separator": "::", "user": 0, "item": 1, "time": 3}
    assert parse(good) == Delimited(separator="::", user=0, item=1, time=3)
    for bad in ({"user": "0"}, {"user": -1}, {"separator": ""}, {"sep": ","}):
        with pytest.raises(ValidationError):
            parse(good | bad)
