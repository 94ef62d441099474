"""Rules of defences on a dense (n, coordinates) stack of whole uploads, one pair after another."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Stack = Float[Tensor, "n coordinates"]
Vector = Float[Tensor, " coordinates"]


def weighted_mean(stack: Stack, weight: Float[Tensor, " n"]) -> Vector:
    """Return Σ w g / Σ w."""
    mean, weight = torch.zeros_like(stack[0]), weight.to(stack.dtype)
    for share, g in zip(weight / weight.sum(), stack, strict=True):
        mean += share * g
    return mean


def clipped(stack: Stack, bound: float) -> Stack:
    """Return each vector, shortened to the bound if it is longer."""
    return torch.stack([g if g.norm() <= bound else g * (bound / g.norm()) for g in stack])


def trimmed_mean(stack: Stack, trim: int) -> Vector:
    """Sort the values of each coordinate, cut off `trim` at both ends, and average the rest."""
    return stack.sort(dim=0).values[trim : len(stack) - trim].mean(0)


def median(stack: Stack) -> Vector:
    """Return the middle value of each coordinate, or the mean of the two middle ones."""
    return trimmed_mean(stack, (len(stack) - 1) // 2)


def mean_near_median(stack: Stack, count: int) -> Vector:
    """Return in each coordinate the mean of the `count` values that are closest to the median.

    Of two values that are equally close, the lower comes first.
    """
    values = stack.sort(dim=0).values
    near = (values - median(stack)).abs().argsort(dim=0, stable=True)[:count]
    return values.gather(0, near).mean(0)


def geometric_median(
    stack: Stack, weight: Float[Tensor, " n"], iterations: int, smoothing: float
) -> Vector:
    """Return the weighted mean after some means weighted by closeness to the last one."""
    z = weighted_mean(stack, weight)
    for _ in range(iterations):
        apart = torch.stack([(g - z).norm() for g in stack])
        z = weighted_mean(stack, weight / apart.clamp(min=smoothing))
    return z


def centred_clipping(stack: Stack, center: Vector, radius: float, iterations: int) -> Vector:
    """Step from a center by the mean of the differences, clipped to the radius."""
    for _ in range(iterations):
        center = center + clipped(stack - center, radius).mean(0)
    return center


def distances(stack: Stack) -> Float[Tensor, "n n"]:
    """Return the distance of each pair, each difference written out."""
    return torch.stack([torch.stack([(mine - g).norm() for g in stack]) for mine in stack])


def krum_scores(stack: Stack, neighbours: int, squared: bool) -> list[float]:
    """Return the sums of the (squared) distances to the nearest others."""
    return _sums_of_nearest(distances(stack), neighbours, squared)


def _sums_of_nearest(
    apart: Float[Tensor, "n n"], neighbours: int, squared: bool = True
) -> list[float]:
    rows = [row[:i] + row[i + 1 :] for i, row in enumerate(apart.double().tolist())]
    return [sum((x**2 if squared else x for x in sorted(row)[:neighbours]), 0.0) for row in rows]


def best(scores: Sequence[float], count: int) -> list[int]:
    """Return the places of the lowest scores; of equal scores, the first."""
    return sorted(range(len(scores)), key=lambda i: scores[i])[:count]


def iterated_krum(stack: Stack, number: int, f: int) -> list[int]:
    """Return the best by Krum's score, then the best of the others, and so on, in this order."""
    apart, left, chosen = distances(stack), list(range(len(stack))), list[int]()
    for _ in range(number):
        scores = _sums_of_nearest(apart[left][:, left], max(len(left) - f - 2, 2))
        chosen.append(left.pop(best(scores, 1)[0]))
    return chosen


def nearest(stack: Stack, count: int) -> list[list[int]]:
    """Return for each vector itself and the nearest others, `count` in all."""
    return [best(row, count) for row in distances(stack).tolist()]


def group_means(stack: Stack, holder: Int[Tensor, " n"]) -> Float[Tensor, "groups coordinates"]:
    """Return the mean of the vectors in each group; `holder` has the group of each vector."""
    groups = sorted(set(holder.tolist()))
    return torch.stack([stack[holder == group].mean(0) for group in groups])


def projections(points: Stack) -> Float[Tensor, " n"]:
    """Return squared projections of the centred points on their top right singular vector."""
    centred = points - points.mean(0)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ right[0]).square()


def fools_gold_factors(stack: Stack, kappa: float) -> list[float]:
    """Return FoolsGold's factors: similarities, pardoning, rescaling and logit, pair by pair."""
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
        logit = kappa * (math.log(share / (1 - share)) + 0.5) if share > 0 else 0.0
        factors.append(min(max(logit, 0.0), 1.0))
    return factors
