"""The whole pipeline on a tiny study, run as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from fedrec.records import read_record, read_records
from tests.copies import copy_project

CELL = "synthetic/MF/ClusterAttack/FedAvg/m0.1/seed0.json"
SEEDS = (CELL, CELL.replace("seed0", "seed1"))
COMPOSED = CELL.replace("FedAvg", "NormBound+UNION")  # its name has to be quoted in a pattern

STUDY = """
results: results/tiny
note: Tiny.
seeds: [0, 1]
protocol: { rounds: 6, clients_per_round: 20, evaluate_every: 3, pool: 0.2 }
datasets:
  synthetic: { synthetic: { users: 60, items: 50, mean_length: 10 } }
models:
  MF: { kind: mf, dim: 8 }
attacks:
  NoAttack: { kind: no_attack }
  ClusterAttack: { kind: cluster_attack, clusters: 2 }
defenses:
  FedAvg: [{ kind: mean }]
  NormBound+UNION: [{ kind: union, sample: 20 }, { kind: norm_bound }, { kind: mean }]
claims: { datasets: { ml-1m: synthetic } }
figures:
  training-curves: &cells
    title: Curves
    kind: training_curves
    datasets: [synthetic]
    models: [MF]
    attacks: [NoAttack, ClusterAttack]
    ratios: [0.1]
  figure-2:
    title: Grid
    kind: attack_grid
    datasets: [synthetic]
    models: [MF]
    attacks: [ClusterAttack]
    defenses: [FedAvg, NormBound+UNION]
    ratios: [0.1]
  victims:
    { <<: *cells, title: Victims, kind: victims, attacks: [ClusterAttack], ratios: [0.1] }
  sweep:
    <<: *cells
    title: Sweep
    kind: sweep
    attacks: [ClusterAttack]
    defenses: [FedAvg, NormBound+UNION]
    grid: { ratio: [0.1] }
tables:
  table-1: { <<: *cells, title: Attacks, kind: attacks }
  board:
    { <<: *cells, title: Board, kind: leaderboard, attacks: [ClusterAttack], ratios: [0.1] }
  table-2: { title: Datasets, kind: datasets, datasets: [synthetic] }
"""

DEVIATIONS = """
  deviations:
    title: Deviations
    kind: deviations
    datasets: [synthetic]
    models: [MF]
    attacks: [ClusterAttack]
    defenses: [NormBound+UNION]
    ratios: [0.1]
"""

OWN = """
results: results/own
seeds: [0]
protocol: { rounds: 2, clients_per_round: 10, evaluate_every: 1, pool: 0.2 }
datasets:
  plays:
    source: { path: plays.csv }
    format:
      separator: ";"
      header: true
      user: listener
      item: track
      time: played at
      time_format: iso8601
      time_zone: Europe/Berlin
    k_core: { k: 3 }
models:
  MF: { kind: mf, dim: 4 }
attacks:
  NoAttack: { kind: no_attack }
defenses:
  FedAvg: [{ kind: mean }]
tables:
  table-1:
    title: Attacks
    kind: attacks
    datasets: [plays]
    models: [MF]
    attacks: [NoAttack]
"""

DUMMY = '''"""Uploads nothing but zeros."""

import torch
from pydantic import Field

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class Silence:
    """A dummy attack."""

    volume: float = Field(default=0.0, description="What to upload.")

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The same number everywhere."""
        value = torch.full((len(view), *view.shared.items.shape), self.volume)
        return Forgery(Updates.over_all_items(view.benign, value, view.benign.dense), None)
