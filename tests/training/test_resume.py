"""A run that was interrupted makes the record of an undisturbed one, to the bit."""

import dataclasses
import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedrec import __version__
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.config.cell_config import CellConfig
from fedrec.config.protocol import TrainingProtocol
from fedrec.defenses.base import Defense
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.mean import Mean
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.union import Union
from fedrec.errors import Interrupted
from fedrec.federation import Population, sample_clients
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec
from fedrec.plan.cells import Cell
from fedrec.records import Hits, Malicious
from fedrec.rng import Streams
from fedrec.training import resume as keeping
from fedrec.training.checkpoint import CheckpointError, load
from fedrec.training.interruption import Interruption
from fedrec.training.resume import Keeper
from fedrec.training.run import run_cell
from fedrec.training.simulation import Evaluation, Simulation
from tests.builders import tiny_split

SPLIT = tiny_split()
MODEL = MF(dim=8)


def a_cell(*parts: Any, model: Any = MODEL, **protocol: Any) -> CellConfig:
    """Twelve rounds; the attack changes K every other attacked round."""
    given = {"rounds": 12, "clients_per_round": 20, "evaluate_every": 5, "pool": 0.2} | protocol
    return CellConfig(
        cell=Cell(dataset="synthetic", model="m", attack="a", defense="d", ratio=0.1, seed=0),
        protocol=TrainingProtocol(**given),
        model=model,
        attack=ClusterAttack(threshold=1),
        defense=Defense.compose([*parts, Mean()], in_turn=True),
        values={"protocol": given},
    )


CELLS = {
    "union": a_cell(Union(sample=20), NormBound()),
    "fl-wbc": a_cell(FLWBC(scale=0.01)),
    "lazy": a_cell(user_optimizer="lazy", negatives="resampled"),
    "sas-rec": a_cell(model=SASRec(dim=8, heads=1, blocks=1)),
    "remembering": dataclasses.replace(
        a_cell(), defense=Defense.compose([CentredClipping(radius=1e-3)])
    ),
    "observed": a_cell(Union(sample=20), FLWBC(scale=0.01), observe=7, window=3),
}


class After:
    """Asks a run to end after some number of rounds."""

    def __init__(self, rounds: int) -> None:
        self._left = rounds

    def __call__(self) -> bool:
        self._left -= 1
        return self._left < 0


def never() -> bool:
    return False


def in_pieces(
    config: CellConfig, record: Path, rounds: int, device: str = "cpu"
) -> tuple[Any, int]:
    """The record of a run that is interrupted again and again, and how often it was."""
    interruptions = 0
    while True:
        keeper = Keeper(record, After(rounds), every=1e9)
        try:
            return run_cell(config, SPLIT, device, [keeper]), interruptions
        except Interrupted:
            interruptions += 1


@pytest.mark.parametrize("name", CELLS)
def test_the_record_is_that_of_an_undisturbed_run(name: str, tmp_path: Path) -> None:
    whole = run_cell(CELLS[name], SPLIT, "cpu").science()
    pieces, interruptions = in_pieces(CELLS[name], tmp_path / "r.json", rounds=1)
    assert interruptions >= 3
    assert pieces.science() == whole
    assert whole["trajectory"]["round"] == [5, 10, 12]


def test_malicious_uploads_are_counted_over_interruptions(tmp_path: Path) -> None:
    """As the cohorts have them, which depend on seed and round alone."""
    record, interruptions = in_pieces(CELLS["union"], tmp_path / "r.json", rounds=4)
    population = Population.draw(SPLIT.n_users, pool=0.2, ratio=0.1, streams=Streams(0))
    cohorts = [sample_clients(SPLIT.n_users, 20, Streams(0).at(n)) for n in range(1, 13)]
    uploads = [int(np.isin(cohort, population.malicious).sum()) for cohort in cohorts]
    rounds = sum(count > 0 for count in uploads)
    assert record.malicious == Malicious(users=6, uploads=sum(uploads), rounds=rounds)
    assert interruptions and sum(uploads) > rounds > 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_so_it_is_on_a_gpu(tmp_path: Path) -> None:
    whole = run_cell(CELLS["union"], SPLIT, "cuda").science()
    pieces, _ = in_pieces(CELLS["union"], tmp_path / "r.json", rounds=1, device="cuda")
    assert pieces.science() == whole


