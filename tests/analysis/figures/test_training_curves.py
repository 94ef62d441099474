"""Lines show what the records say."""

import numpy as np

from fedrec.analysis.figures.training_curves import draw
from fedrec.plan.blocks import TrainingCurves
from tests.builders import make_record

BLOCK = TrainingCurves(
    title="T",
    kind="training_curves",
    datasets=("ml-1m",),
    models=("MF",),
    attacks=("ClusterAttack",),
)

RECORDS = [
    *(make_record("NoAttack", seed, [0.1 + seed / 10, 0.3]) for seed in range(3)),
    *(make_record("ClusterAttack", seed, [0.1, 0.2], clusters=[2, 8]) for seed in range(3)),
]


def test_lines_are_means_over_seeds() -> None:
    axes = draw(RECORDS, BLOCK, "best_val").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    plain = lines["NoAttack"]
    assert np.allclose(plain.get_ydata(), [0.2, 0.3]) and list(plain.get_xdata()) == [200, 400]
    assert np.allclose(lines["ClusterAttack (1 % malicious)"].get_ydata(), [0.1, 0.2])


def test_adaptive_clusters_have_a_row_of_their_own() -> None:
    below = draw(RECORDS, BLOCK, "best_val").axes[1]
    assert below.get_ylabel() == "clusters K"
    assert {tuple(line.get_ydata()) for line in below.get_lines()} == {(2, 8)}
    assert len(draw(RECORDS[:3], BLOCK, "best_val").axes) == 1


def test_each_dataset_has_a_panel() -> None:
    records = [make_record(dataset=name) for name in ("ml-1m", "gowalla")]
    titles = [axes.get_title() for axes in draw(records, BLOCK, "last").axes]
    assert titles == ["MF, ml-1m", "MF, gowalla"]


def test_the_legend_names_arms_of_every_panel() -> None:
    records = [make_record("NoAttack"), make_record("ClusterAttack", dataset="gowalla")]
    (legend,) = draw(records, BLOCK, "last").legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["NoAttack", "ClusterAttack (1 % malicious)"]


def test_no_two_arms_look_the_same() -> None:
    records = [make_record(f"Attack{i}") for i in range(12)]
    (legend,) = draw(records, BLOCK, "last").legends
    looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == 12
