"""Most and least similar rows, by hand and one by one."""

import pytest
import torch
from pytest import MonkeyPatch

from fedrec.kernels import partners as module
from fedrec.kernels.partners import partners


def test_by_hand() -> None:
    """A row's product with itself does not count, though it is the largest."""
    found = partners(torch.tensor([[3.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 5.0]]))
    assert found.nearest.tolist() == [1, 0, 3, 0]
    assert found.farthest.tolist() == [2, 2, 0, 0]


@pytest.mark.parametrize("at_once", [1, 40, 2**24])
def test_in_blocks_of_rows(at_once: int, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    table = torch.randn(23, 5, generator=torch.Generator().manual_seed(0))
    products = (table.double() @ table.double().T).tolist()
    found = partners(table)
    for i, row in enumerate(products):
        others = [product for j, product in enumerate(row) if j != i]
        assert row[found.nearest[i]] == max(others) and row[found.farthest[i]] == min(others)


def test_a_row_alone_is_its_own_partner() -> None:
    found = partners(torch.tensor([[2.0]]))
    assert (found.nearest.tolist(), found.farthest.tolist()) == ([0], [0])
