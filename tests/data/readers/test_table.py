"""Text files with one interaction a line: what is understood, and what is refused."""

import dataclasses
import gzip
import json
import zipfile

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from fedrec.data.readers import streams
from fedrec.data.readers.rows import MISSING
from fedrec.data.readers.table import Table
from fedrec.errors import DataError

SECOND = 10**6  # microseconds
COMMA = Table(separator=",", user=0, item=1, time=2)
ISO = Table(separator=",", user=0, item=1, time=2, time_format="iso8601")
NAMED = Table(separator=",", user="who", item="what", time="when", header=True)


def rows_of(log):
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], log.time, strict=True)
    return [(str(user), str(item), time / SECOND) for user, item, time in labels]


def read(tmp_path, text, reader=COMMA, name="log.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return reader.read(path)


@pytest.mark.parametrize("separator", [",", "\t", "::", " | ", "§"])
def test_any_separator_and_any_columns(tmp_path, separator):
    lines = [["9", "x:y", "u 1", "007"], ["8", "x:y", "u 2", "7"]]
    text = "".join(separator.join(line) + "\n" for line in lines)
    reader = Table(separator=separator, user=2, item=3, time=0)
    assert rows_of(read(tmp_path, text, reader)) == [("u 1", "007", 9), ("u 2", "7", 8)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_are_no_part_of_an_id_and_lines_end_as_they_like(tmp_path, end):
    found = read(tmp_path, end.join(['"a",p,1', 'a,"p, q",2', 'a,"r ""s""",3']))
    assert rows_of(found) == [("a", "p", 1), ("a", "p, q", 2), ("a", 'r "s"', 3)]


def test_quotes_are_letters_where_the_entry_says_so(tmp_path):
    letters = dataclasses.replace(COMMA, quote="")
    assert rows_of(read(tmp_path, '"a,p,1\na",q,2', letters)) == [('"a', "p", 1), ('a"', "q", 2)]
    with pytest.raises(DataError, match=r"line 2: '\"a,q,2' has a quote that does not end"):
        read(tmp_path, 'a,p,1\n"a,q,2\n')


def test_blank_lines_are_no_rows(tmp_path):
    assert rows_of(read(tmp_path, "a,p,1\n\na,q,2\n\n\n")) == [("a", "p", 1), ("a", "q", 2)]
    with pytest.raises(DataError, match=r"line 5: its time 'x'"):
        read(tmp_path, "a,p,1\n\na,q,2\n\na,r,x\n")
    with pytest.raises(DataError, match=r"line 6: 'a,\"r\"x,3' has a quote"):
        read(tmp_path, 'a,p,1\n\na,q,2\n\n\na,"r"x,3\n')


def test_a_row_may_take_several_lines(tmp_path):
    reader = dataclasses.replace(COMMA, time=3)
    text = 'a,p,"so\nlong",1\na,q,"and\nthanks",2\n'
    assert rows_of(read(tmp_path, text, reader)) == [("a", "p", 1), ("a", "q", 2)]
    with pytest.raises(DataError, match=r"line 5: its time 'x'"):
        read(tmp_path, f"{text}a,r,fish,x\n", reader)


def test_no_line_is_shifted(tmp_path):
    """Names of rows, as R writes them, stand before the columns that the header names."""
    for line in ("1,a,p,1", "1,a,p,"):
        with pytest.raises(
            DataError, match=rf"line 2: '{line}' does not have 3 fields, as line 1 has"
        ):
            read(tmp_path, f"who,what,when\n{line}\n", NAMED)


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz", ".zst", ".GZ"])
def test_packed_files_are_read_by_their_suffix(tmp_path, packed):
    with streams.UNPACKERS[packed.lower()](tmp_path / f"log{packed}", "wb") as file:
        file.write(b"a,p,1\n")
    assert rows_of(COMMA.read(tmp_path / f"log{packed}")) == [("a", "p", 1)]
    whole = (tmp_path / f"log{packed}").read_bytes()
    (tmp_path / f"log{packed}").write_bytes(whole[:-5])
    with pytest.raises(DataError, match=r"cannot be read.*fetch the file again"):
        COMMA.read(tmp_path / f"log{packed}")


def test_a_header_is_no_data(tmp_path):
    reader = Table(separator=",", user=0, item=1, time=2, header=True)
    assert rows_of(read(tmp_path, "user,item,time\na,p,1\n", reader)) == [("a", "p", 1)]


TIMES = [
    *(("unix", "1", 1), ("unix", "1.5", 1.5), ("unix", "1.7000001e9", 1_700_000_100)),
    *(("unix_ms", "1999", 1.999), ("unix_us", "5", 5e-6), ("unix_ns", "1700000000000007000", None)),
    *(("iso8601", "1970-01-02T00:00:01Z", 86_401), ("iso8601", "1970-01-01 00:00:02.9", 2.9)),
    *(("iso8601", "1970-01-01T02:00:00+01:00", 3_600), ("iso8601", "1970-01-01 02:00+01", 3_600)),
    *(("iso8601", "1970-01-01 00:00:02 UTC", 2), ("iso8601", "1970-01-02", 86_400)),
    *(("iso8601", "1970-01-01 02:00:00 +0100", 3_600), ("iso8601", "1970-01-01 01:00 CET", 0)),
    *(("%Y%m%d%H%M%S", "19700102000001", 86_401), ("%d/%m/%Y", "02/01/1970", 86_400)),
    ("%a %b %d %H:%M:%S %z %Y", "Thu Jan 01 01:00:01 +0100 1970", 1),
]


@pytest.mark.parametrize(("time_format", "text", "seconds"), TIMES)
def test_times_keep_all_that_the_file_says(tmp_path, time_format, text, seconds):
    reader = dataclasses.replace(COMMA, time_format=time_format)
    expected = 1_700_000_000_000_007 if seconds is None else round(seconds * SECOND)
    assert read(tmp_path, f"a,p,{text}\n", reader).time.tolist() == [expected]


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        *(("unix", "1.0000001"), ("unix_ms", "1.0001"), ("unix_us", "0.5"), ("unix_ns", "1")),
        ("iso8601", "2020-01-01 00:00:00.123456789"),
    ],
)
def test_times_that_would_be_cut_are_refused(tmp_path, time_format, text):
    reader = dataclasses.replace(COMMA, time_format=time_format)
    with pytest.raises(DataError, match=r"line 1: its time .* is finer than a microsecond"):
        read(tmp_path, f"a,p,{text}\n", reader)
    assert read(tmp_path, "a,p,1970-01-01 00:00:00.000001000\n", ISO).time.tolist() == [1]


