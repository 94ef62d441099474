"""Files: whole or not at all, on the disk, and with checksums that notice a change."""

import json
import os
from pathlib import Path

import pytest

from fedrec.files import (
    read_with_sum,
    remove_unfinished,
    replaced,
    sealed,
    unsealed,
    write_text,
    write_with_sum,
)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its folder after: otherwise a power cut leaves an empty file, or none."""
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a)))
    write_text(tmp_path / "new" / "a.txt", "text")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "new" / "a.txt").read_text() == "text"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replaced(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_only_what_is_unfinished_of_this_file_is_removed(tmp_path: Path) -> None:
    for name in ("a.json", "a.json.17.tmp", "a.json.4.tmp", "b.json.17.tmp"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json.17.tmp"]


VALUES = {"users": 40, "share": 0.1, "names": ["a", "b"], "none": None, "odd": float("inf")}


def test_a_seal_lets_the_same_values_through() -> None:
    assert unsealed(json.dumps(sealed(VALUES), indent=3)) == VALUES
    assert unsealed(json.dumps(VALUES)) == VALUES  # as older versions wrote them


@pytest.mark.parametrize(("old", "new"), [("40", "41"), ("0.1", "0.2"), ('"b"', '"c"')])
def test_a_seal_notices_a_change(old: str, new: str) -> None:
    text = json.dumps(sealed(VALUES))
    with pytest.raises(ValueError, match="checksum mismatch"):
        unsealed(text.replace(old, new, 1))


def test_a_sum_beside_a_file_notices_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_with_sum(path, "x\n1\n")
    assert read_with_sum(path) == "x\n1\n"
    path.write_text("x\n2\n")
    with pytest.raises(ValueError, match=r"checksum mismatch with a\.csv\.sha256"):
        read_with_sum(path)
    path.with_name("a.csv.sha256").unlink()
    assert read_with_sum(path) == "x\n2\n"  # brought from elsewhere without it
