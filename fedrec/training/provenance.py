"""What made a record: the code, the libraries, and the machine."""

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
    """What code and which libraries run here, on what device of which machine."""
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
    """What records call a device: `cpu`, or the name of the card."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model, as Linux or macOS name it; elsewhere its family or architecture."""
    listed = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.*\S)", listed, flags=re.MULTILINE)
    if model:
        return model[1]
    told = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return told or platform.processor() or platform.machine()


def system() -> str:
    """The operating system, its kernel's version, the architecture and the C library."""
    # Not what comes after the numbers: each distributor names its builds otherwise.
    version = re.match(r"[\d.]*", platform.release())
    parts = (platform.system(), version and version[0], platform.machine(), *platform.libc_ver())
    return " ".join(filter(None, parts))


def _driver() -> str | None:
    """The version of the GPU's driver, which all cards of a machine share."""
    told = _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return told.splitlines()[0] if told else None


def _git_commit() -> str | None:
    """The commit of the project's checkout, marked if files differ from it; None elsewhere.

    Where files were copied without their history, FEDREC_COMMIT may name it.
    """
    here, told = Path(__file__), os.environ.get("FEDREC_COMMIT")
    if told:
        return told
    tracked = _output(["git", "ls-files", "--error-unmatch", here.name], here.parent)
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return _output(describe, here.parent) if tracked else None


def _output(command: list[str], folder: Path | None = None) -> str | None:
    """What a command prints, or None where it fails or is not there."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
