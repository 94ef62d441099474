"""Positions of targets among all items' scores."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu


def positions(
    scores: Float[Tensor, "b items"],
    target: Int[Tensor, " b"],
    seen: Int[Tensor, " cells"],
    hidden: Bool[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Return each target's position among its row's scores, from 1; ties share the mean position.

    The distinct flat cells in `seen` are excluded from the ranking; `hidden` marks targets that are
    excluded themselves.

    Raises:
        FloatingPointError: a target's score is not finite, so it has no position.
    """
    own = scores.gather(1, target[:, None])[:, 0]
    if not torch.isfinite(own).all():
        raise FloatingPointError("a score is not finite: training has diverged")
    if on_cpu(scores):
        above, level = (np.empty(len(scores), np.int64) for _ in range(2))
        count_above(scores.numpy(), own.numpy(), seen.numpy(), above, level)
        return (torch.from_numpy(above + level) + hidden + 1) / 2
    ranked = scores.flatten().index_fill(0, seen, -torch.inf).view_as(scores)
    return ((ranked > own[:, None]).sum(1) + (ranked >= own[:, None]).sum(1) + hidden + 1) / 2


@compiled()
def count_above(
    scores: Float[np.ndarray, "b items"],
    own: Float[np.ndarray, " b"],
    seen: Int[np.ndarray, " cells"],
    above: Int[np.ndarray, " b"],
    level: Int[np.ndarray, " b"],
) -> None:
    """Count the row's scores that are above its own, and those that are at least equal.

    The distinct flat cells in `seen` do not count.
    """
    n_items = scores.shape[1]
    for r in range(len(scores)):
        row, mine = scores[r], own[r]
        higher, not_lower = np.int32(0), np.int32(0)
        for i in range(n_items):
            higher += np.int32(row[i] > mine)
            not_lower += np.int32(row[i] >= mine)
        above[r], level[r] = higher, not_lower
    for cell in seen:
        r, score = cell // n_items, scores[cell // n_items, cell % n_items]
        above[r] -= score > own[r]
        level[r] -= score >= own[r]
