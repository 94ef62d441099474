"""FedAvg's weighted mean."""

import torch
from torch.testing import assert_close

from fedrec.defenses.base import ServerView
from fedrec.defenses.mean import Mean
from fedrec.models.base import Shared
from fedrec.rng import Streams
from fedrec.updates import Updates


def test_clients_count_by_their_samples() -> None:
    """One item; client 0 (1 sample) uploads 6, client 1 (2 samples) uploads ridge 0.5 · 3."""
    received = Updates(
        table=torch.tensor([[3.0]]),
        owner=torch.tensor([0]),
        item=torch.tensor([0]),
        value=torch.tensor([[6.0]]),
        ridge=torch.tensor([0.0, 0.5]),
        dense=torch.tensor([[3.0], [0.0]]),
        weight=torch.tensor([1.0, 2.0]),
    )
    view = ServerView(Shared(received.table, torch.zeros(1)), Streams(0))
    gradient = Mean().reduce(received, view)
    assert_close(gradient.items, torch.tensor([[3.0]]))  # (6 + 2 · 1.5) / 3
    assert_close(gradient.dense, torch.tensor([1.0]))
