"""Verdicts in one picture."""

import pandas as pd

from fedrec.analysis.figures.scorecard import MARKS, draw

CARD = pd.DataFrame(
    {
        "says": ["It works. " * 20, "It is fast.", "It is new."],
        "place": ["Abstract", "Table 1", "Section 9"],
        "verdict": ["reproduced", "not run", "too close to call"],
    }
)


def test_a_mark_and_a_text_for_each_claim_in_order() -> None:
    (axes,) = draw(CARD, "Claims").axes
    marks = [line.get_marker() for line in axes.get_lines()]
    assert marks == [MARKS[verdict]["marker"] for verdict in CARD.verdict]
    assert [text.get_text()[:5] for text in axes.texts] == ["It wo", "It is", "It is"]
    heights = [text.get_position()[1] for text in axes.texts]
    assert heights == sorted(heights) and axes.yaxis_inverted()


def test_the_legend_counts_each_verdict() -> None:
    (legend,) = draw(CARD, "Claims").legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        "reproduced (1)", "not reproduced (0)", "too close to call (1)", "inconclusive (0)",
        "not run (1)",
    ]  # fmt: skip


def test_no_text_leaves_the_figure() -> None:
    figure = draw(CARD, "Claims", "A note.")
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x1 <= figure.bbox.x1 and box.y0 >= 0
