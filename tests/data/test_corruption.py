"""Bytes changed, cut out or put in, anywhere in any file: refused in one line, or harmless."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.data.columns import Known
from fedrec.data.filters import IdLists, Passes
from fedrec.data.guessing import guess
from fedrec.data.interactions import Counts, Interactions, from_columns
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.table import Table
from fedrec.data.sources import LocalFile
from fedrec.data.split import Repeats, Split, leave_one_out
from fedrec.data.statistics import load_statistics, save_statistics
from fedrec.errors import DataError

ROWS = [(f"user{i % 7}", f"item{i % 11}", 1_000_000_000 + i) for i in range(50)]
TEXT = "".join(f"{user},{item},{time}\n" for user, item, time in ROWS).encode()
HEADED = b"user,item,time\n" + TEXT
EVENTS = "".join(
    json.dumps({"user": user, "item": item, "time": time}) + "\n" for user, item, time in ROWS
).encode()
LISTS = "".join(f"{i} {' '.join(map(str, range(1 + i % 5)))}\n" for i in range(20)).encode()
IDS = b"org_id remap_id\n" + b"".join(b"user%d %d\n" % (i, i) for i in range(7))
USER, ITEM, TIME = (np.array(column) for column in zip(*ROWS, strict=True))
LOG = from_columns(USER, ITEM, TIME)


def zipped(text: bytes = TEXT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.txt", text)
    return buffer.getvalue()


def parquet(**options: Any) -> bytes:
    buffer = io.BytesIO()
    table = pyarrow.table({"user": USER, "item": ITEM, "time": TIME})
    pyarrow.parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


def saved(value: Interactions | Split, folder: Path) -> bytes:
    value.save(folder / "saved.npz")
    return (folder / "saved.npz").read_bytes()


def listed(path: Path) -> Interactions:
    whole = path.with_name("items.txt")
    whole.write_text("".join(f"item{i} {i}\n" for i in range(-1, 11)))
    lists = IdLists(users=LocalFile(path.name), items=LocalFile(whole.name))
    return lists.apply(LOG, path, whole).kept


COLUMNS: dict[str, Any] = {"separator": ",", "user": 0, "item": 1, "time": 2}
NAMES = {"user": "user", "item": "item", "time": "time"}
FILES: dict[str, tuple[str, Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "text": ("log.txt", lambda _: TEXT, Table(**COLUMNS).read),
    "gzip": ("log.gz", lambda _: gzip.compress(TEXT), Table(**COLUMNS).read),
    "zip": ("log.zip", lambda _: zipped(), Table(**COLUMNS, member="log.txt").read),
    "item lists": ("log.txt", lambda _: LISTS, lambda path: ItemLists().read([path])),
    "id list": ("users.txt", lambda _: IDS, listed),
    "parquet": ("log.parquet", lambda _: parquet(), Table(**NAMES, kind="parquet").read),
    "checked parquet": (
        *("log.parquet", lambda _: parquet(compression="none", write_page_checksum=True)),
        Table(**NAMES, kind="parquet").read,
    ),
    "interactions": ("log.npz", lambda folder: saved(LOG, folder), Interactions.load),
    "split": ("split.npz", lambda folder: saved(leave_one_out(LOG), folder), Split.load),
    "guessed text": ("log.txt", lambda _: HEADED, lambda path: guess(path, Known())),
    "guessed zip": ("log.zip", lambda _: zipped(HEADED), lambda path: guess(path, Known())),
    "guessed json": ("log.jsonl", lambda _: EVENTS, lambda path: guess(path, Known())),
    "json": ("log.jsonl", lambda _: EVENTS, Table(**NAMES, kind="json_lines").read),
    "guessed lists": ("log.txt", lambda _: LISTS, lambda path: guess(path, Known())),
    "guessed parquet": ("log.parquet", lambda _: parquet(), lambda path: guess(path, Known())),
}


SETTINGS = settings(
    max_examples=60,
    deadline=10_000,  # ms: no file may keep a reader for ever
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def corrupted(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bit flips, truncation, or some bytes replaced by others, fewer or more."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(start + 20, len(whole))) | st.just(len(whole)))
    flipped = bytes(byte ^ draw(st.sampled_from([1, 16, 128])) for byte in whole[start:end][:3])
    put_in = draw(st.just(b"") | st.just(flipped) | st.binary(max_size=20))
    return whole[:start] + put_in + whole[start + len(flipped) if put_in == flipped else end :]


@pytest.mark.parametrize("kind", FILES)
@SETTINGS
@given(data=st.data())
def test_a_corrupted_file_is_refused_in_one_line_or_read(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    name, content, read = FILES[kind]
    path = tmp_path / name
    path.write_bytes(data.draw(corrupted(content(tmp_path))))
    try:
        found = read(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert_usable(found)


def assert_usable(found: Any) -> None:
    if isinstance(found, Interactions):
        assert 0 < len(found.user) == len(found.item) == len(found.time)
        assert (found.time >= 0).all()
        assert found.user.max() < found.n_users and found.item.max() < found.n_items
    elif isinstance(found, Split):
        assert found.checksum == leave_one_out(LOG).checksum


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize(
    "values", [Counts(7, 11, 50), Repeats(7, 0, 2), Passes(Counts(7, 11, 50), ())]
)
def test_corrupted_statistics_are_refused_in_one_line_or_read(
    tmp_path: Path, values: Any, data: st.DataObject
) -> None:
    path = tmp_path / "values.json"
    save_statistics(path, values)
    assert load_statistics(type(values), path) == values
    path.write_bytes(data.draw(corrupted(path.read_bytes())))
    try:
        load_statistics(type(values), path)
    except DataError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
