"""Records made ahead: each seed's is its own, none is made twice, and none is lost."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedrec import __version__
from fedrec.errors import Interrupted
from fedrec.records import config_hash, read_record, write_record
from fedrec.training.in_turn import Steps
from fedrec.training.several_seeds import Job, make_with
from tests.builders import make_record

DATA = "1" * 64  # the checksum in `make_record`
VALUES = {"cell": {"seed": 0}, "rounds": 400}


class Trainer:
    """Writes records that say what they are of, and fails or is interrupted at one seed."""

    def __init__(self, error: Exception | None = None, at: int | None = None) -> None:
        self.error, self.at, self.made = error, at, list[int]()

    def __call__(self, job: Job, path: Path) -> Steps[None]:
        yield
        self.train(job, path)

    def train(self, job: Job, path: Path) -> None:
        seed = job.values["cell"]["seed"]
        if seed == self.at and self.error:
            raise self.error
        self.made.append(seed)
        record = make_record(seed=seed)
        made_by = record.provenance.model_copy(update={"fedrec": __version__})
        update = {"config_hash": config_hash(job.values), "provenance": made_by}
        write_record(record.model_copy(update=update), path)


def a_job(folder: Path, seed: int = 0, device: str = "cpu") -> Job:
    return Job(VALUES, DATA, folder / "seed0.json", device).with_seed(seed)


def make(job: Job, trainer: Trainer, seeds: range = range(5)) -> None:
    others = [job.with_seed(seed) for seed in seeds if seed != job.values["cell"]["seed"]]
    make_with(job, others, trainer, lambda: False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_others_wait_for_their_own_commands_which_then_train_nothing(tmp_path: Path) -> None:
    trainer = Trainer()
    make(a_job(tmp_path), trainer, range(3))
    assert trainer.made == [0, 1, 2]
    assert names(tmp_path) == ["seed0.json", "seed1.json.ahead", "seed2.json.ahead"]
    for seed in (1, 2):
        make(a_job(tmp_path, seed), trainer, range(3))
    assert trainer.made == [0, 1, 2]
    assert names(tmp_path) == ["seed0.json", "seed1.json", "seed2.json"]
    assert [read_record(tmp_path / name).cell.seed for name in names(tmp_path)] == [0, 1, 2]


def test_what_there_is_already_is_not_made_again(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.train(a_job(tmp_path, 1), tmp_path / "seed1.json")
    trainer.train(a_job(tmp_path, 2), tmp_path / "seed2.json.ahead")
    make(a_job(tmp_path), trainer, range(4))
    assert trainer.made == [1, 2, 0, 3]


def test_a_failure_ahead_concerns_its_own_command_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(MemoryError("too much"), at=2)
    make(a_job(tmp_path), trainer, range(4))
    assert names(tmp_path) == ["seed0.json", "seed1.json.ahead", "seed3.json.ahead"]
    assert "seed2.json was not made ahead: too much" in capsys.readouterr().err
    with pytest.raises(MemoryError):
        make(a_job(tmp_path, 2), trainer, range(4))


def test_an_interruption_loses_no_finished_record(tmp_path: Path) -> None:
    """Not even the command's own, whose output Snakemake would delete."""
    trainer = Trainer(Interrupted("asked to end"), at=2)
    with pytest.raises(Interrupted):
        make(a_job(tmp_path), trainer)
    assert names(tmp_path) == ["seed0.json.ahead", "seed1.json.ahead"]
    trainer.at = None
    make(a_job(tmp_path), trainer)
    make(a_job(tmp_path, 1), trainer)
    assert trainer.made == [0, 1]
    assert names(tmp_path) == ["seed0.json", "seed1.json"]


def test_a_record_of_something_else_is_not_taken(tmp_path: Path) -> None:
    trainer, job = Trainer(), a_job(tmp_path)
    of_other_settings = replace(job, values=VALUES | {"rounds": 1})
    for wanted in (of_other_settings, replace(job, dataset_checksum="0" * 64)):
        trainer.train(job, wanted.waiting)
        assert not wanted.is_done and not wanted.take()
        assert names(tmp_path) == []
    job.waiting.write_text("damaged")
    assert not job.is_done and not job.take()


def made_by_a_card(trainer: Trainer, job: Job, path: Path, name: str) -> None:
    trainer.train(job, path)
    record = read_record(path)
    made_by = record.provenance.model_copy(update={"device": name})
    write_record(record.model_copy(update={"provenance": made_by}), path)


@pytest.mark.parametrize(
    ("wanted", "made_on", "fits"),
    [
        ("cpu", "cpu", True),
        ("cpu", "A card", False),
        ("cuda", "A card", True),
        ("cuda", "Another card", False),
        ("cuda", "cpu", False),
        ("auto", "A card", True),
        ("auto", "cpu", False),
    ],
)
def test_a_record_of_another_device_is_not_taken(
    wanted: str, made_on: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    job = a_job(tmp_path, device=wanted)
    made_by_a_card(Trainer(), job, job.waiting, made_on)
    assert job.is_done == fits and job.take() == fits
    assert names(tmp_path) == (["seed0.json"] if fits else [])


def test_a_record_in_its_place_is_not_made_again_for_the_device(tmp_path: Path) -> None:
    trainer, job = Trainer(), a_job(tmp_path)
    made_by_a_card(trainer, job, job.record, "A card")
    assert job.is_done
    make(a_job(tmp_path, 1), trainer, range(2))
    assert trainer.made == [0, 1]


def test_another_seed_is_of_the_same_device(tmp_path: Path) -> None:
    assert a_job(tmp_path, device="cuda").with_seed(3).device == "cuda"


def test_what_another_process_is_making_is_left_to_it(tmp_path: Path) -> None:
    trainer = Trainer()
    with a_job(tmp_path, 1).claimed() as mine:
        assert mine
        make(a_job(tmp_path), trainer, range(3))
        assert trainer.made == [0, 2]
        with pytest.raises(Interrupted, match="while another process makes"):
            make_with(a_job(tmp_path, 1), [], trainer, lambda: True)
    make(a_job(tmp_path, 1), trainer, range(3))
    assert trainer.made == [0, 2, 1]
