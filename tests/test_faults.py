"""A short version of `make faults`, which see `tests/faults.py`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_what_is_killed_or_damaged_ends_in_the_same_results() -> None:
    """In a process of its own, which may be copied: no threads, and nothing checked at run time."""
    command = [
        sys.executable,
        "-m",
        "tests.faults",
        "--kills",
        "6",
        "--damages",
        "40",
        "--workflows",
        "0",
        "--processes",
        "2",
        "--repetitions",
        "20",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed inside a write: in time" in done.stdout
    for kind in ("raw file", "split", "record", "counts", "summary"):
        assert f"{kind}: detected" in done.stdout
    assert "checkpoint: set aside" in done.stdout
    assert "a process killed and resumed: the same after every round" in done.stdout
    assert "loop: add_bpr" in done.stdout
