"""What defences are given, on a small federation, and uploads written out by hand."""

import torch
from torch import Tensor

from fedrec.testing.federation import client_view, server_view
from fedrec.updates import Updates

__all__ = ["client_view", "marked", "on_a_line", "server_view", "uploads"]


def uploads(items: list[list[list[float]]], weight: list[float] | None = None) -> Updates:
    """Uploads given as clients × items × d, with ridge 0 and without a dense part."""
    value = torch.tensor(items)
    n, n_items, d = value.shape
    return Updates(
        table=torch.zeros(n_items, d),
        owner=torch.arange(n).repeat_interleave(n_items),
        item=torch.arange(n_items).repeat(n),
        value=value.reshape(n * n_items, d),
        ridge=torch.zeros(n),
        dense=torch.zeros(n, 0),
        weight=torch.tensor(weight or [1.0] * n),
    )


def on_a_line(*points: float) -> Updates:
    """One upload for each point: a single item with d = 1."""
    return uploads([[[point]] for point in points])


def marked(n: int, *positions: int) -> Tensor:
    """A mask of n that is true at some positions."""
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, torch.tensor(positions), True)
