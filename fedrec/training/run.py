"""One training job: simulate a cell and make its record."""

import os
import resource
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch

from fedrec.config.cell_config import CellConfig
from fedrec.data.split import Split
from fedrec.metrics.ranking import Metrics
from fedrec.plan.metrics import REPORTS
from fedrec.records import Cost, Record, Trajectory
from fedrec.training.in_turn import Steps, finished
from fedrec.training.listener import Listener
from fedrec.training.provenance import provenance
from fedrec.training.simulation import Evaluation, Simulation


def choose_device(wanted: str) -> str:
    """Resolve `auto` to a GPU if there is one; several GPUs are shared out by process id.

    Raises:
        RuntimeError: `wanted` is `cuda`, but this build or machine has no GPU.
    """
    # cuBLAS reads this at its start. Without it, PyTorch's deterministic mode rejects cuBLAS sums.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise RuntimeError(
            "device cuda: PyTorch sees no GPU; install a CUDA build (envs/torch.txt) or use cpu"
        )
    if not available or wanted == "cpu":
        return "cpu"
    torch.cuda.set_device(os.getpid() % torch.cuda.device_count())
    return "cuda"


def prepare_torch() -> None:
    """Make PyTorch reject operations that do not give the same bits every time."""
    # The same as `use_deterministic_algorithms`, which also imports the compiler (2 s).
    torch.set_deterministic_debug_mode("error")
    # Otherwise PyTorch fills each new tensor before it is written: 47 MB per round and more.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def run_cell(
    config: CellConfig, split: Split, device: str, listeners: Sequence[Listener] = ()
) -> Record:
    """Simulate a cell and record everything that its tables and figures may need.

    Listeners are called in their order.

    Raises:
        Interrupted: the process was asked to end, and a listener has saved the run for resuming.
    """
    return finished(running(config, split, device, listeners))


def running(
    config: CellConfig, split: Split, device: str, listeners: Sequence[Listener] = ()
) -> Steps[Record]:
    """Do the work of `run_cell`, one round per step."""
    prepare_torch()
    run, made_by = Simulation(config, split, device), provenance(device)
    identity = {
        "config": config.digest,
        "dataset": split.checksum,
        # As in the workflow, a change of the code counts only when the version changes. A run may
        # resume where a cluster restarts it: on another processor and with another driver, but on
        # the same kind of device.
        **made_by.model_dump(exclude={"git", "processor", "system", "driver"}),
    }
    with ExitStack() as stack:
        for listener in listeners:
            listener.begins(run, identity)
            stack.callback(listener.ends, run)
        yield from _play(run, listeners)
    track = trajectory(run.evaluations)
    return Record(
        schema_version=2,
        cell=config.cell,
        config=dict(config.values),
        config_hash=config.digest,
        dataset_checksum=identity["dataset"],
        trajectory=track,
        diverged_at=run.diverged_at,
        malicious=run.malicious,
        uploads=run.observer.uploads,
        hits={report: run.evaluations[track.reported_index(report)].hits for report in REPORTS},
        provenance=made_by,
        cost=Cost(
            seconds=run.seconds,
            seconds_per_round=run.seconds / run.round,
            peak_memory_mb=peak_memory_mb(),
            benign_upload_bytes=run.sizes.benign,
            malicious_upload_bytes=run.sizes.malicious,
        ),
    )


def _play(run: Simulation, listeners: Sequence[Listener]) -> Steps[None]:
    """Play the remaining rounds of a run."""
    while not run.over:
        evaluation = run.play()
        for listener in listeners:
            listener.played(run, evaluation)
        yield


def trajectory(evaluations: Sequence[Evaluation]) -> Trajectory:
    """Arrange evaluations as columns; the attack's columns are None before its first round."""
    return Trajectory(
        round=[e.round for e in evaluations],
        validation=_columns([e.validation for e in evaluations]),
        test=_columns([e.test for e in evaluations]),
        loss=[e.loss for e in evaluations],
        attack=_sparse_columns([e.attack for e in evaluations]),
        defense=_sparse_columns([e.defense for e in evaluations]),
    )


def peak_memory_mb() -> float:
    """Return the peak host memory of this process, in MiB."""
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
    """Arrange rows as columns; names that a row lacks become None."""
    names = {name for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in sorted(names)}