def test_a_clock_may_stand_apart_from_the_date(tmp_path):
    reader = dataclasses.replace(ISO, clock=3)
    assert rows_of(read(tmp_path, "a,p,1970-01-01,00:00:07\n", reader)) == [("a", "p", 7)]


def test_the_files_order_may_be_that_of_time(tmp_path):
    reader = Table(separator=",", user=0, item=1, time_format="order")
    found = read(tmp_path, "a,q\nb,p\na,p\n", reader)
    assert rows_of(found) == [("a", "q", 0), ("a", "p", 2e-6), ("b", "p", 1e-6)]


@pytest.mark.parametrize(("right", "wrong"), [("unix_ms", 1), ("unix_us", 10**3)])
def test_a_time_in_another_unit_is_refused(tmp_path, right, wrong):
    unit = {"unix_ms": 10**3, "unix_us": 10**6}[right]
    lines = [f"a,p{i},{1_700_000_000 * unit + i}\n" for i in range(9)]
    reader = dataclasses.replace(COMMA, time_format=right)
    with pytest.raises(DataError, match=r"line 10: its time .* is in another unit than most"):
        read(tmp_path, "".join([*lines, f"a,q,{1_700_000_000 * wrong}\n"]), reader)
    # An empty time may be written as 0, and is no other unit.
    assert len(read(tmp_path, "".join([*lines, "a,q,0\n"]), reader).time) == 10


def test_gzip_and_zip_are_read_as_they_stand(tmp_path):
    with gzip.open(tmp_path / "log.txt.gz", "wb") as file:
        file.write(b"a,p,1\n")
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("folder/log.txt", "a,p,1\n")
    zipped = Table(separator=",", user=0, item=1, time=2, member="folder/log.txt")
    assert rows_of(COMMA.read(tmp_path / "log.txt.gz")) == [("a", "p", 1)]
    assert rows_of(zipped.read(tmp_path / "log.zip")) == [("a", "p", 1)]
    with pytest.raises(DataError, match=r"log\.zip.*other\.txt"):
        Table(separator=",", user=0, item=1, time=2, member="other.txt").read(tmp_path / "log.zip")


