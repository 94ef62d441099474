"""The same bits wherever arrays lie and however wide a machine's vectors are."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.builders import tiny_split
from tests.digests import first_difference, rounds, small_cells
from tests.stirred import LOOPS, Stirred

ROOT = Path(__file__).parents[1]
SPLIT = tiny_split(200, 150)
# What a machine without AVX-512 has; the libraries are held to less still.
NARROW = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
    "AVX512_SPR",
}
# Loops that nothing but other loops calls, or nothing at all on such data.
INNER = {"padded", "copy", "dot", "add_times", "four_of", "exponentials", "logistic", "distance"}
INNER |= {"philox_round", "row_blocks", "row_buffer", "number_below", "draw_candidates", "distinct"}
INNER |= {"four_products", "_columns", "log_uniform"}
INNER |= {"kept_distances", "moved_distances", "sort_rows", "put_near_median"}
INNER |= {"nearest_to_others", "sum_of_nearest"}


def test_loops_give_the_same_bits_wherever_their_memory_is() -> None:
    """Whole rounds of every attack and defence, with each call of a loop made again elsewhere."""
    stirred = Stirred(repeats=2)
    for model, length in (("mf", 3), ("sas_rec", 1), ("ncf", 1)):
        for config in small_cells(model, length, dim=20).values():
            with stirred.watching():
                for _ in rounds(config, SPLIT):
                    pass
    assert not +stirred.differed
    assert set(stirred.again) >= set(LOOPS) - INNER


def test_a_loop_whose_bits_hang_on_an_address_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOPS, "dot", lambda x: x.ctypes.data)
    stirred = Stirred(repeats=1)
    for _ in range(20):
        stirred.repeat("dot", (np.zeros(3),))
    assert stirred.again["dot"] == 20 and stirred.differed["dot"] > 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names vectors of x86-64")
@pytest.mark.parametrize(("model", "length"), [("mf", 3), ("ncf", 1)])
def test_a_run_has_the_same_bits_whatever_vectors_the_machine_has(
    model: str, length: int, tmp_path: Path
) -> None:
    """MF and NCF under every attack and defence: state and record after each round."""
    output = tmp_path / "narrow.json"
    command = [sys.executable, "-m", "tests.digests", model, str(length), "20", str(output)]
    subprocess.run(command, cwd=ROOT, env=os.environ | NARROW, check=True)
    narrow = json.loads(output.read_text())
    for name, config in small_cells(model, length, 20).items():
        assert first_difference(list(rounds(config, SPLIT)), narrow[name]) is None, name


def test_the_first_difference_is_named() -> None:
    one = [{"items": "a", "values": "b"}, {"items": "c", "values": "d"}]
    other = [one[0], one[1] | {"items": "x"}]
    assert first_difference(one, one) is None
    assert first_difference(one, other) == "round 2: items"


def test_a_digest_tells_states_apart() -> None:
    config = small_cells("mf", 2, 4)["mean"]
    first, second = rounds(config, SPLIT)
    assert first["items"] != second["items"]
    assert first["values"] != second["values"]
