"""The script for a lent GPU, tried without one: on the pretend device."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from fedrec.bench.pretend import pretending
from fedrec.data.interactions import Counts
from tools.gpu_check import (
    apart,
    arguments,
    compared,
    compared_cells,
    page,
    reference,
    roofline,
    small_cell,
    trained,
)

TINY = Counts(users=60, items=40, interactions=1200)


def a_run(**changed: Any) -> dict[str, Any]:
    run = {"loss": [0.7, 0.6], "hr@5": [0.1, 0.2], "items": 3.0, "seconds": 1.0, "said": []}
    return run | changed


def test_a_cell_is_trained_there_as_on_the_cpu() -> None:
    config = small_cell("MF", "ClusterAttack", "NormBound+UNION", rounds=4)
    expected = trained(config, TINY, "cpu")
    with pretending():
        found = trained(config, TINY, "cuda")
    told = compared(expected, found, found)
    assert told["same_twice"] and told["hr_as_cpu"] and told["loss_from_cpu"] < 1e-5


def test_runs_are_compared() -> None:
    told = compared(a_run(), a_run(loss=[0.7, 0.63]), a_run())
    assert told["loss_from_cpu"] == pytest.approx(0.05) and told["hr_as_cpu"]
    assert not told["same_twice"]
    assert compared(a_run(), {"error": "no card"}, a_run()) == {"error": "no card"}


def test_a_run_that_diverged_at_once_has_no_loss_to_divide_by() -> None:
    over = a_run(loss=[0.0])
    assert compared(over, over, over)["loss_from_cpu"] == 0


def test_a_run_that_diverged_to_nan_can_be_repeated() -> None:
    over, sound = a_run(loss=[nan], items=nan), a_run(loss=[0.7])
    told = compared(over, over, over)
    assert told["same_twice"] and told["loss_from_cpu"] == 0
    told = compared(sound, over, over)
    assert told["same_twice"] and told["loss_from_cpu"] == inf


def test_every_attack_meets_every_defence() -> None:
    paper, few = (compared_cells(["MF", "SASRec"], few) for few in (False, True))
    assert len(set(paper)) == len(paper) == 2 * 8 * 9 + 28
    assert set(few) < set(paper) and len(few) == 2 * 16 + 28
    assert ("SASRec", "Fang", "Krum") in paper


def test_a_report_of_the_cpu_is_the_reference_of_another(tmp_path: Path) -> None:
    given = ["--device", "cpu", "--models", "--processes", "1"]
    part = apart("on_the_cpu", given, 60)
    part["found"]["a cell"] = a_run()
    (tmp_path / "report.json").write_text(json.dumps({"parts": {"on_the_cpu": part}}))
    assert reference(tmp_path / "report.json") == {"a cell": a_run()}


def test_parts_of_a_round_are_set_against_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.gpu_check.CELLS", ["--size", "ml-1m"])
    found = roofline(arguments().parse_args(["--device", "cpu", "--timed-rounds", "2"]))
    (measured,) = found["measured"]["results"]
    assert measured["work"] and measured["parts"] and "x limit" in " ".join(found["said"])


def test_the_page_names_machine_and_parts() -> None:
    report = {"machine": {"device": "A card", "git": None}, "parts": {"kernels": {"passed": True}}}
    text = "\n".join(page(report))
    assert "device: A card" in text and "git" not in text and "## kernels" in text
