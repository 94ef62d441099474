"""Datasets that give each user's items on one line."""

from pathlib import Path

import pytest

from fedrec.data.readers.item_lists import ItemLists
from fedrec.errors import DataError


def written(tmp_path: Path, *texts: str) -> list[Path]:
    paths = [tmp_path / f"{i}.txt" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode())
    return paths


def test_a_users_items_follow_each_other_in_the_order_of_the_files(tmp_path: Path) -> None:
    found = ItemLists().read(written(tmp_path, "7 3 1\n9 4\n", "9 3 8\n7 5\n"))
    rows = zip(found.user_labels[found.user], found.item_labels[found.item], strict=True)
    expected = [("7", "3"), ("7", "1"), ("7", "5"), ("9", "4"), ("9", "3"), ("9", "8")]
    assert [(str(user), str(item)) for user, item in rows] == expected
    assert found.time.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("text", ["7 3 1 \n9 4\n", "7 3 1\r\n9 4\r\n", "7 3 1\n9 4"])
def test_ends_of_lines_do_not_matter(tmp_path: Path, text: str) -> None:
    assert ItemLists().read(written(tmp_path, text)).item_labels.tolist() == ["3", "1", "4"]


def test_a_user_without_items_is_none(tmp_path: Path) -> None:
    found = ItemLists().read(written(tmp_path, "7\n9 4\n"))
    assert found.user_labels.tolist() == ["9"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["7 3\n\n9 4\n"], r"0\.txt: line 2: expected a user and its items"),
        (["7 3\n", "9  4\n"], r"1\.txt: line 1: expected"),
        (["7\n9\n"], r"0\.txt: no user has an item"),
        ([""], r"0\.txt: no user has an item"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ItemLists().read(written(tmp_path, *texts))


def test_a_file_that_is_missing_or_no_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        ItemLists().read([tmp_path / "gone.txt"])
    with pytest.raises(DataError, match=r"0\.txt: line 1: is a web page"):
        ItemLists().read(written(tmp_path, "<html>moved</html>"))
