"""The paper's numbers against ours, drawn."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fedrec.analysis.figures.numbers import draw

FOUND = pd.DataFrame(
    [
        ("ml-1m", "MF", "NoAttack", "hr@5", 0.035, 0.034, 0.003, True),
        ("ml-1m", "MF", "Fang", "hr@5", 0.030, 0.026, 0.002, False),
        ("ml-1m", "MF", "Fang", "ndcg@5", 0.019, 0.0185, 0.002, True),
        ("ml-1m", "MF", "LIE", "hr@5", 0.033, np.nan, np.nan, np.nan),  # not run
        ("ml-1m", "SASRec", "NoAttack", "hr@5", 0.108, 0.1, 0.008, True),
        ("ml-1m", "SASRec", "Fang", "hr@5", 0.1, 0.09, np.nan, np.nan),  # no interval
    ],
    columns=["dataset", "model", "attack", "metric", "paper", "mean", "again", "agrees"],
)


def points(axes: Axes) -> dict[tuple[float, float], str]:
    """Where the points lie, and what fills them."""
    marks = [container.lines[0] for container in axes.containers]
    return {
        (float(x), float(y)): str(mark.get_markerfacecolor())
        for mark in marks
        for x, y in zip(mark.get_xdata(), mark.get_ydata(), strict=True)
    }


def test_a_point_for_each_number_with_an_interval_hollow_where_it_does_not_agree() -> None:
    mf, sasrec = draw(FOUND, "T").axes
    assert [a.get_title() for a in (mf, sasrec)] == ["MF, ml-1m", "SASRec, ml-1m"]
    assert {where: fill == "white" for where, fill in points(mf).items()} == {
        (0.035, 0.034): False,
        (0.03, 0.026): True,
        (0.019, 0.0185): False,
    }
    assert list(points(sasrec)) == [(0.108, 0.1)]


def test_intervals_are_those_of_another_study() -> None:
    mf, _ = draw(FOUND, "T").axes
    ends = [s[:, 1] for c in mf.containers for s in c.lines[2][0].get_segments()]
    assert np.allclose(sorted(ends[0]), [0.031, 0.037])


def test_colours_are_of_attacks_and_marks_of_metrics() -> None:
    (legend,) = draw(FOUND, "T").legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["NoAttack", "Fang", "HR@5", "NDCG@5", "does not agree", "the same"]


def test_without_records_the_picture_is_empty() -> None:
    (axes,) = draw(FOUND.iloc[3:4], "T").axes
    assert not axes.containers
