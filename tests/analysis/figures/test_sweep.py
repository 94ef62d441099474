"""Losses by the values of a field, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedrec.analysis.figures.sweep import draw
from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import loss
from fedrec.config.study import Study
from fedrec.federation import Population
from fedrec.plan.blocks import Sweep
from fedrec.plan.cells import Cell
from fedrec.records import Record
from fedrec.rng import Streams
from fedrec.training.run import run_cell
from tests.builders import make_record, tiny_split

NAMED = {
    "title": "Sweep", "kind": "sweep", "datasets": ("ml-1m",), "models": ("MF",),
    "attacks": ("Fang", "LIE"), "defenses": ("FedAvg", "Krum"),
}  # fmt: skip
RATIOS = (0.001, 0.01, 0.1)
# HR@5 by share of malicious users; without attack it is 0.2.
HR = {"FedAvg": (0.18, 0.12, 0.02), "Krum": (0.19, 0.19, 0.05)}


def block(grid: dict[str, tuple[object, ...]], **values: object) -> Sweep:
    return Sweep.model_validate(NAMED | {"grid": grid} | values)


def at_ratio(record: Record, ratio: float) -> Record:
    return record.model_copy(update={"cell": record.cell.model_copy(update={"ratio": ratio})})


def by_ratio() -> list[Record]:
    """Two seeds, of which the second is 0.004 better, and 0.002 better without attack."""
    found = [make_record("NoAttack", seed, [0.2 + seed / 500]) for seed in (0, 1)]
    return found + [
        at_ratio(make_record(attack, seed, [hr + seed / 250], defense=defense), ratio)
        for attack in ("Fang", "LIE")
        for defense, values in HR.items()
        for ratio, hr in zip(RATIOS, values, strict=True)
        for seed in (0, 1)
    ]


RECORDS, BLOCK = by_ratio(), block({"ratio": RATIOS})


def lines(axes: Axes) -> dict[str, np.ndarray]:
    """Each line's points, by defence."""
    found = {}
    for bars in axes.containers:
        x, y = bars.lines[0].get_data()
        found[str(bars.get_label())] = np.array([x, y])
    return found


def ends(axes: Axes) -> list[float]:
    """The lower ends of the error bars, line after line."""
    return [low for bars in axes.containers for (_, low), _ in bars.lines[2][0].get_segments()]


def labels(axes: Axes) -> list[str]:
    return [tick.get_text() for tick in axes.get_xticklabels()]


def test_a_line_is_the_loss_by_share_of_malicious_clients() -> None:
    """Of 0.201, the mean without attack: 0.182 is left, then 0.122, then 0.022."""
    first, second = draw(RECORDS, BLOCK, "best_val").axes
    assert [axes.get_title() for axes in (first, second)] == [
        "Fang\nMF, ml-1m", "LIE\nMF, ml-1m"
    ]  # fmt: skip
    found = lines(first)
    assert found["FedAvg"][1] == pytest.approx(
        [100 * (1 - hr / 0.201) for hr in (0.182, 0.122, 0.022)]
    )
    assert first.get_xscale() == "log" and labels(first) == ["0.1", "1", "10"]
    middle = np.sqrt(found["FedAvg"][0] * found["Krum"][0])  # points are moved aside
    assert middle == pytest.approx(RATIOS)


def test_intervals_are_those_of_losses() -> None:
    axes = draw(RECORDS, BLOCK, "best_val").axes[0]
    noises = Noises(RECORDS, Measure("hr@5", "best_val"))

    def arm(cell: Cell) -> list[Record]:
        return [r for r in RECORDS if r.cell.model_copy(update={"seed": 0}) == cell]

    found = [
        loss(arm(at_ratio(make_record("Fang", defense=name), ratio).cell), arm(PLAIN), noises)
        for name in HR
        for ratio in RATIOS
    ]
    assert ends(axes) == pytest.approx([one.percent - one.half for one in found])


PLAIN = make_record().cell


def believed(value: str, hr: float, defense: str = "Krum") -> Record:
    name = f"{defense}@believed={value}" if value else defense
    return at_ratio(make_record("Fang", 0, [hr], defense=name), 0.05)


def belief(records: list[Record]) -> Figure:
    grid = {"defense.believed": (0.5, 1.0, 2.0)}
    given = {"attacks": ("Fang",), "ratios": (0.05,), "unchanged": {"defense.believed": 1.0}}
    return draw(records, block(grid, **given), "best_val")