def test_the_attacks_state_is_brought_back(tmp_path: Path) -> None:
    """Without it K would start anew: the attack of this test has changed it by then."""
    record, _ = in_pieces(CELLS["union"], tmp_path / "r.json", rounds=5)
    assert record.trajectory.attack["clusters"][-1] != 2


def test_the_memory_of_a_defence_is_brought_back() -> None:
    run, later, forgetful = (Simulation(CELLS["remembering"], SPLIT, "cpu") for _ in range(3))
    for _ in range(3):
        run.play()
    snapshot = run.snapshot()
    memory = {n: a for n, a in snapshot.arrays.items() if n.startswith("defense/")}
    assert set(memory) == {"defense/0/items", "defense/0/dense"}
    later.restore(snapshot)
    nothing = {n: np.zeros_like(array) for n, array in memory.items()}
    forgetful.restore(dataclasses.replace(snapshot, arrays={**snapshot.arrays, **nothing}))
    for simulation in (run, later, forgetful):
        simulation.play()
    assert torch.equal(later.items, run.items)
    assert not torch.equal(forgetful.items, run.items)


def test_time_is_added_up_over_interruptions(tmp_path: Path) -> None:
    run = Simulation(CELLS["lazy"], SPLIT, "cpu")
    later = Simulation(CELLS["lazy"], SPLIT, "cpu")
    snapshot = run.snapshot()
    later.restore(dataclasses.replace(snapshot, values={**snapshot.values, "seconds": 1000.0}))
    assert later.seconds > 1000


def test_evaluations_survive_json_whatever_an_attack_reports() -> None:
    run, later = (Simulation(CELLS["lazy"], SPLIT, "cpu") for _ in range(2))
    trace = {"clusters": 2, "attack_loss": float("inf")}
    metrics, hits = {"mrr": 0.3}, Hits(users=9, user=[4], position=[1.5])
    run.evaluations = [Evaluation(1, metrics, metrics, hits, 0.7, trace, {"recall": None})]
    snapshot = run.snapshot()
    values = json.loads(json.dumps(snapshot.values))
    later.restore(dataclasses.replace(snapshot, values=values))
    assert later.evaluations == run.evaluations
    assert type(later.evaluations[0].attack["clusters"]) is int


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def test_a_run_is_saved_every_so_often_and_forgotten_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(keeping, "time", Clock())
    monkeypatch.setattr(
        keeping, "save", lambda path, snapshot, _: saved.append(snapshot.values["round"])
    )
    keeper = Keeper(tmp_path / "r.json", never, every=4.0)
    run_cell(CELLS["lazy"], SPLIT, "cpu", [keeper])
    assert len(saved) > 1 and np.ptp(np.diff(saved)) == 0 and saved[-1] < 12
    left = [tmp_path / "r.json.checkpoint", tmp_path / "r.json.checkpoint.17.tmp"]
    other = tmp_path / "r.json"
    for path in (*left, other):
        path.touch()
    keeper.forget()
    assert list(tmp_path.iterdir()) == [other]


def test_a_run_that_cannot_be_saved_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "r.json.checkpoint")

    monkeypatch.setattr(keeping, "save", full)
    run_cell(CELLS["lazy"], SPLIT, "cpu", [Keeper(tmp_path / "r.json", never, every=0.0)])
    assert "no checkpoint of round 1, the run continues: [Errno 28] No space" in (
        capsys.readouterr().err
    )


