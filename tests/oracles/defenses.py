"""Uploads as whole vectors, and what the rules of `fedrec.reference.rules` do not compute."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedrec.reference.rules import krum_scores
from fedrec.updates import Gradient, Updates
from tests.oracles.dense import dense_items


def whole_uploads(updates: Updates) -> Tensor:
    """Each client's upload as one long vector, in double precision; noise is left out."""
    return torch.cat([dense_items(updates).flatten(1), updates.dense], dim=1).double()


def one_vector(gradient: Gradient) -> Tensor:
    """An aggregated gradient in the same order of coordinates."""
    return torch.cat([gradient.items.flatten(), gradient.dense]).double()


def mean_distance(points: Tensor, squared: bool) -> float:
    """The mean over all pairs of points, in double precision."""
    t, total = len(points), 0.0
    for i in range(t):
        lengths = (points[i].double() - points[i + 1 :].double()).norm(dim=1)
        total += float((lengths**2 if squared else lengths).sum())
    return total / (t * (t - 1) / 2)


def after_adam(start: Tensor, gradients: Sequence[Tensor], learning_rate: float) -> Tensor:
    """Where PyTorch's Adam gets from `start`, in double precision, with these gradients in turn."""
    parameter = start.double().clone()
    adam = torch.optim.Adam([parameter], lr=learning_rate)
    for gradient in gradients:
        parameter.grad = gradient.double()
        adam.step()
    return parameter


def row_krum(rows: Tensor, f: int) -> Tensor:
    """The row with the lowest score; f is as small as Krum needs it, and a sole row is the best."""
    if len(rows) < 2:
        return rows[0]
    f = min(f, max(len(rows) - 3, 0) // 2)
    scores = krum_scores(rows, max(len(rows) - f - 2, 1), squared=True)
    return rows[scores.index(min(scores))]


def by_touched_rows(updates: Updates, rule: Callable[[Tensor], Tensor]) -> Tensor:
    """A rule's result on the rows of an item, times their number, and the others, over all n."""
    stack, n = dense_items(updates).double(), len(updates)
    found = []
    for item in range(stack.shape[1]):
        touched = torch.zeros(n, dtype=torch.bool)
        touched[updates.owner[updates.item == item]] = True
        row = stack[~touched, item].sum(0)
        if touched.any():
            row = row + touched.sum() * rule(stack[touched, item])
        found.append(row / n)
    return torch.cat([*found, rule(updates.dense.double())])
