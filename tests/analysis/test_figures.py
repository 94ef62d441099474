"""Figures show what the records say."""

from pathlib import Path

import numpy as np

from fedrec.analysis.figures import save_figure, training_curves
from tests.builders import make_record

RECORDS = [
    *(make_record("NoAttack", seed, [0.1 + seed / 10, 0.3]) for seed in range(3)),
    *(make_record("ClusterAttack", seed, [0.1, 0.2], clusters=[2, 8]) for seed in range(3)),
]


def test_lines_are_means_over_seeds() -> None:
    axes = training_curves(RECORDS, "Training", "best_val").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    plain = lines["NoAttack"]
    assert np.allclose(plain.get_ydata(), [0.2, 0.3]) and list(plain.get_xdata()) == [200, 400]
    assert np.allclose(lines["ClusterAttack (1 % malicious)"].get_ydata(), [0.1, 0.2])


def test_adaptive_clusters_have_a_row_of_their_own() -> None:
    below = training_curves(RECORDS, "Training", "best_val").axes[1]
    assert below.get_ylabel() == "clusters K"
    assert {tuple(line.get_ydata()) for line in below.get_lines()} == {(2, 8)}
    assert len(training_curves(RECORDS[:3], "Training", "best_val").axes) == 1


def test_each_dataset_has_a_panel() -> None:
    records = [make_record(dataset=name) for name in ("ml-1m", "gowalla")]
    titles = [axes.get_title() for axes in training_curves(records, "T", "last").axes]
    assert titles == ["MF, ml-1m", "MF, gowalla"]


def test_the_legend_names_arms_of_every_panel() -> None:
    records = [make_record("NoAttack"), make_record("ClusterAttack", dataset="gowalla")]
    (legend,) = training_curves(records, "T", "last").legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["NoAttack", "ClusterAttack (1 % malicious)"]


def test_no_two_arms_look_the_same() -> None:
    records = [make_record(f"Attack{i}") for i in range(12)]
    (legend,) = training_curves(records, "T", "last").legends
    looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == 12


def test_equal_records_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(training_curves(RECORDS, "T", "best_val"), tmp_path / f"{name}.pdf")
    for kind in ("pdf", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
