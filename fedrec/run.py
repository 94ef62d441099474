"""One training job: a cell is simulated, and its record made."""

import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fedrec import __version__
from fedrec.config import CellConfig
from fedrec.data.split import Split
from fedrec.federation import Evaluation, simulate
from fedrec.metrics.ranking import Metrics
from fedrec.metrics.uploads import Observer
from fedrec.progress import Progress
from fedrec.records import REPORTS, Cost, Provenance, Record, Trajectory


def choose_device(wanted: str) -> str:
    """`auto` is the first GPU where there is one.

    Raises:
        RuntimeError: `cuda` was asked for, but this build or machine has none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise RuntimeError(
            "device cuda: PyTorch sees no GPU; install a CUDA build (envs/torch.txt) or use cpu"
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


def run_cell(config: CellConfig, split: Split, device: str) -> Record:
    """Simulate a cell and record everything that its tables and figures may need."""
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    observer = Observer(config.protocol.observe, config.protocol.window)
    with Progress(config.protocol.rounds) as progress:
        evaluations = []
        for evaluation in simulate(config, split, device, lambda *_: progress.played(), observer):
            progress.evaluated(evaluation)
            evaluations.append(evaluation)
    seconds = time.perf_counter() - start
    track = trajectory(evaluations)
    return Record(
        schema_version=1,
        cell=config.cell,
        config=dict(config.values),
        config_hash=config.digest,
        dataset_checksum=split.checksum,
        trajectory=track,
        uploads=observer.uploads,
        hits={report: evaluations[track.reported_index(report)].hits for report in REPORTS},
        provenance=provenance(device),
        cost=Cost(
            seconds=seconds,
            seconds_per_round=seconds / config.protocol.rounds,
            peak_memory_mb=peak_memory_mb(),
        ),
    )


def trajectory(evaluations: Sequence[Evaluation]) -> Trajectory:
    """Evaluations, column by column; an attack's columns hold None before its first round."""
    return Trajectory(
        round=[e.round for e in evaluations],
        validation=_columns([e.validation for e in evaluations]),
        test=_columns([e.test for e in evaluations]),
        loss=[e.loss for e in evaluations],
        attack=_sparse_columns([e.attack for e in evaluations]),
        defense=_sparse_columns([e.defense for e in evaluations]),
    )


def provenance(device: str) -> Provenance:
    """What code and which libraries made a record, on what device."""
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return Provenance(
        fedrec=__version__,
        git=_git_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        device=name,
    )


def peak_memory_mb() -> float:
    """The most memory this process has held, in MiB (on the CPU's side)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _columns(rows: Sequence[Metrics]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return dict(columns)


def _sparse_columns(
    rows: Sequence[Mapping[str, float | int | None]],
) -> dict[str, list[float | int | None]]:
    """Columns of rows that may lack some of the names."""
    names = {name for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in sorted(names)}


def _git_commit() -> str | None:
    """The commit of the project's checkout, marked if files differ from it; None elsewhere."""
    here = Path(__file__)
    tracked = _git(["ls-files", "--error-unmatch", here.name], here.parent)
    return (
        _git(["describe", "--always", "--dirty", "--abbrev=12"], here.parent) if tracked else None
    )


def _git(arguments: list[str], folder: Path) -> str | None:
    """What a git command prints, or None where it fails or there is no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
