"""Means, intervals and paired degradation, worked by hand."""

import numpy as np
import pytest
from scipy import stats

from fedrec.analysis.noise import Noise, fit
from fedrec.analysis.summary import mixtures, summarise
from fedrec.plan.cells import Cell
from fedrec.records import Hits
from tests.builders import make_record

BASE, ATTACKED = [0.10, 0.12, 0.14], [0.08, 0.09, 0.10]


@pytest.fixture
def summary():
    records = [make_record("NoAttack", seed, [0.0, hr]) for seed, hr in enumerate(BASE)]
    records += [make_record("ClusterAttack", seed, [hr]) for seed, hr in enumerate(ATTACKED)]
    frame = summarise(records, "best_val")
    return frame[frame.metric == "hr@5"].set_index("attack")


def noise() -> Noise:
    found = fit([dict(enumerate(BASE)), dict(enumerate(ATTACKED))])
    assert found is not None
    return found


def test_mean_and_interval(summary) -> None:
    row = summary.loc["NoAttack"]
    assert row["mean"] == pytest.approx(0.12) and row.seeds == 3
    error = (noise().run * 0.12 / 3) ** 0.5
    half = stats.t.ppf(0.975, noise().run_df) * error
    assert row.ci95 == pytest.approx(half)
    assert row.again == pytest.approx(half * (1 + 3 / 5) ** 0.5)
    assert row.noise.startswith("noise of ml-1m, MF from 2 arms, 2 degrees of freedom")


def test_degradation_is_paired_by_seed(summary) -> None:
    row = summary.loc["ClusterAttack"]
    error = 75 * (noise().residual * (1 / 0.09 + 1 / 0.12) / 3) ** 0.5
    assert row.degradation == pytest.approx(25)
    assert row.degradation_ci95 == pytest.approx(stats.t.ppf(0.975, 2) * error)
    assert row.p_value == pytest.approx(2 * stats.t.sf(25 / error, 2))


def test_the_unattacked_arm_degrades_from_nothing(summary) -> None:
    assert np.isnan(summary.loc["NoAttack"].degradation)


def test_only_shared_seeds_are_compared() -> None:
    records = [make_record("NoAttack", 0, [0.1]), make_record("NoAttack", 1, [0.5])]
    records += [make_record("ClusterAttack", 0, [0.05]), make_record("ClusterAttack", 7, [0.9])]
    frame = summarise(records, "best_val").set_index(["attack", "metric"])
    assert frame.loc[("ClusterAttack", "hr@5")].degradation == pytest.approx(50)


def test_losses_are_against_the_undefended_run_of_the_same_dataset() -> None:
    """As the paper's are: the dashed line of Figure 2."""
    records = [make_record("NoAttack", 0, [0.1], dataset="gowalla")]
    records += [make_record("NoAttack", 0, [0.1], defense="Krum"), make_record("ClusterAttack")]
    frame = summarise(records, "best_val").set_index("attack")
    assert frame.loc["ClusterAttack"].degradation.isna().all()
    records += [make_record("NoAttack", 0, [0.2])]
    frame = summarise(records, "best_val").set_index(["attack", "defense", "metric"])
    assert frame.loc[("NoAttack", "Krum", "hr@5")].degradation == pytest.approx(50)


def test_wanted_arms_without_records_are_empty_rows() -> None:
    cells = [cell(attack, seed) for attack in ("NoAttack", "Fang") for seed in (0, 1)]
    frame = summarise([make_record("Fang", 1, [0.1])], "best_val", cells).set_index("attack")
    hr = frame[frame.metric == "hr@5"]
    assert hr.missing.to_dict() == {"NoAttack": 2, "Fang": 1}
    assert np.isnan(hr.loc["NoAttack", "mean"]) and hr.loc["Fang", "mean"] == 0.1


def cell(attack: str, seed: int) -> Cell:
    return make_record(attack, seed).cell


def test_rows_name_their_records_and_the_code_that_made_them(summary) -> None:
    row = summary.loc["ClusterAttack"]
    name = "ml-1m/MF/ClusterAttack/FedAvg/m0.01"
    assert row.records == " ".join(f"{name}/seed{seed}.json" for seed in range(3))
    assert row.versions == "0"


def test_other_users_bound_a_loss_and_p_is_corrected_for_the_rows_of_a_metric() -> None:
    def hit(record, *users):
        who = Hits(users=100, user=list(users), position=[1.0] * len(users))
        return record.model_copy(update={"hits": {"best_val": who, "last": who}})

    records = [
        hit(make_record("NoAttack", seed, [0.3 + seed / 100]), *range(30)) for seed in (0, 1)
    ]
    for name in ("Fang", "LIE"):
        records += [hit(make_record(name, seed, [0.1]), *range(10)) for seed in (0, 1)]
    frame = summarise(records, "best_val")
    row = frame[(frame.metric == "hr@5") & (frame.attack == "Fang")].iloc[0]
    # A third is left. Beyond it, ten users who are still hit lose 1/3 - 1, and the others 1/3.
    beyond = [1 / 3 - 1] * 10 + [1 / 3] * 20
    half = 1.96 * 100 * sum(b**2 for b in beyond) ** 0.5 / 30
    assert (row.users_low, row.users_high) == pytest.approx(
        (row.degradation - half, row.degradation + half), rel=1e-4
    )
    assert row.p_holm == pytest.approx(2 * row.p_value)


def test_other_settings_under_one_name_are_told() -> None:
    same = [make_record("Fang", seed) for seed in (0, 1)]
    assert mixtures(same) == []
    other = same[1].model_copy(update={"config": {"attack": {"kind": "fang", "low": 9}}})
    assert mixtures([same[0], other]) == ["attack of Fang, ml-1m, MF (2 settings)"]


def test_a_variant_may_have_another_protocol() -> None:
    plain, varied = make_record(), make_record(defense="FedAvg@rounds=50")
    varied = varied.model_copy(update={"config": {"protocol": {"rounds": 50}}})
    assert mixtures([plain, varied]) == []
    again = plain.model_copy(update={"config": {"protocol": {"rounds": 50}}})
    assert mixtures([plain, again]) == ["protocol of the study (2 settings)"]


def test_the_reported_round_is_the_configs() -> None:
    records = [make_record("NoAttack", 0, hr=[0.3, 0.2], validation=[0.9, 0.1])]
    best, last = (summarise(records, report)["mean"].iloc[0] for report in ("best_val", "last"))
    assert (best, last) == (0.3, 0.2)


def test_a_summary_names_devices_where_a_gpu_is_among_them(summary) -> None:
    assert "devices" not in summary
    records = [make_record("Fang", 0), make_record("Fang", 1, device="A card")]
    frame = summarise([*records, make_record(device="A card")], "best_val", [cell("LIE", 0)])
    found = frame[frame.metric == "hr@5"].set_index("attack").devices
    assert found.to_dict() == {"LIE": "", "Fang": "A card; cpu", "NoAttack": "A card"}
