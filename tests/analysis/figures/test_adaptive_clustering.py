"""Performance against the initial K, adapted and held."""

import numpy as np

from fedrec.analysis.figures.adaptive_clustering import draw
from fedrec.plan.blocks import AdaptiveClustering
from fedrec.records import Record
from tests.builders import make_record

BLOCK = AdaptiveClustering(
    title="T",
    kind="adaptive_clustering",
    datasets=("ml-1m",),
    models=("MF",),
    attacks=("ClusterAttack",),
)


def clustered(clusters: int, adaptive: bool, seed: int, hr: float) -> Record:
    record = make_record(f"ClusterAttack@clusters={clusters},adaptive={adaptive}", seed, [hr])
    attack = {"kind": "cluster_attack", "clusters": clusters, "adaptive": adaptive}
    return record.model_copy(update={"config": {"attack": attack}})


RECORDS = [
    clustered(k, adaptive, seed, hr + seed / 100)
    for k, adaptive, hr in [(16, True, 0.3), (1, True, 0.1), (16, False, 0.4), (1, False, 0.2)]
    for seed in range(2)
]


def test_each_kind_is_a_line_over_k_in_order() -> None:
    (axes,) = draw(RECORDS, BLOCK, "last").axes
    adaptive, fixed = (container.lines[0] for container in axes.containers)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "16"]
    assert np.allclose(adaptive.get_ydata(), [0.105, 0.305])
    assert np.allclose(fixed.get_ydata(), [0.205, 0.405])


def test_the_dashed_line_is_no_attack() -> None:
    plain = make_record("NoAttack", 0, [0.5]).model_copy(update={"config": {"attack": {}}})
    (axes,) = draw([*RECORDS, plain], BLOCK, "last").axes
    (line,) = [line for line in axes.get_lines() if line.get_label() == "no attack"]
    assert np.allclose(line.get_ydata(), 0.5)
    assert axes.get_ylim()[1] > 0.5  # within the panel
