"""Points show what groups of users lose."""

import pytest
from matplotlib.figure import Figure

from fedrec.analysis.figures.victims import draw
from fedrec.errors import RecordError
from fedrec.plan.blocks import VictimFigure
from tests.analysis.test_victims import study

BLOCK = VictimFigure(
    title="T",
    kind="victims",
    datasets=("ml-1m",),
    models=("MF",),
    attacks=("Fang", "LIE"),
)
GROUPS = {"ml-1m": {"activity": "12345" * 40, "popularity": "1" * 100 + "2345" * 25}}


def figure() -> Figure:
    return draw(study(), BLOCK, "best_val", "A note.", groups=GROUPS)


def test_points_are_the_groups_results_beside_each_other() -> None:
    above, _, below, right = figure().axes
    lines = {bars.get_label(): bars.lines[0] for bars in above.containers}
    assert set(lines) == {"NoAttack", "Fang", "LIE"}
    x = [line.get_xdata() for line in lines.values()]
    assert [round(float(sum(places)) / 3, 6) for places in zip(*x, strict=True)] == [1, 2, 3, 4, 5]
    assert sum(lines["NoAttack"].get_ydata()) == pytest.approx(5 * 0.3)
    assert {bars.get_label() for bars in below.containers} == {"Fang", "LIE"}
    # Of the popularity groups, the first alone is ever hit, so it alone can lose.
    assert [len(bars.lines[0].get_xdata()) for bars in right.containers] == [1, 1]


def test_the_legend_names_the_setting() -> None:
    (legend,) = figure().legends
    assert legend.get_title().get_text() == "MF, ml-1m, 1 % malicious"


def test_without_groups_there_is_no_figure() -> None:
    with pytest.raises(RecordError, match=r"no groups of ml-1m: give its groups\.json"):
        draw(study(), BLOCK, "best_val")
