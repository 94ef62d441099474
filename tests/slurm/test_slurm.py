"""A small study through the Slurm profile on a real cluster of one node that misbehaves."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.slurm.cluster import Cluster, NoCluster
from tests.workflow.test_pipeline import STUDY, Project

WAITS = (
    "--slurm-init-seconds-before-status-checks=5",
    "--seconds-between-status-checks=2",
    "--latency-wait=10",
)
# Cells of some ten seconds, so that there is something to cut in two.
LONG = STUDY.replace("rounds: 6,", "rounds: 1000,").replace(
    "evaluate_every: 3", "evaluate_every: 50"
)
TARGET = "results/tiny/tables/table-1.csv"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One that is brought up; without one the test has nothing to say."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="envs/slurm.txt")
    cluster = Cluster(Path(mkdtemp(prefix="fedrec-slurm-")))
    try:
        cluster.up()
        yield cluster
    except NoCluster as error:
        pytest.skip(f"no Slurm: {error}")
    finally:
        cluster.down()


def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_a_study_survives_a_cluster_that_misbehaves(cluster: Cluster, tmp_path: Path) -> None:
    """Cancelled jobs and a crashed node daemon cost time, and change no record."""
    here, there = Project(tmp_path / "here"), Project(tmp_path / "there")
    for project in (here, there):
        project.study.write_text(LONG)
    here.snakemake(TARGET, "--cores", "2")
    profile = ("--workflow-profile", "profiles/slurm", *WAITS)
    command = ("snakemake", *profile, TARGET, "--configfile", str(there.study))
    log = tmp_path / "log"
    running = there.start(*command, log=log, base=cluster.environment)
    try:
        logs = there.folder / "results" / "tiny" / "logs" / "runs"
        until(lambda: any("round 100/" in p.read_text() for p in logs.rglob("*.log")))
        for job in cluster.jobs("RUNNING")[:2]:
            cluster.cancel(job)
        cluster.kill_slurmd()
        time.sleep(2)
        cluster.start_slurmd()
        assert running.wait(timeout=400) == 0, log.read_text()
    finally:
        running.kill()
    assert "Trying to restart" in log.read_text()
    assert len(there.science()) == 4 and there.science() == here.science()
    assert not list(there.folder.rglob("*.checkpoint*"))
