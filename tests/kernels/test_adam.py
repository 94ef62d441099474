"""Adam's steps, against PyTorch's own optimiser."""

import subprocess
import sys

import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.kernels.adam import Adam

SHAPES = [(5, 3), (4,), (0,)]  # MF has no dense parameters
RATE = 0.01


def parameters() -> list[Tensor]:
    return [torch.randn(s, generator=torch.Generator().manual_seed(0)) for s in SHAPES]


def gradients(step: int) -> list[Tensor]:
    return [torch.randn(s, generator=torch.Generator().manual_seed(step + 1)) for s in SHAPES]


def test_steps_are_those_of_pytorchs_optimiser() -> None:
    ours, theirs = parameters(), parameters()
    adam, optimiser = Adam(ours, RATE), torch.optim.Adam(theirs, RATE, fused=True)
    for step in range(5):
        adam.step(gradients(step))
        for parameter, gradient in zip(theirs, gradients(step), strict=True):
            parameter.grad = gradient
        optimiser.step()
        assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_one_that_is_restored_goes_on_like_the_other() -> None:
    first, second = parameters(), parameters()
    adam, twin = Adam(first, RATE), Adam(second, RATE)
    adam.step(gradients(0))
    for mine, other in zip(second, first, strict=True):
        mine.copy_(other)
    twin.restore({name: value.clone() for name, value in adam.state().items()})
    for one in (adam, twin):
        one.step(gradients(1))
    assert all(map(torch.equal, first, second))


def test_a_run_does_not_import_pytorchs_compiler() -> None:
    """It would take 2 s of every job."""
    program = """
import sys
from tests.training.test_resume import CELLS, SPLIT, run_cell
for name in ("union", "sas-rec"):
    run_cell(CELLS[name], SPLIT, "cpu")
print("torch._dynamo" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "False"
