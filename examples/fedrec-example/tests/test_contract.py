"""The rules for fedrec's own methods, checked for this package's."""

from pathlib import Path

from fedrec_example.json_lists import JsonLists
from fedrec_example.median import Median
from fedrec_example.sign_flip import SignFlip

from fedrec.testing import check_attack, check_defense, check_reader


def test_sign_flip_is_an_attack() -> None:
    check_attack(SignFlip)


def test_median_is_a_defence() -> None:
    check_defense(Median)


def test_json_lists_are_read(tmp_path: Path) -> None:
    file = tmp_path / "plays.json"
    file.write_text('{"ann": ["a", "b"], "bob": ["b"]}')
    check_reader(JsonLists(), [file], users=2, items=2, interactions=3)
