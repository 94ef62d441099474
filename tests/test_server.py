"""The server's step is Adam's (Kingma and Ba 2015, Algorithm 1)."""

import torch
from torch.testing import assert_close

from fedrec.models.base import Shared
from fedrec.server import Server
from fedrec.updates import Gradient


def test_two_steps_by_hand() -> None:
    server = Server(Shared(torch.tensor([[1.0]]), torch.tensor([5.0])), learning_rate=0.1)
    server.apply(Gradient(torch.tensor([[2.0]]), torch.tensor([0.0])))
    # The first step is the learning rate, whatever the gradient's size.
    assert_close(server.shared.items, torch.tensor([[0.9]]))
    server.apply(Gradient(torch.tensor([[-1.0]]), torch.tensor([0.0])))
    # m̂ = (0.9·0.2 − 0.1) / 0.19 = 0.421053, v̂ = (0.999·0.004 + 0.001) / 0.001999 = 2.499250
    assert_close(server.shared.items, torch.tensor([[0.9 - 0.1 * 0.421053 / 2.499250**0.5]]))
    assert server.shared.dense.tolist() == [5.0]
