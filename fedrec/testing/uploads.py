"""Uploads as a dense (n, items, d) stack, which the engine never builds, and random uploads."""

import torch
from torch import Tensor

from fedrec.updates import Updates


def dense_items(updates: Updates) -> Tensor:
    """Return every client's item gradient, over all items."""
    stack = updates.ridge[:, None, None] * updates.table  # (n, items, d)
    for owner, item, value in zip(updates.owner, updates.item, updates.value, strict=True):
        stack[owner, item] += value
    return stack


def random_updates(
    n: int = 4, items: int = 6, d: int = 3, params: int = 2, seed: int = 0
) -> Updates:
    """Return some clients' random uploads, each touching about half of the items."""
    generator = torch.Generator().manual_seed(seed)
    touched = torch.rand(n, items, generator=generator) < 0.5
    owner, item = touched.nonzero(as_tuple=True)
    return Updates(
        table=torch.randn(items, d, generator=generator),
        owner=owner,
        item=item,
        value=torch.randn(len(owner), d, generator=generator),
        ridge=torch.rand(n, generator=generator),
        dense=torch.randn(n, params, generator=generator),
        weight=torch.arange(1, n + 1).float(),
    )
