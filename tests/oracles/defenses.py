"""Defences on the dense (n, coordinates) stack of whole uploads, one client or pair at a time."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedrec.updates import Gradient, Updates
from tests.oracles.dense import dense_items


def whole_uploads(updates: Updates) -> Tensor:
    """Each client's upload as one long vector, in double precision; noise is left out."""
    return torch.cat([dense_items(updates).flatten(1), updates.dense], dim=1).double()


def one_vector(gradient: Gradient) -> Tensor:
    """An aggregated gradient in the same order of coordinates."""
    return torch.cat([gradient.items.flatten(), gradient.dense]).double()


def weighted_mean(stack: Tensor, weight: Tensor) -> Tensor:
    """Σ w g / Σ w."""
    total = sum(w * g for w, g in zip(weight.double(), stack, strict=True))
    return total / weight.double().sum()


def trimmed_mean(stack: Tensor, trim: int) -> Tensor:
    """Each coordinate's values sorted, the ends cut off, and the rest averaged."""
    means = []
    for column in stack.T.tolist():
        middle = sorted(column)[trim : len(column) - trim]
        means.append(sum(middle) / len(middle))
    return torch.tensor(means, dtype=torch.float64)


def krum_scores(stack: Tensor, neighbours: int, squared: bool) -> list[float]:
    """Sums of the (squared) distances to the nearest others."""
    scores = []
    for i, mine in enumerate(stack):
        others = [float((mine - g).norm()) for j, g in enumerate(stack) if j != i]
        nearest = sorted(others)[:neighbours]
        scores.append(sum(x**2 if squared else x for x in nearest))
    return scores


def clipped(stack: Tensor, bound: float) -> Tensor:
    """Each vector, shortened to the bound where it is longer."""
    return torch.stack([g if g.norm() <= bound else g * (bound / g.norm()) for g in stack])


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


def median(stack: Tensor) -> Tensor:
    """The middle value of each coordinate, or the mean of the two middle ones."""
    return trimmed_mean(stack, (len(stack) - 1) // 2)


def geometric_median(stack: Tensor, weight: Tensor, iterations: int, smoothing: float) -> Tensor:
    """The weighted mean, then means weighted by closeness to the last one."""
    share = weight.double() / weight.double().sum()
    z = share @ stack
    for _ in range(iterations):
        pull = [
            float(a) / max(float((g - z).norm()), smoothing)
            for a, g in zip(share, stack, strict=True)
        ]
        z = sum(p * g for p, g in zip(pull, stack, strict=True)) / sum(pull)
    return z


def projections(points: Tensor) -> Tensor:
    """Squared projections of the centred points on their top right singular vector."""
    centred = points - points.mean(0)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ right[0]).square()


def iterated_krum(stack: Tensor, number: int, f: int) -> list[int]:
    """The best by Krum's score, then the best of the others, and so on, in this order."""
    left, chosen = list(range(len(stack))), []
    for _ in range(number):
        scores = krum_scores(stack[left], max(len(left) - f - 2, 2), squared=True)
        chosen.append(left.pop(scores.index(min(scores))))
    return chosen


def mean_near_median(stack: Tensor, count: int) -> Tensor:
    """In each coordinate, the mean of the values that come first by their distance to the median.

    Of two values that are equally close, the lower comes first.
    """
    means = []
    for column, middle in zip(stack.T.tolist(), median(stack).tolist(), strict=True):
        near = sorted(sorted(column), key=lambda value: abs(value - middle))[:count]
        means.append(sum(near) / count)
    return torch.tensor(means, dtype=torch.float64)


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


def fools_gold_factors(stack: Tensor, kappa: float) -> list[float]:
    """Similarities, pardoning, rescaling and logit, one pair of uploads after another."""
    n = len(stack)
    similar = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            lengths = float(stack[i].norm() * stack[j].norm())
            if i != j and lengths > 0:
                similar[i][j] = float(stack[i] @ stack[j]) / lengths
    most = [max(row) for row in similar]
    for i in range(n):
        for j in range(n):
            if most[i] < most[j]:
                similar[i][j] *= most[i] / most[j]
    alone = [1 - max(row) for row in similar]
    factors = []
    for own in alone:
        share = min(own / max(alone), 0.99)
        logit = kappa * (math.log(share / (1 - share)) + 0.5) if share > 0 else 0
        factors.append(min(max(logit, 0), 1))
    return factors


def nearest_means(stack: Tensor, count: int) -> Tensor:
    """For each vector, the mean of itself and the nearest others, `count` in all."""
    means = []
    for mine in stack:
        distance = [float((mine - other).norm()) for other in stack]
        order = sorted(range(len(stack)), key=lambda i: distance[i])
        means.append(sum(stack[i] for i in order[:count]) / count)
    return torch.stack(means)


def group_means(stack: Tensor, holder: Tensor) -> Tensor:
    """The mean of the vectors in each group; `holder` has the group of each vector."""
    groups = sorted(set(holder.tolist()))
    return torch.stack([stack[holder == group].mean(0) for group in groups])


def centred_clipping(stack: Tensor, center: Tensor, radius: float, iterations: int) -> Tensor:
    """From a center, steps by the mean of the differences, clipped to the radius."""
    for _ in range(iterations):
        center = center + clipped(stack - center, radius).mean(0)
    return center
