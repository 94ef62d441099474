"""The rules for fedrec's own methods, checked for this package's."""

from fedrec_example.median import Median
from fedrec_example.sign_flip import SignFlip

from fedrec.testing import check_attack, check_defense


def test_sign_flip_is_an_attack() -> None:
    check_attack(SignFlip)


def test_median_is_a_defence() -> None:
    check_defense(Median)
