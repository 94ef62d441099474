"""Runs that are played for their uploads: the run itself is unchanged, and labels are right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.bench.pretend import pretending
from fedrec.cli.main import main
from fedrec.cli.traces import rounds_of
from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.errors import ConfigError, Diverged
from fedrec.federation import Population, sample_clients
from fedrec.metrics.traces import Tracer, UploadTrace, read_trace
from fedrec.models.mf import MF
from fedrec.plan.cells import Cell
from fedrec.rng import Streams
from fedrec.training import tracing
from fedrec.training.provenance import provenance
from fedrec.training.simulation import Simulation
from fedrec.training.tracing import traced
from tests.builders import tiny_split
from tests.digests import digests

SPLIT = tiny_split()
STUDY = Study.load("config/miniature.yaml")


def a_cell(model: str = "MF", defense: str = "MultiKrum+UNION", rounds: int = 4) -> CellConfig:
    names = {"model": model, "attack": "ClusterAttack", "defense": defense}
    cell = Cell(dataset="synthetic", **names, ratio=0.1, seed=0)
    config = STUDY.cell_config(cell)
    few = {"rounds": rounds, "clients_per_round": 20, "evaluate_every": 2, "pool": 0.2}
    return replace(config, protocol=replace(config.protocol, **few))


@pytest.fixture(scope="module")
def trace() -> UploadTrace:
    return traced(a_cell(), SPLIT, "cpu", [2, 3, 4])


def test_users_and_labels_are_those_of_the_run(trace: UploadTrace) -> None:
    streams = Streams(0)
    drawn = [sample_clients(60, 20, streams.at(number)) for number in (2, 3, 4)]
    assert np.array_equal(trace.user, np.concatenate(drawn))
    malicious = Population.draw(60, 0.2, 0.1, streams).malicious.numpy()
    assert np.array_equal(trace.malicious, np.isin(trace.user, malicious))
    assert trace.malicious.any() and not trace.malicious.all()
    assert np.array_equal(trace.weight, np.diff(SPLIT.offsets)[trace.user])


def test_forged_uploads_have_every_row_and_others_those_of_their_pairs(trace: UploadTrace) -> None:
    rows = np.diff(trace.offsets)
    assert (rows[trace.malicious] == SPLIT.n_items).all()
    assert (rows[~trace.malicious & (trace.ridge > 0)] < SPLIT.n_items).any()


def test_verdicts_and_scores_are_the_defences(trace: UploadTrace) -> None:
    assert trace.about["scores"] == ["uniformity"] and np.isfinite(trace.scores).all()
    assert 0 < (~trace.kept).sum() < len(trace)
    assert trace.about["config"]["cell"]["attack"] == "ClusterAttack"


def test_watching_changes_nothing() -> None:
    plain, watched = (Simulation(a_cell(), SPLIT, "cpu") for _ in range(2))
    watched.watchers.append(Tracer([2, 3], 10**9))
    for run in (plain, watched):
        while not run.over:
            run.play()
    assert digests(watched) == digests(plain)


@pytest.mark.parametrize("model", ["MF", "SASRec"])
def test_whole_uploads_of_a_gpu_are_those_of_the_cpu(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "provenance", lambda device: provenance("cpu"))
    here = traced(a_cell(model), SPLIT, "cpu", [1, 2])
    with pretending():
        there = traced(a_cell(model), SPLIT, "cuda", [1, 2])
    assert np.array_equal(there.user, here.user)
    assert np.array_equal(there.malicious, here.malicious)
    for mine, theirs in ((there.dense, here.dense), (there.tables, here.tables)):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    for upload in range(len(here)):
        assert there.gradient(upload) == pytest.approx(here.gradient(upload), rel=1e-3, abs=1e-5)


def test_rounds_beyond_the_cell_and_divergence_are_errors() -> None:
    for rounds in ([5], [0, 1], []):
        with pytest.raises(ConfigError, match="choose rounds from 1 to 4"):
            traced(a_cell(), SPLIT, "cpu", rounds)
    with pytest.raises(ConfigError, match="0 of its 4 rounds fit"):
        traced(a_cell(), SPLIT, "cpu", range(1, 5), at_most=0.001)
    wild = replace(a_cell(defense="FedAvg"), model=MF(dim=8, learning_rate=1e30))
    with pytest.raises(Diverged, match="round 2 diverged: choose rounds before it"):
        traced(wild, SPLIT, "cpu", [1, 3])


def test_rounds_are_named_one_by_one_or_as_ranges() -> None:
    assert rounds_of("1,2, 10-12") == [1, 2, 10, 11, 12]
    for text in ("", "1-", "two", "1,,2"):
        with pytest.raises(ConfigError, match="1,2,10-20"):
            rounds_of(text)


CONFIG = """
results: results/tiny
protocol: { rounds: 4, clients_per_round: 20, evaluate_every: 2, pool: 0.2 }
datasets:
  synthetic: { synthetic: { users: 60, items: 50, mean_length: 10 } }
models: { MF: { kind: mf, dim: 4 } }
attacks: { LIE: { kind: lie } }
defenses: { FedAvg: [{ kind: mean }] }
"""


def test_the_command_writes_a_trace_and_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG)
    split = Path("results/tiny/data/synthetic/split.npz")
    split.parent.mkdir(parents=True)
    SPLIT.save(split)
    command = ["traces", "synthetic/MF/LIE/FedAvg/m0.1", "--rounds", "1,3-4", "--output", "a/t.npz"]
    command += ["--config", "tiny.yaml", "--device", "cpu"]
    assert main([*command, "--at-most", "0.01"]) == 1
    assert "--at-most" in capsys.readouterr().err and not Path("a").exists()
    assert main(command) == 0
    assert "a/t.npz: 60 uploads of 3 rounds, " in capsys.readouterr().out
    assert set(read_trace("a/t.npz").round) == {1, 3, 4}
    assert {path.name for path in Path().rglob("*.*")} == {"tiny.yaml", "split.npz", "t.npz"}