@pytest.mark.parametrize(
    "line",
    ["a,p", "a,p,1,2", "a,p,1,", "a,p,1,2,3", "a,,1", ",p,1", "a,p,", "a,p,soon", "a,p,inf", '"a'],
)
@pytest.mark.parametrize("block", [1, 8, 2**20])
def test_a_malformed_line_is_named_in_any_block(tmp_path, monkeypatch, line, block):
    monkeypatch.setattr(streams, "BLOCK", block)
    with pytest.raises(DataError, match=r"log\.txt.* line 4\b.*correct"):
        read(tmp_path, f"a,p,1\na,q,1\na,r,1\n{line}\na,s,1\n")


def test_the_header_counts_as_a_line(tmp_path):
    reader = Table(separator=",", user=0, item=1, time=2, header=True)
    with pytest.raises(DataError, match=r"line 3\b"):
        read(tmp_path, "user,item,time\na,p,1\na,p,x\n", reader)


def test_lines_at_the_start_are_left_out_whatever_they_hold(tmp_path):
    skipping = dataclasses.replace(COMMA, skip=2)
    for above in ("a,p,1\na,q,2\n", '# "no, data\n\n', "\xff\n,\n"):
        assert rows_of(read(tmp_path, f"{above}a,r,3\n", skipping)) == [("a", "r", 3)]
    with pytest.raises(DataError, match="has no line of data"):
        read(tmp_path, "a,p,1\na,q,2\n", skipping)


def test_lines_left_out_stand_before_the_header(tmp_path):
    reader = dataclasses.replace(NAMED, skip=1)
    text = "made in 2020\nwho,what,when\na,p,1\n"
    assert rows_of(read(tmp_path, text, reader)) == [("a", "p", 1)]
    with pytest.raises(DataError, match="line 2: the header a, p, 1 has no columns 'who'"):
        read(tmp_path, "who,what,when\na,p,1\n", reader)


@pytest.mark.parametrize("line", ["a,p,soon", "a,p,1,2"])
@pytest.mark.parametrize(("skip", "header"), [(2, False), (0, True), (2, True)])
@pytest.mark.parametrize("block", [1, 2**20])
def test_lines_left_out_and_the_header_are_counted(
    tmp_path, monkeypatch, line, skip, header, block
):
    monkeypatch.setattr(streams, "BLOCK", block)
    reader = dataclasses.replace(COMMA, skip=skip, header=header)
    above = "x\n" * skip + "user,item,time\n" * header
    with pytest.raises(DataError, match=rf"line {skip + header + 3}\b.*correct"):
        read(tmp_path, f"{above}a,p,1\na,q,2\n{line}\na,r,3\n", reader)


def test_columns_that_are_not_there_are_blamed_on_the_first_line(tmp_path):
    with pytest.raises(DataError, match=r"line 1: .*columns 0, 1, 9.*config"):
        read(tmp_path, "a,p,1\n", Table(separator=",", user=0, item=1, time=9))


def test_a_malformed_iso_time_is_named(tmp_path):
    reader = Table(separator=",", user=0, item=1, time=2, time_format="iso8601")
    with pytest.raises(DataError, match=r"line 2: .*iso8601"):
        read(tmp_path, "a,p,2020-01-01T00:00:00Z\na,p,2020-13-01T00:00:00Z\n", reader)


def test_a_letter_outside_utf8_harms_no_other_field(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"a,p,1\nb\xff,p,2\n")
    assert COMMA.read(tmp_path / "log.txt").user_labels.tolist() == ["a", "b\\xff"]


