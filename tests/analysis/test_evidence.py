"""Numbers with intervals, and where they lie."""

import numpy as np
import pytest

from fedrec.analysis.evidence import Finding, outliers, separation
from fedrec.records import Uploads


def finding(low: float | None, high: float | None, estimate: float | None = 1.0) -> Finding:
    return Finding(what="x", estimate=estimate, low=low, high=high, region=(0.0, 10.0))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 10.0, "reproduced"),
        (-2.0, -0.1, "not reproduced"),
        (10.1, 12.0, "not reproduced"),
        (-1.0, 1.0, "inconclusive"),
        (None, None, "inconclusive"),
    ],
)
def test_an_interval_decides(low: float | None, high: float | None, verdict: str) -> None:
    assert finding(low, high).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 5.0, "reproduced"),
        (0.0, 5.0, "inconclusive"),
        (0.0, 0.0, "inconclusive"),
        (-3.0, -0.1, "not reproduced"),
    ],
)
def test_no_difference_is_neither_better_nor_worse(low: float, high: float, verdict: str) -> None:
    for sign, region in ((1, (0.0, np.inf)), (-1, (-np.inf, 0.0))):
        ends = sorted((sign * low, sign * high))
        found = Finding(what="x", estimate=ends[0], low=ends[0], high=ends[1], region=region)
        assert found.verdict == verdict


def test_without_records_nothing_is_decided() -> None:
    assert finding(None, None, None).verdict == "not run"


def uploads(malicious: list[bool], uniformity: list[float], away: list[float]) -> Uploads:
    return Uploads(
        round=[1] * len(malicious),
        malicious=malicious,
        component_1=away,
        component_2=[0.0] * len(malicious),
        uniformity=uniformity,
    )


CONFIG = {"protocol": {"window": 10}}


def test_separation_is_the_chance_to_be_less_uniform() -> None:
    seen = uploads([True, False, False, False, False], [2.0, 1.0, 2.0, 3.0, 4.0], [0.0] * 5)
    assert separation(seen, CONFIG) == [(2 + 0.5) / 4]
    assert separation(uploads([False], [1.0], [0.0]), CONFIG) == []


def test_outliers_are_beyond_nearly_all_benign_uploads() -> None:
    benign = [float(i) for i in range(1, 101)]  # 95 % lie within 95.05
    seen = uploads([True] * 4 + [False] * 100, [0.0] * 104, [96.0, -97.0, 95.0, 1.0, *benign])
    assert outliers(seen, CONFIG) == [0.5]
