"""What a process sets up before it simulates."""

import subprocess
import sys

import pytest
import torch

from fedrec.kernels.threads import torch_threads
from fedrec.process import prepare


@pytest.mark.usefixtures("one_thread_afterwards")
def test_it_uses_the_threads_asked_for() -> None:
    prepare(2)
    with torch_threads():
        assert torch.get_num_threads() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as on Linux")
def test_large_arrays_that_are_freed_and_made_again_cost_no_new_pages() -> None:
    """In processes of their own, whose memory no other test has cut up."""
    kept, given_back = pages_of_a_round("keep_freed_memory()"), pages_of_a_round("pass")
    assert kept < given_back / 10


def pages_of_a_round(preparation: str) -> int:
    """New pages of a process that makes and frees four arrays of 20 MB for the third time."""
    script = f"""
import resource
import numpy as np
from fedrec.process import keep_freed_memory
{preparation}
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(20 * 2**20, np.int8) for _ in range(4)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)