def test_files_without_data_are_refused(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a,p,1\n" * 1000)[:-12])
    (tmp_path / "empty.txt").touch()
    (tmp_path / "no.zip").write_bytes(b"a,p,1\n")
    zipped = Table(separator=",", user=0, item=1, time=2, member="log.txt")
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
        return TypeAdapter(Table).validate_json(settings, strict=True, extra="forbid")

    good = {"separator": "::", "user": 0, "item": 1, "time": 3}
    assert parse(good) == Table(separator="::", user=0, item=1, time=3)
    for bad in (
        {"time_format": "seconds"},
        {"user": 0.5},
        {"user": -1},
        {"separator": ""},
        {"sep": ","},
        {"skip": -1},
    ):
        with pytest.raises(ValidationError):
            parse(good | bad)


# Columns by name, ratings, clocks


def test_columns_go_by_their_names(tmp_path):
    text = 'id,when,"what",who\n1,7,p,a\n2,5,q,a\n'
    assert rows_of(read(tmp_path, text, NAMED)) == [("a", "q", 5), ("a", "p", 7)]


@pytest.mark.parametrize(
    ("header", "message"),
    [("who,when,where", "no columns 'what'"), ("who,what,what,when", "2 columns 'what'")],
)
def test_a_header_without_a_column_or_with_two_is_refused(tmp_path, header, message):
    with pytest.raises(DataError, match=rf"log\.txt: line 1: .*{message}.*config"):
        read(tmp_path, f"{header}\na,p,p,1\n", NAMED)


def test_low_ratings_are_left_out(tmp_path):
    reader = Table(separator=",", user=0, item=1, rating=2, time=3, min_rating=4.0)
    text = "a,p,5,1\na,q,3.5,2\nb,q,4,3\n"
    assert rows_of(read(tmp_path, text, reader)) == [("a", "p", 1), ("b", "q", 3)]
    with pytest.raises(DataError, match=r"line 2: its rating .* is not a number"):
        read(tmp_path, "a,p,5,1\na,q,good,2\n", reader)
    with pytest.raises(DataError, match=r"no rating is 4 or more"):
        read(tmp_path, "a,p,3,1\n", reader)


def test_times_without_a_zone_are_in_the_datasets(tmp_path):
    reader = Table(
        separator=",", user=0, item=1, time=2, time_format="iso8601", time_zone="Europe/Berlin"
    )
    # Winter is one hour ahead of UTC, summer two; 2:30 on the day of change comes twice.
    times = ["2020-01-01T01:00:00", "2020-07-01T02:00:00", "2020-10-25T02:30:00"]
    found = read(tmp_path, "".join(f"a,p,{time}\n" for time in times), reader)
    hours = np.diff([0, *found.time]) / SECOND / 3600
    assert found.time[0] == 1577836800 * SECOND  # midnight UTC
    assert hours[1:].tolist() == [24 * 182, 24 * 116 + 0.5]


# What is no data


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["1", "-1"], "line 2: its time .* is before 1970"),
        (["1", "soon"], "line 2: its time .* is not unix"),
        (["1", "inf"], "line 2: its time .* is not unix"),
    ],
)
def test_times_that_cannot_be_are_refused(tmp_path, times, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, "".join(f"a,p,{time}\n" for time in times))


@pytest.mark.parametrize(
    "times",
    [
        ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00"],
        ["2020-01-01T00:00:00", "2020-01-01T00:00:00+01:00"],
    ],
)
def test_some_times_with_and_some_without_a_zone_are_refused(tmp_path, times):
    with pytest.raises(
        DataError, match=r"line 2: its time .* differs from the first time in whether it has a zone"
    ):
        read(tmp_path, "".join(f"a,p,{time}\n" for time in times), ISO)


def test_zones_are_compared_with_the_files_first_line(tmp_path):
    berlin = Table(
        separator=",", user=0, item=1, time=2, time_format="iso8601", time_zone="Europe/Berlin"
    )
    for reader in (ISO, berlin):
        with pytest.raises(DataError, match=r"line 3: its time .* whether it has a zone"):
            read(tmp_path, "a,p,2020-01-01\na,q,2020-01-01\na,r,2020-01-01T00:00:00Z\n", reader)


def test_ids_are_any_text_unless_they_are_to_be_numbers(tmp_path):
    text = "007,-1,1\nann,p 2,2\n"
    assert rows_of(read(tmp_path, text)) == [("007", "-1", 1), ("ann", "p 2", 2)]
    numeric = Table(separator=",", user=0, item=1, time=2, numeric_ids=True)
    assert rows_of(read(tmp_path, "007,-1,1\n", numeric)) == [("007", "-1", 1)]
    for line in ("ann,1,1", "1,p,1", "1.5,1,1", "1,1e3,1"):
        with pytest.raises(DataError, match=r"line 2: its (user|item) .* is not a whole number"):
            read(tmp_path, f"1,2,1\n{line}\n", numeric)


def test_ids_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"line 2: needs user, item, time in columns 0, 1, 2"):
        read(tmp_path, "a,p,1\n,p,2\n")


