"""Means, intervals and paired degradation, worked by hand."""

import numpy as np
import pytest

from fedrec.analysis.summary import half_width, summarise
from tests.builders import make_record, mean_and_half_width

T2 = 4.302653  # Student's t, 97.5 %, 2 degrees of freedom
BASE, ATTACKED = [0.10, 0.12, 0.14], [0.08, 0.09, 0.10]


@pytest.fixture
def summary():
    records = [make_record("NoAttack", seed, [0.0, hr]) for seed, hr in enumerate(BASE)]
    records += [make_record("ClusterAttack", seed, [hr]) for seed, hr in enumerate(ATTACKED)]
    frame = summarise(records, "best_val")
    return frame[frame.metric == "hr@5"].set_index("attack")


def test_mean_and_interval(summary) -> None:
    row = summary.loc["NoAttack"]
    mean, half = mean_and_half_width(BASE, T2)
    assert row["mean"] == pytest.approx(mean) == pytest.approx(0.12)
    assert row.ci95 == pytest.approx(half, rel=1e-5)
    assert row.seeds == 3


def test_degradation_is_paired_by_seed(summary) -> None:
    row = summary.loc["ClusterAttack"]
    # 0.09 of 0.36 are lost. Seed by seed 0.02, 0.03, 0.04, where a quarter of the base would be
    # 0.025, 0.03, 0.035: -0.005, 0 and 0.005 beyond it, in per cent of the mean base of 0.12.
    _, half = mean_and_half_width([-100 / 24, 0, 100 / 24], T2)
    assert row.degradation == pytest.approx(25)
    assert row.degradation_ci95 == pytest.approx(half, rel=1e-5)
    # t = 0.03 / (0.01 / √3) = 5.196 with 2 degrees of freedom
    assert row.p_value == pytest.approx(0.0351, abs=1e-4)


def test_the_unattacked_arm_degrades_from_nothing(summary) -> None:
    assert np.isnan(summary.loc["NoAttack"].degradation)


def test_only_shared_seeds_are_compared() -> None:
    records = [make_record("NoAttack", 0, [0.1]), make_record("NoAttack", 1, [0.5])]
    records += [make_record("ClusterAttack", 0, [0.05]), make_record("ClusterAttack", 7, [0.9])]
    frame = summarise(records, "best_val").set_index(["attack", "metric"])
    assert frame.loc[("ClusterAttack", "hr@5")].degradation == pytest.approx(50)


def test_other_datasets_and_defenses_are_other_baselines() -> None:
    records = [make_record("NoAttack", 0, [0.1], dataset="gowalla")]
    records += [make_record("NoAttack", 0, [0.1], defense="Krum"), make_record("ClusterAttack")]
    frame = summarise(records, "best_val").set_index("attack")
    assert frame.loc["ClusterAttack"].degradation.isna().all()


def test_the_reported_round_is_the_configs() -> None:
    records = [make_record("NoAttack", 0, hr=[0.3, 0.2], validation=[0.9, 0.1])]
    best, last = (summarise(records, report)["mean"].iloc[0] for report in ("best_val", "last"))
    assert (best, last) == (0.3, 0.2)


def test_a_single_seed_has_no_interval() -> None:
    assert np.isnan(half_width(np.array([0.1])))
