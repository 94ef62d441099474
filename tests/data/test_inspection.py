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
from fedrec.data.columns import Known, Unsure
from fedrec.data.dataset import Dataset
from fedrec.data.guessing import guess
from fedrec.data.inspection import inspect
from fedrec.data.interactions import Counts
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.table import Table
from fedrec.errors import DataError

CSV = "listener,track,stars,played_at\nann,t-17,4.5,2023-05-01 09:30:00\nbob,t-1,2.0,2023-05-02\n"


def guessed(tmp_path: Path, text: str, **known: Any) -> Any:
    (tmp_path / "log").write_text(text)
    return guess(tmp_path / "log", Known(**known)).reader


@pytest.mark.parametrize(
    ("text", "reader"),
    [
        (CSV, Table("listener", "track", "played_at", time_format="iso8601", header=True)),
        (
            "item_id;timestamp;user_id\n5;978300760;6\n",
            Table("user_id", "item_id", "timestamp", separator=";", header=True),
        ),
        (
            "userId::movieId::timestamp\n5::978300760000::978300760000\n",
            Table(*("userId", "movieId", "timestamp"), time_format="unix_ms", separator="::",
                  header=True),
        ),
        ("0 1 2 3 4\n1 2\n2 7 8\n", ItemLists()),
        ("# made in 2020\n\n% by us\nuser\titem\tts\n1\t2\t978300760\n",
         Table("user", "item", "ts", separator="\t", header=True, skip=3)),
    ],
)  # fmt: skip
def test_what_a_header_settles_is_understood(tmp_path: Path, text: str, reader: Any) -> None:
    assert guessed(tmp_path, text) == reader