def test_an_unchanged_arm_has_its_place_and_no_defence_is_a_dotted_line() -> None:
    records = [make_record(), believed("0.5", 0.05), believed("2.0", 0.15), believed("", 0.1)]
    (axes,) = belief([*records, believed("", 0.02, "FedAvg")]).axes
    krum = lines(axes)["Krum"]
    assert krum[0] == pytest.approx([0.5, 1, 2], rel=0.02)
    assert krum[1] == pytest.approx([75, 50, 25])
    (dotted,) = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert dotted.get_ydata() == pytest.approx([90, 90]) and dotted.get_label() == "FedAvg"
    assert axes.get_title() == "Fang\nMF, ml-1m, 5 % malicious"
    assert axes.get_xlabel() == "defense.believed"


def test_the_axis_can_have_a_label_of_its_own() -> None:
    drawn = draw(RECORDS, block({"ratio": RATIOS}, axis="malicious"), "best_val").axes
    assert [axes.get_xlabel() for axes in drawn] == ["malicious", "malicious"]


def test_values_that_are_no_numbers_above_zero_are_evenly_spaced() -> None:
    records = [make_record(), believed("0.0", 0.1)]
    grid = {"defense.believed": (0.5, 0.0)}
    (axes,) = draw(records, block(grid, attacks=("Fang",), ratios=(0.05,)), "best_val").axes
    assert lines(axes)["Krum"][0] == pytest.approx([1]) and labels(axes) == ["0.5", "0.0"]


def test_a_figure_without_losses_is_empty() -> None:
    """Only the run that losses refer to, or all but that."""
    (axes,) = draw([make_record()], BLOCK, "best_val").axes
    assert not axes.lines
    for axes in draw(RECORDS[2:], BLOCK, "best_val").axes:
        assert all(np.isnan(y).all() for _, y in lines(axes).values())


def test_the_legend_names_each_defence_once() -> None:
    (legend,) = draw(RECORDS, BLOCK, "best_val").legends
    assert [text.get_text() for text in legend.get_texts()] == ["FedAvg", "Krum"]


STUDY = """
results: results/tiny
seeds: [0]
protocol: { rounds: 4, clients_per_round: 20, evaluate_every: 2, pool: 0.2 }
datasets: { synthetic: { synthetic: {} } }
models: { MF: { kind: mf, dim: 8 } }
attacks:
  NoAttack: { kind: no_attack }
  ClusterAttack: { kind: cluster_attack }
defenses:
  FedAvg: [{ kind: mean }]
  TrimmedMean: [{ kind: trimmed_mean }]
claims: null
tables: {}
figures:
  ratios: &swept
    title: Ratios
    kind: sweep
    datasets: [synthetic]
    models: [MF]
    attacks: [ClusterAttack]
    defenses: [FedAvg, TrimmedMean]
    grid: { ratio: [0.05, 0.1, 0.2] }
  belief:
    <<: *swept
    title: Belief
    ratios: [0.1]
    grid: { defense.believed: [0.5, 1.0, 2.0] }
    unchanged: { defense.believed: 1.0 }
"""


def test_the_sweeps_of_a_tiny_study_are_trained_on_the_same_users(tmp_path: Path) -> None:
    """Every arm evaluates the 48 of 60 users outside the pool, whatever its share of attackers."""
    (tmp_path / "tiny.yaml").write_text(STUDY)
    study, records = Study.load(tmp_path / "tiny.yaml"), dict[Cell, Record]()
    for name, values in {"ratios": 3, "belief": 3}.items():
        block = study.figures[name]
        assert isinstance(block, Sweep)
        cells = study.cells(block)
        for cell in cells:
            if cell not in records:
                records[cell] = run_cell(study.cell_config(cell), tiny_split(), "cpu")
        (axes,) = draw([records[cell] for cell in cells], block, "best_val").axes
        assert lines(axes)["TrimmedMean"].shape == (2, values)
    assert len(records) == 1 + 2 * 3 + 2
    hits = [record.hits["last"] for record in records.values() if record.hits]
    assert [hit.users for hit in hits] == [48] * len(records)
    pool = set(range(60)) - {*Population.draw(60, 0.2, 0.0, Streams(0)).evaluated.tolist()}
    assert not pool & {user for hit in hits for user in hit.user}
    attackers = {cell.ratio: record.malicious.users for cell, record in records.items()}
    assert attackers == {0.0: 0, 0.05: 3, 0.1: 6, 0.2: 12}