'''


class Project:
    """A copy of the project with a tiny study, apart from this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder, folder / "config" / "tiny.yaml"
        if not folder.exists():
            folders = ("fedrec", "workflow", "config", "envs", "profiles", "tests")
            copy_project(folder, (*folders, "Snakefile", "pyproject.toml"))
            self.study.write_text(STUDY)

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """In which Python finds the copy before the installed package."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
        return {**base, "PYTHONPATH": str(self.folder), "PATH": path}

    def start(
        self, *command: str, log: Path, base: Mapping[str, str] = os.environ
    ) -> subprocess.Popen[bytes]:
        """Start a command in the copy, in a process group of its own as a terminal does."""
        with log.open("w") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(base),
                stdout=output,
                stderr=output,
                start_new_session=True,
                # A shell's background job ignores Ctrl-C, and so would all that it starts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the copy."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout + done.stderr

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        tail = ["--configfile", str(self.study)]
        cores = [] if "--cores" in arguments else ["--cores", "2"]
        return self.run("snakemake", *cores, *arguments, *tail, check=check)

    def science(self) -> dict[str, Any]:
        """What the records made so far say, by cell."""
        runs = self.folder / "results" / "tiny" / "runs"
        return {str(p.relative_to(runs)): read_record(p).science() for p in runs.rglob("*.json")}

    def planned(self) -> set[str]:
        """The training jobs that a run would do now."""
        text = self.snakemake("--dry-run", "--quiet", "rules", "--summary")
        rows = [line.split("\t") for line in text.splitlines() if "/runs/" in line]
        return {row[0].partition("/runs/")[2] for row in rows if "no update" not in row[-1]}


@pytest.fixture(scope="session")  # a process may leave this module and come back
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The copy, after one run of everything by the target's name.

    The first of several test processes makes it, and each has a copy of that.
    """
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = common / "pipeline"
    with FileLock(common / "pipeline.lock"):
        if not made.exists():
            first = Project(tmp_path_factory.mktemp("begun") / "pipeline")
            first.snakemake("reproduce-all")
            first.folder.rename(made)
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(made, copy)  # with the times of files
    return Project(copy)


def test_everything_is_made(project: Project) -> None:
    results = project.folder / "results" / "tiny"
    made = {str(path.relative_to(results)) for path in results.glob("[!l]*/*.*")}  # but logs
    tables = {
        f"tables/{name}.{ext}"
        for name in (
            "table-1",
            "table-2",
            "board",
            "claims",
            "secondary",
            "appendix",
            "numbers",
            "runs",
        )
        for ext in ("csv", "md", "tex", "html")
    }
    figures = {
        f"figures/{name}.{ext}"
        for name in ("training-curves", "figure-2", "sweep", "victims", "claims", "numbers")
        for ext in ("pdf", "svg", "png")
    }
    summaries = {"summary/table-1.csv", "summary/table-1.csv.sha256"}
    assert made == summaries | {"tables/configuration.html"} | tables | figures
    pages = [*(results / "tables").glob("*.html"), results / "explorer.html"]
    assert all("Tiny." in page.read_text() for page in pages)
    target = f"--configfile config/tiny.yaml results/tiny/runs/{COMPOSED}"
    assert f"<code>snakemake --cores 1 {target}</code>" in pages[-1].read_text()
    assert len(list((results / "runs").rglob("*.json"))) == 6
    assert "| 1 | FedAvg |" in (results / "tables" / "board.md").read_text()
    assert (results / "runs" / COMPOSED).exists()
    for log in (results / "logs").rglob("*.log"):
        assert log.with_suffix(".tsv").exists()


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    assert "Nothing to be done" in project.snakemake()


def test_a_cell_is_the_same_again_on_one_core_or_two(project: Project) -> None:
    record = project.folder / "results" / "tiny" / "runs" / CELL
    before = read_record(record)
    target = str(record.relative_to(project.folder))
    project.snakemake("--cores", "1", "--force", target)
    after = read_record(record)
    assert after.science() == before.science()
    assert after.cost != before.cost  # it did run


def test_seeds_trained_together_give_the_same_records(project: Project) -> None:
    """One process trains both seeds; the switch is no reason to train what there is."""
    runs = project.folder / "results" / "tiny" / "runs"
    cells = [runs / cell for cell in SEEDS]
    before = [read_record(cell) for cell in cells]
    together = ("--set-resources", "train:together=1")
    project.snakemake()
    assert "Nothing to be done" in project.snakemake(*together)
    for cell in cells:
        cell.unlink()
    targets = [str(cell.relative_to(project.folder)) for cell in cells]
    project.snakemake("--cores", "1", *targets, *together)
    after = [read_record(cell) for cell in cells]
    assert [record.science() for record in after] == [record.science() for record in before]
    assert sorted(path.name for path in cells[0].parent.iterdir()) == ["seed0.json", "seed1.json"]
    logs = [project.folder / "results" / "tiny" / "logs" / "runs" / cell for cell in SEEDS]
    lengths = sorted(len(log.with_name(f"{log.name}.log").read_text()) for log in logs)
    assert lengths[0] == 0 < lengths[1]


def test_a_seed_of_the_second_look_is_made_if_asked_for_and_shown_by_claims_alone(
    project: Project,
) -> None:
    later = f"results/tiny/runs/{CELL.replace('seed0', 'seed7')}"
    project.snakemake()
    project.snakemake("--cores", "1", later)
    text = project.snakemake("--dry-run", "--quiet", "rules", "--summary")
    again = {row.split("\t")[0] for row in text.splitlines() if "/tables/" in row}
    stale = {row.split("\t")[0] for row in text.splitlines() if "no update" not in row}
    assert "results/tiny/tables/claims.csv" in again & stale
    assert "results/tiny/tables/table-1.csv" in again - stale
    project.snakemake()
    numbers = (project.folder / "results" / "tiny" / "tables" / "numbers.csv").read_text()
    assert "seed7" in (project.folder / "results/tiny/tables/runs.csv").read_text()
    assert "seed7" not in numbers
    (project.folder / later).unlink()


def test_a_diverged_run_is_a_result(project: Project) -> None:
    """It is in its table, and neither fails nor is tried again."""
    changed = {"results/tiny": "results/lost", "dim: 8": "dim: 8, learning_rate: 1.0e+30"}
    study = STUDY
    for before, after in changed.items():
        study = study.replace(before, after)
    project.study.write_text(study)
    log = project.snakemake("results/lost/tables/table-1.md")
    project.study.write_text(STUDY)
    lost = project.folder / "results" / "lost"
    assert {read_record(path).diverged_at for path in (lost / "runs").rglob("*.json")} == {2}
    assert "2 (2 diverged)" in (lost / "tables" / "table-1.md").read_text()
    assert "Error" not in log and "Trying to restart" not in log


def test_one_constant_concerns_its_own_cells_alone(project: Project) -> None:
    project.study.write_text(STUDY.replace("clusters: 2", "clusters: 3"))
    planned = project.planned()
    project.study.write_text(STUDY)
    assert planned == {c.replace("seed0", s) for c in (CELL, COMPOSED) for s in ("seed0", "seed1")}


def test_published_records_give_the_same_tables_without_training(project: Project) -> None:
    project.snakemake("publish")
    results = project.folder / "results" / "tiny"
    shutil.move(results / "runs", results / "runs-gone")
    shutil.move(results / "data", results / "data-gone")
    log = project.snakemake("published-figures")
    assert "rule train" not in log
    names = ("training-curves", "figure-2", "victims")
    figures = [f"figures/{name}.png" for name in names]
    for name in ("tables/table-1.md", "tables/table-2.csv", *figures):
        assert (results / "published" / name).read_bytes() == (results / name).read_bytes()
    assert len(read_records([results / "published" / "records.jsonl.gz"])) == 6
    kept = results / "published" / "data" / "synthetic"
    assert {path.stem for path in kept.iterdir()} == {"counts", "filter", "repeats", "groups"}
    shutil.move(results / "runs-gone", results / "runs")
    shutil.move(results / "data-gone", results / "data")


def test_published_records_need_no_pytorch(project: Project) -> None:
    """Nor does the workflow: as where it was never installed."""
    project.snakemake("publish")
    absent = project.folder / "torch.py"
    absent.write_text('raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n')
    published = project.folder / "results" / "tiny" / "published"
    for folder in ("tables", "figures"):
        shutil.rmtree(published / folder, ignore_errors=True)
    project.snakemake("published-figures")
    told = project.snakemake("--dry-run", "--forceall", "reproduce-all", check=False)
    absent.unlink()
    assert "training need PyTorch" in told and "envs/torch.txt" in told
    assert (published / "figures" / "claims.svg").exists()
    assert "Tiny." in (published / "tables" / "table-1.md").read_text()


def test_what_there_is_so_far_is_shown(project: Project) -> None:
    """A study that needs more cells than there are records."""
    more = STUDY.replace("ratios: [0.1]", "ratios: [0.1, 0.2]", 1)
    project.study.write_text(more + DEVIATIONS)
    log = project.snakemake("so-far")
    project.study.write_text(STUDY)
    tables = project.folder / "results" / "tiny" / "so-far" / "tables"
    assert "rule train" not in log
    assert "| ClusterAttack | 20 % | 0 of 2 | – |" in (tables / "table-1.md").read_text()
    assert "as configured" in (tables / "deviations.md").read_text()


def test_the_report_shows_every_product(project: Project) -> None:
    project.snakemake("--report", "report.html")
    page = (project.folder / "report.html").read_text()
    for name in (
        "Table 1",
        "Table 2",
        "Figure 2",
        "Scorecard",
        "Verdicts",
        "Runs",
        "Configuration",
    ):
        assert name in page
    assert "Tiny." in page


def test_a_file_of_ones_own_is_an_entry_and_no_code(project: Project) -> None:
    """From other names of columns and local times to Table 1; a changed file is read again."""
    path, table = project.folder / "plays.csv", project.folder / "results/own/tables/table-1.md"
    statistics = project.folder / "results" / "own" / "data" / "plays"
    project.study.write_text(OWN)
    assert "plays.csv" in project.snakemake(check=False)
    path.write_text(plays(users=20))
    project.snakemake()
    assert "(plays, MF, FedAvg, NoAttack" in table.read_text()
    assert json.loads((statistics / "counts.json").read_text())["users"] == 20
    assert json.loads((statistics / "filter.json").read_text())["dropped"][0]["users"] == 1
    assert json.loads((statistics / "repeats.json").read_text())["test"] == 20
    assert "Nothing to be done" in project.snakemake()
    path.write_text(plays(users=21))
    project.snakemake()
    project.study.write_text(STUDY)
    assert json.loads((statistics / "counts.json").read_text())["users"] == 21


def plays(users: int) -> str:
    """Each user takes 6 of 8 items and then the first of them again; one more takes one item."""
    rows = [
        f"{(user + step % 6) % 8};2023-05-{step + 1:02d}T09:30;u{user};x"
        for user in range(users)
        for step in range(7)
    ]
    return "\n".join(["track;played at;listener;note", *rows, "0;2023-05-01;short;x", ""])


def test_a_wrong_config_stops_before_any_job(project: Project) -> None:
    project.study.write_text(STUDY.replace("clusters: 2", "clustres: 2"))
    log = project.snakemake(check=False)
    project.study.write_text(STUDY)
    assert (
        "tiny.yaml:12: attacks.ClusterAttack.clustres: unknown key; did you mean `clusters`?" in log
    )
    assert "jobid" not in log


def test_a_key_that_stands_twice_stops_the_study(project: Project) -> None:
    """Snakemake, which reads the file by itself, would take the last."""
    project.study.write_text(STUDY.replace("seeds:", "results: results/other\nseeds:"))
    log = project.snakemake(check=False)
    project.study.write_text(STUDY)
    assert "tiny.yaml:4: the key `results` is already on line 2" in log


def test_an_attack_is_one_file_one_config_line_one_test(project: Project) -> None:
    """And its contract tests find it by themselves."""
    (project.folder / "fedrec" / "attacks" / "silence.py").write_text(DUMMY)
    study = STUDY.replace("defenses:", "  Silence: { kind: silence }\ndefenses:", 1)
    project.study.write_text(study.replace("ClusterAttack]", "ClusterAttack, Silence]", 1))
    planned = project.planned()
    assert {name.split("/")[2] for name in planned} == {"Silence"}
    project.snakemake()
    table = (project.folder / "results" / "tiny" / "tables" / "table-1.md").read_text()
    assert "| Silence | 2 |" in table
    contract = project.run(sys.executable, "-m", "pytest", "tests/attacks/test_contract.py", "-vv")
    assert "[silence-mf-the_view_is_left_as_it_was] PASSED" in contract and "failed" not in contract
    cell = read_record(
        next((project.folder / "results" / "tiny" / "runs").rglob("Silence/**/*.json"))
    )
    assert json.loads(json.dumps(cell.config))["attack"] == {"kind": "silence", "volume": 0.0}