def interrupted(tmp_path: Path, config: CellConfig = CELLS["lazy"]) -> Path:
    """The checkpoint of a run that ended after three rounds."""
    keeper = Keeper(tmp_path / "r.json", After(2), every=1e9)
    with pytest.raises(Interrupted, match="interrupted after round 3"):
        run_cell(config, SPLIT, "cpu", [keeper])
    return tmp_path / "r.json.checkpoint"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flipped, "damaged"),
        (lambda content: content[:-1], "damaged"),
        (lambda content: b"", "damaged"),
        (lambda content: b"something else\n", "damaged"),
        (lambda content: content.replace(b"checkpoint 2 ", b"checkpoint 1 "), "another format"),
    ],
    ids=["flipped", "cut", "empty", "other", "older"],
)
def test_a_checkpoint_not_to_be_trusted_is_set_aside(
    change: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = interrupted(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    wrong = path.read_bytes()
    for attempt in (1, 2):
        path.write_bytes(wrong)
        keeper = Keeper(tmp_path / "r.json", never, every=1e9)
        again = run_cell(CELLS["lazy"], SPLIT, "cpu", [keeper])
        aside = tmp_path / f"r.json.checkpoint.corrupt-{attempt}"
        message = capsys.readouterr().err
        assert f"{path} is not used" in message and reason in message and aside.name in message
        assert aside.read_bytes() == wrong and not path.exists()
    assert again.science() == run_cell(CELLS["lazy"], SPLIT, "cpu").science()


def test_the_checkpoint_of_another_cell_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(tmp_path, CELLS["union"])
    keeper = Keeper(tmp_path / "r.json", never, every=1e9)
    record = run_cell(CELLS["lazy"], SPLIT, "cpu", [keeper])
    assert "its config is" in capsys.readouterr().err
    assert record.science() == run_cell(CELLS["lazy"], SPLIT, "cpu").science()


def test_a_run_does_not_go_on_on_another_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path)
    monkeypatch.setattr("fedrec.training.provenance.device_name", lambda device: "A card")
    run_cell(CELLS["lazy"], SPLIT, "cpu", [Keeper(tmp_path / "r.json", never, every=1e9)])
    assert "its device is cpu, and this run's is A card" in capsys.readouterr().err


def test_a_run_goes_on_where_a_cluster_starts_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a node with another processor and another kernel; not with another PyTorch."""
    interrupted(tmp_path)
    monkeypatch.setattr("fedrec.training.provenance.processor", lambda: "Another")
    monkeypatch.setattr("fedrec.training.provenance.system", lambda: "Linux 9.9")
    keeper = Keeper(tmp_path / "r.json", never, every=1e9)
    record = run_cell(CELLS["lazy"], SPLIT, "cpu", [keeper])
    assert "resuming after round 3" in capsys.readouterr().err
    assert (record.provenance.processor, record.provenance.system) == ("Another", "Linux 9.9")
    assert record.science() == run_cell(CELLS["lazy"], SPLIT, "cpu").science()


def test_a_checkpoint_says_what_it_is_of(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"its fedrec is {re.escape(__version__)}, and this run's is 9"
    ):
        load(path, {"fedrec": "9"})
    with pytest.raises(CheckpointError, match="its weather is None"):
        load(path, {"weather": "fine"})


def test_a_checkpoint_holds_no_code(tmp_path: Path) -> None:
    """An archive with a pickle in it is refused, though its sum holds."""
    from io import BytesIO

    from fedrec.training.checkpoint import _first_line

    archive = BytesIO()
    np.savez(archive, notes=np.array([{"a": 1}], dtype=object))
    path = tmp_path / "x.checkpoint"
    path.write_bytes(_first_line(archive.getvalue()) + b"\n" + archive.getvalue())
    with pytest.raises(CheckpointError, match="its contents cannot be read"):
        load(path, {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_the_second_is_not(number: signal.Signals) -> None:
    def strike(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, strike)
    try:
        with Interruption() as interruption:
            signal.raise_signal(number)
            assert interruption.requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is strike
    finally:
        signal.signal(number, before)


def exploding(learning_rate: float = 1e30) -> CellConfig:
    """Steps so long that scores overflow in the second round."""
    return a_cell(model=MF(dim=8, learning_rate=learning_rate))


def test_a_run_that_diverges_is_recorded_as_such() -> None:
    record = run_cell(exploding(), SPLIT, "cpu")
    assert record.diverged_at == 2
    assert record.trajectory.round == [2]
    assert record.reported("hr@5", "best_val") == 0
    assert np.isfinite(record.trajectory.loss).all()
    assert run_cell(CELLS["lazy"], SPLIT, "cpu").diverged_at is None


def test_what_was_measured_before_a_divergence_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Best-validation reports what a server would have kept; the last evaluation is of a ruin."""
    run = Simulation(CELLS["lazy"], SPLIT, "cpu")
    for _ in range(6):
        run.play()
    run._fed.devices.local[:] = torch.nan
    last = run.play()
    assert run.over and run.diverged_at == 7
    assert [e.round for e in run.evaluations] == [5, 7]
    assert (
        last and set(last.test.values()) == {0.0} and set(last.test) == set(run.evaluations[0].test)
    )
    assert np.isfinite(last.loss)