@pytest.mark.parametrize("label", MISSING)
def test_ids_that_seem_missing_are_refused_left_out_or_kept(tmp_path, label):
    text = f"a,p,1\n{label},p,2\na,{label},3\n"
    with pytest.raises(DataError, match=r"line 2: its user .* seems to be missing.*missing_ids"):
        read(tmp_path, text)
    with pytest.raises(DataError, match=r"line 1: its item .* seems to be missing"):
        read(tmp_path, f"a,{label},3\n")
    drop, keep = (dataclasses.replace(COMMA, missing_ids=what) for what in ("drop", "keep"))
    assert rows_of(read(tmp_path, f"{text},p,4\n", drop)) == [("a", "p", 1)]
    assert read(tmp_path, text, keep).user_labels.tolist() == ["a", label]


def test_a_user_all_of_whose_ratings_are_low_is_none(tmp_path):
    reader = Table(separator=",", user=0, item=1, rating=2, time=3, min_rating=4.0)
    found = read(tmp_path, "b,q,1,1\na,p,5,1\n", reader)
    assert found.user_labels.tolist() == ["a"] and found.item_labels.tolist() == ["p"]


def test_a_byte_order_mark_is_no_letter(tmp_path):
    assert rows_of(read(tmp_path, b"\xef\xbb\xbfa,p,1\n")) == [("a", "p", 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,p,1\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b"\n <!DOCTYPE html><html>gone</html>", "line 1: is a web page"),
        (b"a,p,1\0\n", "is not a text"),
        (b"", "fetch the file again"),
        (b"x" * (streams.LONGEST_LINE + 1), "line 1: is longer than 1 MiB"),
        (b"a,p,1\n" * 9 + b"x" * (streams.LONGEST_LINE + 1), "line 10: is longer than 1 MiB"),
    ],
)
def test_files_that_hold_no_data_say_why(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"log\.txt.*{message}"):
        read(tmp_path, content)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "BOMB_BYTES", 2**20)
    with pytest.raises(DataError, match=r"log\.gz: unpacks to more than"):
        read(tmp_path, gzip.compress(b"a,p,1\n" * 2**20), name="log.gz")


@pytest.mark.parametrize("name", ["../log.txt", "/log.txt", "a/../../log.txt"])
def test_an_archive_with_names_outside_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("log.txt", "a,p,1\n")
        archive.writestr(name, "a,p,1\n")
    with pytest.raises(DataError, match="a path outside the archive"):
        Table(separator=",", user=0, item=1, time=2, member="log.txt").read(tmp_path / "log.zip")


@pytest.mark.parametrize(
    "values",
    [
        {"user": "who"},
        {"rating": 3},
        {"min_rating": 3.0},
        {"time_zone": "Europe/Atlantis"},
        {"time": None},
        {"time_format": "order"},
        {"kind": "json_lines"},
        {"separator": '"'},
    ],
)
def test_impossible_settings_are_refused(values):
    settings = {"separator": ",", "user": 0, "item": 1, "time": 2} | values
    with pytest.raises(ValidationError):
        TypeAdapter(Table).validate_json(json.dumps(settings), strict=True)


# JSON lines

EVENTS = Table(user="who", item="what", time="when", kind="json_lines")


def test_json_lines(tmp_path):
    lines = [
        '{"who": "a", "what": 12345678901234567890, "when": 1.5, "more": [1, {"who": 2}]}',
        "",
        '{"when": 1, "what": "007", "who": "é\\u00e9"}',
        "",
    ]
    found = read(tmp_path, "\n".join(lines), EVENTS)
    assert rows_of(found) == [("a", "12345678901234567890", 1.5), ("éé", "007", 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"who": "a", "what": "p"}', "needs user, item, time in columns who, what, when"),
        ('{"who": null, "what": "p", "when": 1}', "needs user"),
        ('{"who": "a", "what": "p", "when": "soon"}', "its time 'soon' is not unix"),
        ("{'who': 'a', 'what': 'p', 'when': 1}", ".* is not a JSON object"),
        ("[1]", ".* is not a JSON object"),
    ],
)
def test_a_malformed_object_is_named(tmp_path, line, message):
    good = '{"who": "a", "what": "p", "when": 1}\n'
    with pytest.raises(DataError, match=rf"log\.txt: line 3: {message}"):
        read(tmp_path, f"{good}\n{line}\n{good}", EVENTS)
