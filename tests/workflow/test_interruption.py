"""Ctrl-C: Snakemake and its jobs are all sent SIGINT, and the next start goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.workflow.test_pipeline import STUDY, Project

RUNS = "results/tiny/runs/synthetic/MF"
DONE, HALF = f"{RUNS}/NoAttack/FedAvg/m0/seed0.json", f"{RUNS}/ClusterAttack/FedAvg/m0.1/seed0.json"
# Long enough to be cut in two, however fast.
LONG = STUDY.replace("rounds: 6,", "rounds: 5000,").replace(
    "evaluate_every: 3", "evaluate_every: 50"
)


def interrupted(process: subprocess.Popen[bytes], log: Path) -> int:
    """Press Ctrl-C until it is heard; returns the exit code.

    Now and then Snakemake misses one while a job ends, and starts that job again.
    """
    for presses in (1, 2, 3):
        os.killpg(process.pid, signal.SIGINT)
        end = time.monotonic() + 60
        while log.read_text().count("Trying to restart") < presses:
            code = process.poll()
            if code is not None:
                return code
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_ctrl_c_loses_no_finished_cell_and_half_of_none(tmp_path: Path) -> None:
    project = Project(tmp_path / "fedrec")
    project.study.write_text(LONG)
    project.snakemake(DONE)
    finished = (project.folder / DONE).stat().st_mtime_ns
    log = project.folder / HALF.replace("runs", "logs/runs", 1)
    log = log.with_name(f"{log.name}.log")
    command = ("snakemake", "--cores", "1", HALF, DONE, "--configfile", str(project.study))
    process = project.start(*command, log=tmp_path / "log")
    end = time.monotonic() + 120
    while not (log.exists() and "round 50/" in log.read_text()):
        assert time.monotonic() < end and process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    assert interrupted(process, tmp_path / "log") != 0
    assert not (project.folder / HALF).exists()
    assert (project.folder / f"{HALF}.checkpoint").exists(), log.read_text()
    project.snakemake(HALF, DONE)  # nothing to unlock
    assert "resuming after round" in log.read_text()
    assert (project.folder / DONE).stat().st_mtime_ns == finished
    assert len(project.science()) == 2
    assert not list(project.folder.rglob("*.checkpoint*"))
