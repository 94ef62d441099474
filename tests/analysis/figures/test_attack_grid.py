"""Bars show what the records say."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedrec.analysis.figures.attack_grid import draw
from fedrec.analysis.noise import fit, half_of, mean_error
from fedrec.plan.blocks import AttackGrid
from fedrec.records import Record
from tests.builders import make_record

ATTACKS, DEFENSES = ("NoAttack", "Fang", "ClusterAttack"), ("FedAvg", "Krum", "Krum+UNION")


def heights(attack: str, defense: str) -> list[float]:
    """HR@5 of three seeds, another for each cell."""
    start = (1 + ATTACKS.index(attack)) / 100 + DEFENSES.index(defense) / 10
    return [start, start + 0.002, start + 0.007]


def cells(seeds: int = 3, dataset: str = "ml-1m") -> list[Record]:
    return [
        make_record(attack, seed, [heights(attack, defense)[seed]], None, None, dataset, defense)
        for defense in DEFENSES
        for attack in ATTACKS
        for seed in range(seeds)
    ]


def grid(records: list[Record], title="Grid", attacks=ATTACKS, defenses=DEFENSES) -> Figure:
    block = AttackGrid(
        title=title, kind="attack_grid", datasets=("ml-1m",), models=("MF",), attacks=attacks,
        defenses=defenses,
    )  # fmt: skip
    return draw(records, block, "best_val")


def intervals(axes: Axes) -> list[tuple[float, float]]:
    """The ends of the error bars, attack after attack."""
    found = [end for lines in axes.collections for end in lines.get_segments()]
    return [(low, high) for (_, low), (_, high) in found]


def test_bars_stand_by_defence_and_attack_at_means_over_seeds() -> None:
    (axes,) = grid(cells()).axes
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    expected = [np.mean(heights(attack, defense)) for defense in DEFENSES for attack in ATTACKS]
    assert np.allclose([bar.get_height() for bar in bars], expected)
    middles = np.reshape([bar.get_x() + bar.get_width() / 2 for bar in bars], (3, 3))
    assert np.allclose(middles.mean(axis=1), [0, 1, 2])  # groups are centred on their ticks
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["No defense", "Krum", "Krum\n+UNION"]


def test_error_bars_are_intervals_from_the_noise_of_all_arms() -> None:
    (axes,) = grid(cells()).axes
    arms = [heights(attack, defense) for attack in ATTACKS for defense in DEFENSES]
    noise = fit([dict(enumerate(values)) for values in arms])
    assert noise is not None
    halves = [half_of(*mean_error(np.array(values), noise)) for values in arms]
    worked = [(np.mean(v) - half, np.mean(v) + half) for v, half in zip(arms, halves, strict=True)]
    assert np.allclose(intervals(axes), worked)


def test_a_single_seed_has_bars_without_intervals() -> None:
    (axes,) = grid(cells(seeds=1)).axes
    assert len(axes.patches) == 9 and not intervals(axes)


def test_the_dashed_line_is_no_attack_without_defence() -> None:
    figure = grid(cells())
    (line,) = figure.axes[0].get_lines()
    assert np.allclose(line.get_ydata(), np.mean(heights("NoAttack", "FedAvg")))
    assert line.get_linestyle() == "--" and line.get_color() == "black"


def test_missing_cells_leave_a_marked_gap() -> None:
    gone = {("FedAvg", "NoAttack"), ("Krum", "Fang"), ("Krum", "ClusterAttack")}
    records = [r for r in cells() if (r.cell.defense, r.cell.attack) not in gone]
    figure = grid(records)
    (axes,) = figure.axes
    whole = {round(b.get_x() + b.get_width() / 2, 6) for b in grid(cells()).axes[0].patches}
    there = {round(b.get_x() + b.get_width() / 2, 6) for b in axes.patches}
    dashes = {round(text.get_position()[0], 6) for text in axes.texts}
    assert len(dashes) == 3 and dashes == whole - there
    assert {(text.get_text(), text.get_position()[1]) for text in axes.texts} == {("–", 0)}
    assert not axes.get_lines() and "no defense" not in str(legend_of(figure))


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_a_defence_and_an_attack_without_records_keep_their_places() -> None:
    (axes,) = grid(cells()[:3]).axes
    assert len(axes.patches) == 1 and len(axes.texts) == 8
    assert [label.get_text() for label in axes.get_xticklabels()][1] == "Krum"


def test_the_grid_has_a_panel_for_each_dataset_and_ratio() -> None:
    both = grid([*cells(), *cells(dataset="gowalla")])
    titles = [axes.get_title() for axes in both.axes]
    assert titles == ["MF, ml-1m, 1 % malicious", "MF, gowalla, 1 % malicious"]
    fang = make_record("Fang")
    strong = fang.model_copy(update={"cell": fang.cell.model_copy(update={"ratio": 0.05})})
    panels = grid([make_record(), fang, strong]).axes
    assert [axes.get_title() for axes in panels][1] == "MF, ml-1m, 5 % malicious"
    assert [len(axes.patches) for axes in panels] == [2, 2]


@pytest.mark.parametrize("count", [3, 12])
def test_no_two_attacks_look_the_same_and_the_legend_names_them(count: int) -> None:
    attacks = ["NoAttack", *(f"Attack{i}" for i in range(count - 1))]
    figure = grid([make_record()], "T", tuple(attacks), ("FedAvg",))
    bars = [handle for handle in figure.legends[0].legend_handles if isinstance(handle, Patch)]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == count
    assert set(legend_of(figure)) == {*attacks, "NoAttack, no defense"}


def test_a_long_title_stays_within_the_figure() -> None:
    title = (
        "Model performance under different attack methods with different defense mechanisms " * 2
    )
    figure = grid([make_record()], title)
    figure.draw_without_rendering()
    (box,) = [text.get_window_extent() for text in figure.texts]
    assert box.x0 > 0 and box.x1 < figure.bbox.x1
