"""The provenance of a record: code, libraries and machine."""

import os
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import torch

from fedrec import __version__
from fedrec.records import Provenance


def provenance(device: str) -> Provenance:
    """Collect the versions of code and libraries, the device and the machine."""
    on_gpu = device == "cuda"
    return Provenance(
        fedrec=__version__,
        git=_git_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        device=device_name(device),
        processor=processor(),
        system=system(),
        driver=_driver() if on_gpu else None,
        cuda=torch.version.cuda if on_gpu else None,
    )


def device_name(device: str) -> str:
    """Return a device's name in records: `cpu`, or the name of the GPU."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model on Linux and macOS; elsewhere its family or architecture."""
    listed = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.*\S)", listed, flags=re.MULTILINE)
    if model:
        return model[1]
    told = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return told or platform.processor() or platform.machine()


def system() -> str:
    """Return the operating system, kernel version, architecture and C library."""
    # Only the numbers of the version: what follows them differs between distributors.
    version = re.match(r"[\d.]*", platform.release())
    parts = (platform.system(), version and version[0], platform.machine(), *platform.libc_ver())
    return " ".join(filter(None, parts))


def _driver() -> str | None:
    """Return the version of the GPU driver, which all GPUs of a machine share."""
    told = _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return told.splitlines()[0] if told else None


def _git_commit() -> str | None:
    """Return the commit of the checkout, marked as dirty if files differ; None without a checkout.

    If the files were copied without their history, FEDREC_COMMIT can give the commit.
    """
    here, told = Path(__file__), os.environ.get("FEDREC_COMMIT")
    if told:
        return told
    tracked = _output(["git", "ls-files", "--error-unmatch", here.name], here.parent)
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return _output(describe, here.parent) if tracked else None


def _output(command: list[str], folder: Path | None = None) -> str | None:
    """Return the output of a command, or None if it fails or does not exist."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
