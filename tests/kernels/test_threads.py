"""Work shared out among threads, and what a process sets up before it simulates."""

import subprocess
import sys
from time import sleep

import numpy as np
import pytest
import torch

from fedrec.kernels.threads import client_ranges, prepare, spread, torch_threads, use_threads


@pytest.mark.usefixtures("one_thread_afterwards")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("parts", [0, 1, 2, 7, 50])
def test_results_keep_the_order_of_the_parts(threads: int, parts: int) -> None:
    use_threads(threads)
    assert spread(lambda x: x * x, iter(range(parts))) == [x * x for x in range(parts)]


@pytest.mark.usefixtures("one_thread_afterwards")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_work_may_be_shared_out_within_a_share(threads: int) -> None:
    use_threads(threads)
    rows = spread(lambda i: spread(lambda j: 10 * i + j, range(10)), range(10))
    assert rows == [[10 * i + j for j in range(10)] for i in range(10)]


@pytest.mark.usefixtures("one_thread_afterwards")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bad", [0, 5, 9])
def test_an_error_in_any_part_is_raised_after_all_threads_have_stopped(
    threads: int, bad: int
) -> None:
    use_threads(threads)
    working: set[int] = set()

    def work(part: int) -> None:
        working.add(part)
        sleep(0.001)
        working.remove(part)
        if part == bad:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {bad}"):
        spread(work, range(10))
    assert not working


@pytest.mark.usefixtures("one_thread_afterwards")
def test_pytorch_has_one_thread_but_where_it_may_use_all() -> None:
    use_threads(2)
    assert torch.get_num_threads() == 1
    with torch_threads():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("sizes", [[0], [5], [0, 0, 0], [3, 0, 4], [1] * 50, [1000, 1, 1], [0, 9]])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("one_thread_afterwards")
def test_ranges_hold_every_client_once(sizes: list[int], threads: int) -> None:
    use_threads(threads)
    ranges = client_ranges(np.concatenate([[0], np.cumsum(sizes)]))
    assert [c for first, end in ranges for c in range(first, end)] == list(range(len(sizes)))


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
from fedrec.kernels.threads import keep_freed_memory
{preparation}
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(20 * 2**20, np.int8) for _ in range(4)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)
