"""The map says what the records say: losses by hand, their order, what is sure, what is missing."""

import numpy as np
from matplotlib.axes import Axes

from fedrec.analysis.figures.loss_map import draw
from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import loss
from fedrec.plan.blocks import LossMap
from fedrec.records import Record
from tests.builders import make_record

ATTACKS, DEFENSES = ("NoAttack", "Fang", "ClusterAttack"), ("FedAvg", "Krum", "UNION")
MEANS = {
    ("NoAttack", "FedAvg"): 0.5, ("Fang", "FedAvg"): 0.45, ("ClusterAttack", "FedAvg"): 0.2,
    ("NoAttack", "Krum"): 0.4, ("Fang", "Krum"): 0.4,
    ("NoAttack", "UNION"): 0.5, ("Fang", "UNION"): 0.52, ("ClusterAttack", "UNION"): 0.46,
}  # fmt: skip
AROUND = (-0.01, 0.0, 0.01)  # of three seeds
RECORDS = [
    make_record(attack, seed, [mean + AROUND[seed]], None, None, "ml-1m", defense)
    for (attack, defense), mean in MEANS.items()
    for seed in range(3)
]
BLOCK = LossMap(
    title="Map.", kind="loss_map", datasets=("ml-1m",), models=("MF",), attacks=ATTACKS,
    defenses=DEFENSES,
)  # fmt: skip


def drawn(records: list[Record] = RECORDS) -> Axes:
    axes: Axes = draw(records, BLOCK, "best_val").axes[0]
    return axes


def shown(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_losses_are_against_no_attack_and_no_defence_the_best_worst_case_first() -> None:
    axes = drawn()
    rows = [label.get_text() for label in axes.get_yticklabels()]
    # Worst cases: UNION 8 %, no defence 60 %; Krum lacks an attack.
    assert rows == ["UNION", "No defense", "Krum"]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(ATTACKS)
    assert shown(axes) == ["0", "-4", "8", "0", "10", "60", "20", "20", "–"]


def test_a_loss_is_bold_if_its_interval_excludes_zero() -> None:
    noises = Noises(RECORDS, Measure(report="best_val"))
    arms: dict[tuple[str, str], list[Record]] = {arm: [] for arm in MEANS}
    for record in RECORDS:
        arms[(record.cell.attack, record.cell.defense)].append(record)
    found = {arm: loss(runs, arms["NoAttack", "FedAvg"], noises) for arm, runs in arms.items()}
    order = [(a, d) for d in ("UNION", "FedAvg", "Krum") for a in ATTACKS]
    sure = [arm in found and abs(found[arm].percent) > found[arm].half for arm in order]
    assert [text.get_weight() == "bold" for text in drawn().texts] == sure
    assert True in sure and False in sure


def test_without_the_run_to_compare_with_all_is_missing() -> None:
    plain = ("NoAttack", "FedAvg")
    axes = drawn([r for r in RECORDS if (r.cell.attack, r.cell.defense) != plain])
    assert set(shown(axes)) == {"–"}


def test_single_runs_have_losses_but_none_is_sure() -> None:
    axes = drawn([record for record in RECORDS if record.cell.seed == 1])
    assert shown(axes)[2] == "8" and np.all([t.get_weight() == "normal" for t in axes.texts])