NAMELESS = [
    ("1::1193::5::978300760\n2::661::3::978302109\n", (0, 1, 3)),
    (
        "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22\n1\t2010-10-18T22:17:43Z\t30.3\t-97.8\t4\n",
        (0, 4, 1),
    ),
    ("u i 978300760\nv j 978300760\n", (0, 1, 2)),
    ("1700000000123;i;u\n1700000000456;j;v\n", (1, 2, 0)),
    ("u,i,978300760\nu,i\nv,j,978300761\n", (0, 1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "likely"), NAMELESS)
def test_a_file_without_a_header_is_asked_about(
    tmp_path: Path, text: str, likely: tuple[int, int, int]
) -> None:
    with pytest.raises(Unsure, match=r"log: it has no header.*--user, --item, --time") as asked:
        guessed(tmp_path, text)
    assert tuple(asked.value.options.values()) == likely
    user, item, time = likely
    found = guessed(tmp_path, text, user=user, item=item, time=time)
    assert (found.user, found.item, found.time, found.header) == (user, item, time, False)


def test_what_is_known_is_not_guessed(tmp_path: Path) -> None:
    text = "1,2,3,4\n5,6,7,8\n"
    known = {"user": 3, "item": 0, "time": 1, "time_format": "unix_ms", "header": False}
    assert guessed(tmp_path, text, **known) == Table(3, 0, 1, time_format="unix_ms")
    assert guessed(tmp_path, CSV, user="track", item="stars").user == "track"
    assert guessed(tmp_path, CSV, rating="stars", min_rating=4.0).min_rating == 4.0
    assert guessed(tmp_path, "1,2,3\n4,5,6\n", separator=",", item_lists=True) == ItemLists(",")
    ordered = guessed(tmp_path, text, user=0, item=1, time_format="order")
    assert ordered == Table(0, 1, time_format="order")


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("", {}, "no line of data"),
        ("abc\ndef\n", {}, "line 1: 'abc' has no fields .*--separator"),
        ("a,b,c\nd,e,f\n", {}, r"no column can be a time.*--time-format order.*--item-lists"),
        ("user,time\na,978300760\n", {}, r"which column is the item.*--item"),
        ("user,item,movie,time\na,1,2,978300760\n", {}, r"--item; column item .*; column movie"),
        ('{"user": 1}\n\n[1]\n', {}, r"line 3: '\[1\]' is not a JSON object: correct"),
        ("user,item,id\na,1,978300760\n", {}, r"is the time: .*column id holds 978300760"),
        (
            "user,item,created_at,date\na,1,2020-01-01,2021-05-05\n",
            {},
            r"which column is the time.*column created_at .*; column date",
        ),
        ("user,item,date\na,1,05/03/2024\n", {}, r"two ways: .*--time-format.*%d/%m/%Y or %m/%d"),
        ("user,item,time\na,1,5\n", {"time": "time"}, r"in no known format: .*--time-for"),
        (CSV, {"rating": "stars"}, "give both `rating` and `min_rating`"),
        (CSV, {"time_zone": "Mars/Olympus"}, "no time zone"),
        (CSV, {"time_format": "seconds"}, "not a time format"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_says_which_option_helps(
    tmp_path: Path, text: str, known: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"log: .*{message}"):
        guessed(tmp_path, text, **known)


def test_a_folder_of_recboles_is_its_file_of_interactions(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\ttimestamp:float\na\tp\t978300760.5\n"
    (tmp_path / "tiny.inter").write_text(text)
    (tmp_path / "tiny.item").write_text("item_id:token\n")
    found = guess(tmp_path, Known())
    assert found.path == tmp_path / "tiny.inter"
    (tmp_path / "more.inter").write_text(text)
    with pytest.raises(
        DataError, match=r"is a folder with more\.inter, tiny\.inter: name the file"
    ):
        guess(tmp_path, Known())


def test_a_zip_of_several_files_asks_for_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("in/a.csv", CSV)
        archive.writestr("in/b.csv", CSV)
    with pytest.raises(DataError, match=r"contains in/a\.csv, in/b\.csv: choose one with --member"):
        guess(tmp_path / "log.zip", Known())
    found = guess(tmp_path / "log.zip", Known(member="in/a.csv")).reader
    assert isinstance(found, Table) and found.member == "in/a.csv"


def test_quotes_may_be_letters(tmp_path: Path) -> None:
    text = 'user\titem\ttime\na\t"Tower" Game\t978300760\n'
    with pytest.raises(DataError, match=r"line 2: .* has a quote .*--quote ''"):
        guessed(tmp_path, text)
        inspect(tmp_path / "log", Known())
    assert "quote: ''" in inspect(tmp_path / "log", Known(quote=""))


def test_at_a_terminal_questions_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.txt").write_text("5 u1 i1 978300760\n5 u1 i2 978300761\n4 u2 i1 978300760\n")
    answers = iter(["1", "2", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert main(["data", "inspect", str(tmp_path / "log.txt")]) == 0
    ((_, entry),) = yaml.safe_load(capsys.readouterr().out.partition("config:")[2]).items()
    assert [entry["format"][what] for what in ("user", "item", "time")] == [1, 2, 3]


def test_ties_that_the_files_order_decides_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = {"a": [1, 2, 2], "b": [1, 1, 2], "c": [3, 3, 3], "d": [1, 2, 3]}
    rows = [f"{user},{i},2024-05-{day:02}" for user in days for i, day in enumerate(days[user])]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,date", *rows]))
    assert main(["data", "inspect", str(tmp_path / "log.csv")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "at the same time as another 7 interactions: the file's order decides" in shown
    assert "with such a test item 2 users: the file's order decides" in shown


def test_where_every_id_seems_missing_other_columns_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\nNA,1,978300760\nNULL,2,978300761\n")
    with pytest.raises(DataError, match=r"log\.csv: in every row .* seems missing.*--user"):
        inspect(tmp_path / "log.csv", Known())


def test_a_list_whose_users_have_an_item_or_two_keeps_its_separator(tmp_path: Path) -> None:
    assert guessed(tmp_path, "0\t1\n1\t1\t1\n") == ItemLists("\t")


def test_a_user_of_a_large_share_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [*range(99), *["anon"] * 20]
    rows = [f"{user},{i % 60},{978300760 + i}" for i, user in enumerate(users)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *rows]))
    assert main(["data", "inspect", str(tmp_path / "log.csv")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "of user 'anon' 17% of all, more than 10%: is this a single user?" in shown


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
    assert found["repeating an earlier user-item pair"] == "3 interactions"
    assert found["of these at the same time"] == "1 interactions"
    assert found["with fewer than 3 interactions"] == "1 users, too short to split"
    assert found["with a test item seen before"].startswith("1 of 2 users")
    assert found["left after a 5-core"] == found["left after a 10-core"] == "nothing"
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
    (tmp_path / "log.csv").write_text("user,item,time\n1,2,978300760\n")
    main(["data", "inspect", str(tmp_path / "log.csv")])
    assert "numeric_ids: true" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"<html>", "is a web page"),
        (b"user,item,ts\nu,i,978300760\n,i,978300760\n", "line 3: needs user"),
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
    assert found == Table("user", "item", "time", time_format="iso8601", kind="parquet")
