"""A client's loss as the paper writes it (Eq. 1), for autograd to differentiate."""

import torch
from torch import Tensor


def mf_loss(
    user: Tensor,
    items: Tensor,
    positive: Tensor,
    negative: Tensor,
    masks: Tensor,
    dropout: float,
    penalty: float,
) -> tuple[Tensor, Tensor]:
    """The whole loss and its BPR part; `masks` is (pairs, 3, d), `penalty` the factor of ‖Θ‖²."""
    keep = masks / (1 - dropout)
    u, p, n = user * keep[:, 0], items[positive] * keep[:, 1], items[negative] * keep[:, 2]
    bpr = -torch.log(torch.sigmoid((u * p).sum(1) - (u * n).sum(1))).mean()
    return bpr + penalty * (items.square().sum() + user.square().sum()), bpr
