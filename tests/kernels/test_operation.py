"""An operation runs where its tensors are."""

import sys

import pytest
import torch

from fedrec.kernels.device.gradients import put_rows
from fedrec.kernels.device.operation import Operation


def test_on_the_cpu_it_is_its_twin() -> None:
    assert isinstance(put_rows, Operation)
    target = torch.zeros(3, 2)
    put_rows(target, torch.tensor([2]), torch.ones(1, 2))
    assert target.tolist() == [[0, 0], [0, 0], [1, 1]]


def test_without_triton_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in [name for name in sys.modules if name.startswith("fedrec.kernels.triton.")]:
        monkeypatch.delitem(sys.modules, name)
    assert isinstance(put_rows, Operation)
    with pytest.raises(RuntimeError, match="run with --device cpu"):
        put_rows.kernel  # noqa: B018
