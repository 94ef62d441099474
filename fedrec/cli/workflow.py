"""Calls of Snakemake for files that the workflow's rules make."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from fedrec.data.sources import LocalFile
from fedrec.errors import CommandError, ConfigError
from fedrec.plan.plan import Plan

POLL = 0.2  # seconds between two checks of which files exist


class WorkflowFailed(CommandError):
    """Snakemake could not make a file; the message says why, or how to find out."""


def made(targets: Sequence[str], configs: Sequence[Path], cores: str = "1") -> None:
    """Run Snakemake to make the files that are missing or out of date, with a progress bar.

    Raises:
        ConfigError: this folder has no workflow.
        WorkflowFailed: a file could not be made.
    """
    if not Path("Snakefile").is_file():
        raise ConfigError(
            f"there is no Snakefile in {Path.cwd()}: run this in the project's folder"
        )
    # The rules call plain `fedrec`, which is in the same folder as this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    call = [sys.executable, "-m", "snakemake", *targets, "--cores", cores, "--quiet", "all"]
    call += ["--configfile", *map(str, configs)]
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(call, env=environment, stdout=sys.stderr) as run:
        watch(run, [Path(target) for target in targets])
    if run.returncode:
        again = command(targets, configs, cores)
        raise WorkflowFailed(f"{targets[0]} could not be made; to see why, run: {again}")


def watch(run: "subprocess.Popen[bytes]", files: Sequence[Path], unit: str = "run") -> None:
    """Show a bar that counts the files that exist, on a terminal, until a process ends."""
    shown = len(files) > 1 and sys.stderr.isatty()
    with tqdm(total=len(files), unit=unit, leave=False, disable=not shown) as bar:
        while run.poll() is None:
            time.sleep(POLL)
            bar.update(sum(file.exists() for file in files) - bar.n)


def command(targets: Sequence[str], configs: Sequence[Path], cores: str = "all") -> str:
    """Return the same call of Snakemake as a command line to type."""
    words = ["snakemake", "--cores", cores, *targets]
    if [str(path) for path in configs] != ["config/paper.yaml"]:
        words += ["--configfile", *map(str, configs)]
    return " ".join(words)


def split_of(study: Plan, dataset: str, configs: Sequence[Path]) -> Path:
    """Return the split of a dataset, which the workflow's data rules make if necessary.

    The rules are run, rather than their functions, so that downloads, checksums, logs and files
    are those of the study, and the study later finds the data.
    """
    path = Path(study.results) / "data" / dataset / "split.npz"
    if not path.exists() or _is_older(path, study, dataset):
        print(f"{path}: made by the workflow's data rules", file=sys.stderr, flush=True)
        _make_split(path, study, dataset, configs)
    return path


def _make_split(path: Path, study: Plan, dataset: str, configs: Sequence[Path]) -> None:
    """Run the rules that make a split; if a stage fails, raise its error message."""
    start = time.time()
    try:
        made([str(path)], configs)
    except WorkflowFailed as error:
        logs = (Path(study.results) / "logs" / "data" / dataset).glob("*.log")
        told = [log.read_text(errors="replace") for log in logs if log.stat().st_mtime >= start - 1]
        lines = [x for text in told for x in text.splitlines() if x.startswith("fedrec ")]
        raise WorkflowFailed(lines[-1] if lines else str(error)) from None


def _is_older(path: Path, study: Plan, dataset: str) -> bool:
    """Return whether a local source file has changed since the split was made from it."""
    files = [Path(file.path) for file in study.datasets[dataset].raw if isinstance(file, LocalFile)]
    return any(f.exists() and f.stat().st_mtime > path.stat().st_mtime for f in files)
