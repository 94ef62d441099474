"""A client's loss as the paper writes it (Eq. 1), for autograd to differentiate."""

from typing import Any

import torch
from torch import Tensor

from fedrec.reference.losses import mf_loss


def mf_gradients(
    user: Tensor, items: Tensor, positive: Tensor, negative: Tensor, **loss: Any
) -> tuple[Tensor, Tensor]:
    """Gradients of `mf_loss` for the client's own embedding and the whole item table."""
    user, items = user.clone().requires_grad_(), items.clone().requires_grad_()
    whole, _ = mf_loss(user, items, positive, negative, **loss)
    to_user, to_items = torch.autograd.grad(whole, [user, items])
    return to_user, to_items


def sasrec_states(
    items: Tensor, dense: dict[str, Tensor], read: list[int], length: int, heads: int, kept: Any
) -> Tensor:
    """SASRec's state after each item that one client reads, position by position.

    `kept(name)` is a factor for what dropout acts on: 0, or 1 / (1 − rate).
    """
    d, blocks = items.shape[1], sum(name.endswith("query") for name in dense)
    x = [
        (items[item] * d**0.5 + dense["positions"][length - len(read) + t]) * kept("input")[t]
        for t, item in enumerate(read)
    ]

    def norm(vector: Tensor, name: str) -> Tensor:
        centered = vector - vector.mean()
        unit = centered / (centered.square().mean() + 1e-8).sqrt()
        return unit * dense[f"{name}.scale"] + dense[f"{name}.shift"]

    def linear(vector: Tensor, name: str) -> Tensor:
        return vector @ dense[name] + dense[f"{name}.bias"]

    for b in range(blocks):
        queries = [norm(vector, f"{b}.attention") for vector in x]
        mixed = []
        for t, query in enumerate(queries):
            parts = []
            for h in range(heads):
                mine = slice(h * d // heads, (h + 1) * d // heads)
                q = linear(query, f"{b}.query")[mine]
                k = torch.stack([linear(vector, f"{b}.key")[mine] for vector in x[: t + 1]])
                v = torch.stack([linear(vector, f"{b}.value")[mine] for vector in x[: t + 1]])
                weights = (k @ q / (d // heads) ** 0.5).softmax(0)
                parts.append((weights * kept(f"{b}.attention")[h, t, : t + 1]) @ v)
            mixed.append(torch.cat(parts) + query)
        x = []
        for t, vector in enumerate(mixed):
            inner = norm(vector, f"{b}.feed")
            hidden = linear(inner, f"{b}.in").clamp(min=0) * kept(f"{b}.in")[t]
            x.append(linear(hidden, f"{b}.out") * kept(f"{b}.out")[t] + inner)
    return torch.stack([norm(vector, "last") for vector in x])
