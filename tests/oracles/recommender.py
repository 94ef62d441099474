"""A client's loss as the paper writes it (Eq. 1), for autograd to differentiate."""

from typing import Any

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


def mf_gradients(
    user: Tensor, items: Tensor, positive: Tensor, negative: Tensor, **loss: Any
) -> tuple[Tensor, Tensor]:
    """Gradients of `mf_loss` for the client's own embedding and the whole item table."""
    user, items = user.clone().requires_grad_(), items.clone().requires_grad_()
    whole, _ = mf_loss(user, items, positive, negative, **loss)
    to_user, to_items = torch.autograd.grad(whole, [user, items])
    return to_user, to_items
