"""What a process sets up before it simulates."""

import resource
import sys

import pytest
import torch

from fedrec.process import keep_freed_memory, prepare


def test_it_uses_the_threads_asked_for() -> None:
    before = torch.get_num_threads()
    prepare(2)
    try:
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as on Linux")
def test_large_arrays_that_are_freed_and_made_again_cost_no_new_pages() -> None:
    keep_freed_memory()

    def a_round() -> None:
        assert len([torch.ones(5 * 2**20) for _ in range(4)]) == 4

    a_round()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    a_round()
    pages = 80 * 2**20 // resource.getpagesize()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages / 10
