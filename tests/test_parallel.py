"""Work shared out among threads."""

import pytest
import torch

from fedrec.parallel import spread


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("parts", [0, 1, 2, 7, 50])
def test_results_keep_the_order_of_the_parts(threads: int, parts: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert spread(lambda x: x * x, iter(range(parts))) == [x * x for x in range(parts)]
    finally:
        torch.set_num_threads(before)
