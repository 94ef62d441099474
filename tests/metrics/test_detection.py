"""Counts of what the filters dropped, by hand."""

import pytest
import torch

from fedrec.metrics.detection import Detection


def mask(text: str) -> torch.Tensor:
    return torch.tensor([letter == "1" for letter in text])


def test_counts_by_hand() -> None:
    detection = Detection()
    detection.add(kept=mask("01100"), malicious=mask("00011"), scores={})  # drops 3, 2 rightly
    detection.add(kept=mask("11110"), malicious=mask("10011"), scores={})  # drops 1 of 3
    summary = detection.summary()
    assert summary["filtered"] == 4 / 2
    assert summary["precision"] == 3 / 4
    assert summary["recall"] == 3 / 5
    assert set(summary) == {"filtered", "precision", "recall"}


def test_scores_are_averaged_over_uploads_and_not_over_rounds() -> None:
    detection = Detection()
    for scores, malicious in (([1.0, 2.0, 6.0], "001"), ([3.0, 4.0, 8.0], "011")):
        score = {"uniformity": torch.tensor(scores)}
        detection.add(mask("111"), mask(malicious), score)
    summary = detection.summary()
    assert summary["uniformity_benign"] == pytest.approx(2.0)  # of 1, 2 and 3
    assert summary["uniformity_malicious"] == pytest.approx(6.0)  # of 6, 4 and 8


def test_there_is_no_ratio_where_there_is_nothing_to_divide_by() -> None:
    detection = Detection()
    detection.add(mask("11"), mask("00"), {"s": torch.tensor([1.0, 3.0])})
    assert detection.summary() == {
        "filtered": 0.0,
        "precision": None,
        "recall": None,
        "s_benign": 2.0,
        "s_malicious": None,
    }


def test_dropping_honest_uploads_alone_has_no_precision() -> None:
    detection = Detection()
    detection.add(mask("01"), mask("01"), {})
    summary = detection.summary()
    assert (summary["precision"], summary["recall"]) == (0.0, 0.0)


def test_a_summary_starts_anew() -> None:
    detection = Detection()
    detection.add(mask("01"), mask("10"), {"s": torch.tensor([1.0, 3.0])})
    detection.summary()
    assert detection.summary() == {"filtered": None, "precision": None, "recall": None}
    detection.add(mask("11"), mask("01"), {"s": torch.tensor([5.0, 3.0])})
    summary = detection.summary()
    assert (summary["filtered"], summary["s_benign"], summary["s_malicious"]) == (0.0, 5.0, 3.0)
