"""Where compiled loops are kept, and that none outlives a change of what it calls."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fedrec

PACKAGE = Path(fedrec.__file__).parent

# A loop of one file that calls a loop of another, `philox.fill`.
MASKS = """
import torch
from fedrec.kernels.dropout import Places, masks
from fedrec.rng import Streams
places = Places((2, 40), width=40, stride=2)
print(masks(Streams(1).of_clients("any"), torch.tensor([3]), places, 0.5).int().tolist())
"""
# numba's setting before and after loops are made, where one is kept, and whether it works.
KEPT = """
import json
import numpy as np
from numba import config
before = config.CACHE_DIR
from fedrec.kernels.ranks import count_above
counts = np.zeros((2, 1), np.int64)
count_above(np.ones((1, 3), np.float32), np.ones(1, np.float32), np.arange(1), *counts)
told = {"settings": [before, config.CACHE_DIR], "kept": count_above.stats.cache_path}
print(json.dumps(told | {"level": int(counts[1, 0])}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the package's code, without what has been compiled."""
    shutil.copytree(PACKAGE, tmp_path / "fedrec", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def told(program: str, folder: Path, **variables: Path) -> Any:
    """What a program prints in a process of its own, with the package of a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    given = {name: str(path) for name, path in variables.items()}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(folder)} | given,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_loop_is_compiled_anew_when_one_that_it_calls_has_changed(copy: Path) -> None:
    callee = copy / "fedrec" / "kernels" / "philox.py"
    code = callee.read_text()
    before = told(MASKS, copy)
    changed = code.replace("0xD2511F53", "0xD2511F55")
    assert changed != code
    callee.write_text(changed)
    after = told(MASKS, copy)
    assert after != before
    callee.write_text(code)
    assert told(MASKS, copy) == before


def test_loops_are_kept_beside_their_code(copy: Path) -> None:
    found = told(KEPT, copy)
    assert found["settings"] == ["", ""]
    assert Path(found["kept"]).is_relative_to(copy / "fedrec" / "kernels" / "__pycache__")
    assert list(Path(found["kept"]).glob("ranks.count_above-*.nbc"))


def test_loops_are_kept_where_the_user_says(copy: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    found = told(KEPT, copy, NUMBA_CACHE_DIR=chosen)
    assert found["settings"] == [str(chosen)] * 2  # for other packages
    assert Path(found["kept"]).is_relative_to(chosen)


def test_code_that_cannot_be_written_beside_has_its_loops_in_the_users_cache(
    copy: Path, tmp_path: Path
) -> None:
    (copy / "fedrec" / "kernels" / "__pycache__").write_text("not a folder")
    home = tmp_path / "home"
    found = told(KEPT, copy, HOME=home, XDG_CACHE_HOME=home)
    assert Path(found["kept"]).is_relative_to(home)
    assert "fedrec-" in found["kept"]


def test_loops_work_where_nothing_can_be_written(copy: Path, tmp_path: Path) -> None:
    (copy / "fedrec" / "kernels" / "__pycache__").write_text("not a folder")
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    found = told(KEPT, copy, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert found["kept"] is None and found["level"] == 2
