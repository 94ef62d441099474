"""Files that were once read wrong, one of each kind in `bad/`; and the same kinds, made up."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.cli.main import main
from fedrec.data.columns import Known, Unsure
from fedrec.data.dataset import Dataset
from fedrec.data.guessing import guess
from fedrec.data.inspection import inspect
from fedrec.data.interactions import Interactions
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.table import Table
from fedrec.errors import DataError

BAD = Path(__file__).parent / "bad"
Histories = dict[str, list[str]]


def histories(log: Interactions) -> Histories:
    """Each user's items in the order of time."""
    found: Histories = {}
    for user, item in zip(log.user_labels[log.user], log.item_labels[log.item], strict=True):
        found.setdefault(str(user), []).append(str(item))
    return found


def read_by_entry(text: str) -> Interactions:
    """What the entry that `inspect` printed reads, from the file that it names."""
    ((name, entry),) = yaml.safe_load(text.partition("in the config:")[2]).items()
    assert name.isascii()
    dataset = Dataset.model_validate_json(json.dumps(entry))
    for source in dataset.raw:
        source.check()  # type: ignore[union-attr]
    return dataset.read([Path(source.name) for source in dataset.raw])


def both(*users: str, items: str) -> Histories:
    return {user: items.split() for user in users}


TRUTHS: dict[str, Histories] = {
    "milliseconds.csv": both("11", "12", items="10 20 30"),
    "iso_fraction.csv": both("a", "b", items="1 2 3"),
    "compact14.csv": both("1", "2", items="7 8 9"),
    "compact8.csv": both("1", items="7 8 9"),
    "date_and_time_ms.csv": both("0", "1", items="10 20 30"),
    "typed_swapped.inter": {"u1": ["i1", "i2", "i3"], "u2": ["i1", "i2", "i4"]},
    "typed_scientific.inter": both("u1", "u2", items="i1 i2 i3"),
    "rating_first.csv": both("u1", "u2", items="a1 a2 a3"),
    "all_quoted.csv": both("u1", "u2", items="a b c"),
    "partly_quoted.csv": both("ann", "bob", items="a b c"),
    "quoted_times.csv": both("1", "2", items="29 32 2"),
    "utc_word.csv": both("1", "2", items="1 2 3"),
    "offsets_short.csv": both("u1", "u2", items="a b c"),
    "day_first.csv": both("1", items="1 2 3"),
    "nulls.csv": both("u1", items="b c a"),
    "lines.jsonl": both("A1", "A2", items="B1 B2 B3"),
    "UPPER.CSV.GZ": both("u1", "u2", items="a b c"),
    "plain.csv.bz2": both("u1", "u2", items="a b c"),
    "plain.csv.xz": both("u1", "u2", items="a b c"),
    "blank_last_line.csv": both("u1", "u2", items="a b c"),
    "names_beside_ids.csv": both("1", "2", items="1 2 3"),
    "minutes_called_time.csv": both("1", "2", items="1 2 3"),
    "index_column.csv": both("u1", "u2", items="s1 s2 s3"),
    "données à moi.csv": both("u1", "u2", items="a b c"),
    "lists_by_tab.txt": {"0": ["1", "2", "3"], "1": ["4", "5", "6"], "2": ["4", "5", "6", "7"]},
}


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_understood_is_the_truth(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From `inspect` through its entry, as it is, to each user's items."""
    shutil.copy(BAD / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert histories(read_by_entry(inspect(Path(name), Known()))) == TRUTHS[name]


NAMES = {
    "milliseconds.csv": ("visitorid", "itemid", "timestamp", "unix_ms"),
    "date_and_time_ms.csv": ("user_id", "video_id", "time_ms", "unix_ms"),
    "typed_swapped.inter": ("user_id:token", "item_id:token", "timestamp:float", "unix"),
    "rating_first.csv": ("user_id", "anime_id", "timestamp", "unix"),
    "lines.jsonl": ("reviewerID", "asin", "unixReviewTime", "unix"),
    "names_beside_ids.csv": ("user_id", "item_id", "time", "unix"),
    "minutes_called_time.csv": ("user_id", "item_id", "timestamp", "unix"),
    "index_column.csv": ("customer_key", "sku", "when", "unix"),
    "day_first.csv": ("user_id", "item_id", "date", "%d/%m/%Y"),
    "compact14.csv": ("user_id", "item_id", "time", "%Y%m%d%H%M%S"),
    "compact8.csv": ("user_id", "item_id", "time", "%Y%m%d"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_are_those_of_an_expert(name: str) -> None:
    reader = guess(BAD / name, Known()).reader
    assert isinstance(reader, Table)
    assert (reader.user, reader.item, reader.time, reader.time_format) == NAMES[name]


# What is asked, what is likely, and what each user's items are once it is answered.
ASKED: dict[str, tuple[dict[str, int], Histories]] = {
    "no_header_long_ids.csv": (
        {"user": 0, "item": 1, "time": 4},
        both("100000101", "100000202", items="226800900 226800901 226800902"),
    ),
    "check_ins.txt": ({"user": 0, "item": 4, "time": 1}, both("0", "1", items="503 502 501")),
    "comments.txt": ({"user": 0, "item": 1, "time": 3}, both("1", "2", items="1 2 3")),
    "mail_time_latin1.txt": ({"user": 0, "item": 1, "time": 7}, both("1", "2", items="v1 v2 v3")),
    "date_clock.txt": ({"user": 0, "item": 1, "time": 2}, both("u1", "u2", items="i3 i2 i1")),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_cannot_be_told_is_asked(name: str) -> None:
    options, truth = ASKED[name]
    with pytest.raises(Unsure, match=r"it has no header.* --user, --item, --time") as asked:
        inspect(BAD / name, Known())
    assert asked.value.options == options
    assert histories(read_by_entry(inspect(BAD / name, Known(**options)))) == truth


REFUSED = {
    "offsets_mixed.csv": r"line 3: .*write the missing zones into the file",
    "mixed_units.csv": r"line 14: its time '1700000012' is in another unit than most.*unix_ms",
    "no_header_no_time.csv": r"no column can be a time: .*--time-format order",
    "row_numbers.txt": r"line 2: has 4 fields, but the header has 3 names",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_right_reading_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}: {REFUSED[name]}"):
        inspect(BAD / name, Known())


@pytest.mark.parametrize("columns", [("user", "item", "time"), (0, 1, 2), (1, 2, 3)])
def test_names_of_rows_shift_no_entry_that_is_written_by_hand(columns: tuple[Any, ...]) -> None:
    with pytest.raises(DataError, match=r"line \d: ('.*' does not have|needs)"):
        Table(*columns, separator="\t", header=True).read(BAD / "row_numbers.txt")
    by_number = Table(1, 2, 3, separator="\t", skip=1)
    assert histories(by_number.read(BAD / "row_numbers.txt"))["501"] == ["10", "11", "12"]


def test_compact_times_are_dates_and_no_epochs() -> None:
    days = {"compact14.csv": (15, 15), "compact8.csv": (13, 15)}
    for name, (first, last) in days.items():
        found = read_by_entry(inspect(BAD / name, Known())).time
        moments = [datetime.fromtimestamp(t / 10**6, UTC) for t in (found.min(), found.max())]
        assert [(m.year, m.month, m.day) for m in moments] == [(2024, 3, first), (2024, 3, last)]


def test_short_offsets_count_whatever_zone_is_named() -> None:
    for zone in ("UTC", "America/New_York"):
        log = guess(BAD / "offsets_short.csv", Known(time_zone=zone)).reader.read(  # type: ignore[arg-type]
            BAD / "offsets_short.csv"
        )
        assert log.time[0] == datetime(2024, 3, 5, 17, 0, 9, tzinfo=UTC).timestamp() * 10**6


def test_missing_users_are_pointed_out_by_name_and_count() -> None:
    text = inspect(BAD / "nulls.csv", Known())
    assert "NULL (1), None (1), \\N (1), null (1): left out" in text
    assert set(histories(read_by_entry(inspect(BAD / "nulls.csv", Known(missing_ids="keep"))))) == {
        *("NULL", "None", "\\N", "null", "u1")
    }
    with pytest.raises(DataError, match=r"line 2: its user 'NULL' seems to be missing"):
        inspect(BAD / "nulls.csv", Known(missing_ids="refuse"))


def test_the_files_order_goes_where_there_is_no_time() -> None:
    known = Known(user=0, item=1, time_format="order")
    found = histories(read_by_entry(inspect(BAD / "no_header_no_time.csv", known)))
    assert found["90000001"] == ["Tower Game", "Tower Game", "Space Game 4"]


# The same kinds, made up


Row = tuple[str, str, datetime]
START = datetime(2012, 3, 4, 5, 6, 7, tzinfo=UTC)


def unix(factor: int) -> Any:
    return lambda when: str(
        round((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        * factor
        // 10**6
    )


# How a time is written, and the finest step that such a text can tell, in microseconds.
TIMES: dict[str, tuple[Any, int]] = {
    "unix": (unix(1), 10**6),
    "unix_ms": (unix(10**3), 10**3),
    "unix_us": (unix(10**6), 1),
    "unix_ns": (lambda when: unix(10**6)(when) + "000", 1),
    "fraction": (lambda when: f"{unix(1)(when)}.{when:%f}", 1),
    "scientific": (lambda when: f"{unix(1)(when)[0]}.{unix(1)(when)[1:]}e9", 10**6),
    "iso": (lambda when: when.isoformat(), 1),
    "iso_z": (lambda when: f"{when:%Y-%m-%dT%H:%M:%SZ}", 10**6),
    "iso_short_offset": (lambda when: f"{when + timedelta(hours=5):%Y-%m-%d %H:%M:%S}+05", 10**6),
    "iso_word": (lambda when: f"{when:%Y-%m-%d %H:%M:%S} UTC", 10**6),
    "iso_naive": (lambda when: f"{when:%Y-%m-%d %H:%M:%S.%f}", 1),
    "compact": (lambda when: f"{when:%Y%m%d%H%M%S}", 10**6),
    "mail": (lambda when: f"{when:%a %b %d %H:%M:%S} +0000 {when:%Y}", 10**6),
    "german": (lambda when: f"{when:%d.%m.%Y %H:%M:%S}", 10**6),
}
USERS = ("user_id", "userId", "User-ID", "visitorid", "reviewerID", "customer_key", "session_id")
ITEMS = ("item_id", "movieId", "ISBN", "asin", "anime_id", "business_id", "track", "sku", "news_id")
STAMPS = ("timestamp", "time", "Timestamp", "unixReviewTime", "when", "date", "created_at")
NOISE = {
    "rating": ["4.5", "1.0", "3.5"], "is_click": ["0", "1"], "latitude": ["40.25", "-10.5"],
    "review_id": ["r1", "r2", "r3"], "comment": ["good", "so, so", 'a "quote"', "two\nlines"],
    "release_year": ["1994", "2001"], "quantity": ["1", "12"],
}  # fmt: skip


@st.composite
def logs(draw: st.DrawFn, step: int) -> list[Row]:
    """Interactions of users with items at times that differ by whole steps, in any order."""
    labels = st.sampled_from(["007", "7", "u 1", "é", "x,y", '5"', "12345678901234567890", "a\tb"])
    users = draw(st.lists(labels, min_size=2, max_size=4, unique=True))
    items = draw(st.lists(labels, min_size=2, max_size=5, unique=True))
    count = draw(st.integers(4, 30))
    steps = draw(st.lists(st.integers(0, 10**6), min_size=count, max_size=count, unique=True))
    return [
        (
            users[i % len(users)],
            draw(st.sampled_from(items)),
            START + timedelta(microseconds=step * number),
        )
        for i, number in enumerate(steps)
    ]


def field(text: str, separator: str, quote_all: bool) -> str:
    if quote_all or any(mark in text for mark in (separator, '"', "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def truth(rows: list[Row]) -> list[tuple[str, str, int]]:
    users = list(dict.fromkeys(user for user, _, _ in rows))
    in_order = sorted(rows, key=lambda row: (users.index(row[0]), row[2]))
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    return [(u, i, (when - zero) // timedelta(microseconds=1)) for u, i, when in in_order]


def rows_of(log: Interactions) -> list[tuple[str, str, int]]:
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], log.time, strict=True)
    return [(str(user), str(item), int(time)) for user, item, time in labels]


OFTEN = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@OFTEN
@given(data=st.data())
@pytest.mark.parametrize("kind", TIMES)
def test_the_entry_that_is_printed_reads_what_was_written(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    write, step = TIMES[kind]
    rows = data.draw(logs(step))
    names = [data.draw(st.sampled_from(choice)) for choice in (USERS, ITEMS, STAMPS)]
    noise = data.draw(st.lists(st.sampled_from(sorted(NOISE)), max_size=3, unique=True))
    order = data.draw(st.permutations([*names, *noise]))
    separator = data.draw(st.sampled_from([",", "\t", ";", "|", "::"]))
    quote_all, end = data.draw(st.booleans()), data.draw(st.sampled_from(["\n", "\r\n"]))
    last = data.draw(st.sampled_from(["", end, end + end]))
    lines = [separator.join(field(name, separator, quote_all) for name in order)]
    for i, (user, item, when) in enumerate(rows):
        values = dict(zip(names, (user, item, write(when)), strict=True))
        values |= {name: NOISE[name][i % len(NOISE[name])] for name in noise}
        lines.append(separator.join(field(values[name], separator, quote_all) for name in order))
    path = tmp_path / "made up.csv"
    path.write_bytes((end.join(lines) + last).encode())
    try:
        found = read_by_entry(inspect(path, Known()))
    except Unsure as question:  # never a wrong reading, and no question but one that two fit
        assert "may be read in two ways" in str(question) and kind in ("german",)
    else:
        assert rows_of(found) == truth(rows)


@OFTEN
@given(data=st.data())
@pytest.mark.parametrize("kind", ["unix", "unix_ms", "iso", "iso_z"])
def test_json_lines_are_read_as_they_were_written(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    write, step = TIMES[kind]
    rows = data.draw(logs(step))
    names = [data.draw(st.sampled_from(choice)) for choice in (USERS, ITEMS, STAMPS)]
    numbers = kind.startswith("unix")
    lines = [
        json.dumps(
            {
                "rating": 5.0,
                **dict(zip(names, (user, item), strict=False)),
                names[2]: int(write(when)) if numbers else write(when),
            },
            ensure_ascii=data.draw(st.booleans()),
        )
        for user, item, when in rows
    ]
    path = tmp_path / "made-up.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert rows_of(read_by_entry(inspect(path, Known()))) == truth(rows)


@OFTEN
@given(
    lists=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=2, max_size=9),
    separator=st.sampled_from([" ", "\t", ","]),
)
def test_ragged_lists_are_item_lists(
    tmp_path: Path, lists: list[list[int]], separator: str
) -> None:
    if len({len(items) for items in lists}) == 1:
        lists = [*lists, [*lists[0], 1]]
    path = tmp_path / "lists.txt"
    lines = [separator.join(map(str, [user, *items])) for user, items in enumerate(lists)]
    path.write_text("\n".join(lines) + "\n")
    try:
        found = guess(path, Known())
    except Unsure:
        return  # as where most have a single item
    assert found.reader == ItemLists(separator)
    expected = {str(user): [str(item) for item in items] for user, items in enumerate(lists)}
    assert histories(ItemLists(separator).read([path])) == expected


@OFTEN
@given(data=st.data())
def test_a_nameless_table_is_never_read_without_a_question(
    tmp_path: Path, data: st.DataObject
) -> None:
    write, step = TIMES[data.draw(st.sampled_from(["unix", "unix_ms", "iso", "mail"]))]
    rows = data.draw(logs(step))
    lines = [[u.strip() or "u", i, write(when), str(i_)] for i_, (u, i, when) in enumerate(rows)]
    order = data.draw(st.permutations(range(4)))
    path = tmp_path / "nameless.csv"
    path.write_text(
        "\n".join(",".join(field(line[place], ",", False) for place in order) for line in lines)
    )
    with pytest.raises(Unsure, match="it has no header"):
        inspect(path, Known())
    answers = {what: order.index(place) for place, what in enumerate(("user", "item", "time"))}
    assert rows_of(read_by_entry(inspect(path, Known(**answers)))) == truth(rows)


@OFTEN
@given(data=st.data(), unit=st.sampled_from([("unix_ms", "unix"), ("unix_us", "unix_ms")]))
def test_another_unit_anywhere_is_refused(
    tmp_path: Path, data: st.DataObject, unit: tuple[str, str]
) -> None:
    rows = data.draw(logs(10**6))
    right, wrong = (TIMES[name][0] for name in unit)
    place = data.draw(st.integers(0, len(rows) - 1))
    lines = [
        f"u{user == '7'},{i},{(wrong if i == place else right)(when)}"
        for i, (user, _, when) in enumerate(rows)
    ]
    path = tmp_path / "units.csv"
    path.write_text("\n".join(["user,item,timestamp", *lines]))
    with pytest.raises(DataError, match=rf"line {place + 2}: its time .* is in another unit"):
        inspect(path, Known())


def test_the_command_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*ASKED, *REFUSED):
        assert main(["data", "inspect", str(BAD / name)]) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1 and name in shown.err
