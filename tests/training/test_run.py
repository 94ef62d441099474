"""Where a run takes place, and who follows it."""

import os
from dataclasses import dataclass, field

import pytest
import torch

from fedrec.training.checkpoint import Identity
from fedrec.training.listener import Listener
from fedrec.training.run import choose_device, run_cell
from fedrec.training.simulation import Evaluation, Simulation
from tests.training.test_resume import CELLS, SPLIT


def test_jobs_take_turns_at_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for process in (10, 11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert chosen == [0, 0, 1, 1, 0, 0]
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(("given", "expected"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_cublas_is_set_up_before_cuda_starts_unless_somebody_did(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked() -> bool:
        found.append(os.environ["CUBLAS_WORKSPACE_CONFIG"])
        return False

    found: list[str] = []
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given or "")
    if given is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.cuda, "is_available", looked)
    choose_device("auto")
    assert found == [expected]


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(RuntimeError, match="PyTorch sees no GPU"):
        choose_device("cuda")


@dataclass
class Told(Listener):
    """Notes what it is told, stops after some evaluations, or fails as it is told of a round."""

    stop_after: int = 100
    fail_in: int = -1
    log: list[tuple[str, int]] = field(default_factory=list)

    def begins(self, run: Simulation, identity: Identity) -> None:
        self.log.append(("begins", run.round))

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        if run.round == self.fail_in:
            raise OSError("no room")
        if evaluation:
            self.log.append(("evaluated", run.round))
        if len(run.evaluations) == self.stop_after:
            run.stop()

    def ends(self, run: Simulation) -> None:
        self.log.append(("ends", run.round))


def test_a_listener_is_told_of_all_and_changes_nothing() -> None:
    told = Told()
    record = run_cell(CELLS["lazy"], SPLIT, "cpu", [told])
    evaluated = [("evaluated", number) for number in record.trajectory.round]
    assert told.log == [("begins", 0), *evaluated, ("ends", 12)]
    assert record.science() == run_cell(CELLS["lazy"], SPLIT, "cpu").science()


def test_a_listener_can_stop_a_run_early() -> None:
    record = run_cell(CELLS["lazy"], SPLIT, "cpu", [Told(stop_after=2)])
    whole = run_cell(CELLS["lazy"], SPLIT, "cpu").trajectory
    assert record.trajectory.round == whole.round[:2] == [5, 10]
    assert record.trajectory.test["hr@5"] == whole.test["hr@5"][:2]


def test_listeners_are_told_of_the_end_where_one_of_them_fails() -> None:
    told = Told()
    with pytest.raises(OSError, match="no room"):
        run_cell(CELLS["lazy"], SPLIT, "cpu", [told, Told(fail_in=3)])
    assert told.log == [("begins", 0), ("ends", 3)]
