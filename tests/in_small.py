"""A copy of the project in which the commands of its pages take a second.

The config files, the data and the kept records have the names that the pages use. They have few
rounds, one seed and a small synthetic dataset.
"""

import os
import shutil
import sys
from itertools import product
from pathlib import Path

from fedrec.config.study import Study
from fedrec.data.split import leave_one_out
from fedrec.data.synthetic import Synthetic
from fedrec.plan.cells import Cell
from fedrec.records import pack
from fedrec.training.run import run_cell
from tests.copies import ROOT, copy_project

PARTS = (
    ".test", "Makefile", "Snakefile", "config", "envs", "examples", "fedrec", "profiles",
    "pyproject.toml", "workflow",
)  # fmt: skip
SMALLER = {
    "config/paper.yaml": {
        "seeds: [0, 1, 2, 3, 4]": "seeds: [0]",
        "rounds: 6000": "rounds: 60",
        "evaluate_every: 200": "evaluate_every: 30",
    },
    "config/demo.yaml": {
        "seeds: [0, 1, 2]": "seeds: [0]",
        "rounds: 400": "rounds: 20",
        "evaluate_every: 40": "evaluate_every: 10",
    },
    # What `fedrec bench` times, and for how long.
    "fedrec/bench/cells.py": {
        "clients: int = 50": "clients: int = 9",
        "users=6040, items=3706, interactions=1_000_209": "users=100, items=60, interactions=999",
        "users=29_858, items=40_981, interactions=1_027_370": (
            "users=90, items=80, interactions=999"
        ),
        "users=1_000_000, items=1_000_000, interactions=15_000_000": (
            "users=200, items=300, interactions=1_999"
        ),
    },
    "fedrec/bench/machine.py": {"STREAM = 2**26": "STREAM = 2**10", "GEMM = 2048": "GEMM = 8"},
    "fedrec/bench/measure.py": {"WARM_UP = 30": "WARM_UP = 1", '"spawn"': '"fork"'},
    "fedrec/bench/scaling.py": {"(1, 2, 4, 8)": "(1,)"},
    "fedrec/cli/benchmark.py": {
        "type=int, default=200": "type=int, default=2",
        'list(Study.load("config/paper.yaml").defenses)': '["FedAvg", "Krum"]',
    },
}


def small_project(folder: Path) -> None:
    """Fill a folder with what a user has after `make`, the data and some kept records."""
    copy_project(folder, PARTS)
    for name, changes in SMALLER.items():
        make_smaller(folder / name, changes)
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "pip").symlink_to(Path(sys.executable).parent / "pip")
    (folder / ".venv" / ".installed").touch()
    (folder / "docs").mkdir()  # of the picture that `fedrec bench` plots
    keep_records(folder)
    write_plays(folder / "plays.csv")


def make_smaller(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{file}: {old}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def keep_records(folder: Path) -> None:
    """Make the data that pages call ml-1m, and records of some cells as if they were published."""
    published = ROOT / "results" / "published"
    shutil.copytree(
        published,
        folder / "results" / "published",
        ignore=shutil.ignore_patterns("records.jsonl.gz", "tables", "figures", "summary"),
    )
    study, results = Study.load(folder / "config" / "paper.yaml"), folder / "results"
    split = leave_one_out(Synthetic(users=300, items=600, mean_length=12).generate())
    split.save(results / "data" / "ml-1m" / "split.npz")
    records = []
    for attack, ratio in (("NoAttack", 0.0), ("Fang", 0.01), ("LIE", 0.01)):
        cell = Cell(
            dataset="ml-1m", model="MF", attack=attack, defense="FedAvg", ratio=ratio, seed=0
        )
        records.append(run_cell(study.cell_config(cell), split, "cpu"))
    pack(records, results / "published" / "records.jsonl.gz")


def write_plays(file: Path) -> None:
    """Write a user's own file of interactions."""
    rows = ["listener,track,played_at"]
    for user, play in product(range(60), range(12)):
        rows.append(f"u-{user},t-{(7 * user + play * play) % 40},2023-01-{play + 1:02} 02:14:36")
    file.write_text("\n".join(rows) + "\n")


def environment(folder: Path, commands: Path) -> dict[str, str]:
    """The environment of a command in the copy; `commands` come before the installed ones."""
    path = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PYTHONPATH": str(folder), "PATH": os.pathsep.join(path)}
