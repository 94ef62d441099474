"""A perceptron on pairs of user and item, and its gradient under BPR, by hand.

All functions work on one client's rows, (rows, width), and on a GPU also on a stack of clients,
(n, rows, width), each with its own parameters. On the CPU, all sums have a fixed order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.series import logistic
from fedrec.kernels.sums import inner_products
from fedrec.kernels.vectors import LANES, add_times


class Layer(NamedTuple):
    """A hidden layer: x ↦ ReLU(weight x + bias)."""

    weight: Float[Tensor, "*n out in"]
    bias: Float[Tensor, "*n out"]


class Perceptron(NamedTuple):
    """A perceptron on (user ⊕ item), or its gradient; the first layer is split at the ⊕."""

    user: Float[Tensor, "*n h d"]
    item: Float[Tensor, "*n h d"]
    bias: Float[Tensor, "*n h"]
    hidden: Sequence[Layer]
    out: Float[Tensor, "*n last"]


class Pairs(NamedTuple):
    """The embeddings of training pairs, or their gradients: of user, positives, then negatives."""

    user: Float[Tensor, "*n rows d"]  # one row for each pair, or a single row for all pairs
    item: Float[Tensor, "*n twice d"]


def bpr_gradients(
    net: Perceptron, pairs: Pairs, weight: Float[Tensor, "*n pairs"]
) -> tuple[Perceptron, Pairs, Float[Tensor, "*n"]]:
    """Return the gradients of Σ −weight · log σ(score of positive − score of negative), and it."""
    states = _states(net, pairs)
    positive, negative = scores(net, states[-1]).chunk(2, -1)
    slope, loss = _bpr(positive - negative, weight)
    return *_backward(net, pairs, states, torch.cat([slope, -slope], -1)), loss


def upper_states(net: Perceptron, first: Float[Tensor, "*n rows h"]) -> list[Tensor]:
    """Return the first layer's state and those of the layers above; `first` is overwritten."""
    states = [first.relu_()]
    for weight, bias in net.hidden:
        states.append(_product(states[-1], weight).add_(bias[..., None, :]).relu_())
    return states


def scores(net: Perceptron, state: Float[Tensor, "*n rows last"]) -> Float[Tensor, "*n rows"]:
    """Return the scores, given the states of the last layer."""
    return _product(state, net.out[..., None, :])[..., 0]


def _states(net: Perceptron, pairs: Pairs) -> list[Tensor]:
    """Return the states of all layers for all positives, then for all negatives."""
    of_user = _product(pairs.user, net.user).add_(net.bias[..., None, :])
    first = _product(pairs.item, net.item)
    for half in first.chunk(2, -2):
        half.add_(of_user)
    return upper_states(net, first)


def _backward(
    net: Perceptron, pairs: Pairs, states: list[Tensor], to_scores: Float[Tensor, "*n twice"]
) -> tuple[Perceptron, Pairs]:
    """Return the gradients of the parameters and of the embeddings, given those of the scores."""
    slopes = to_scores[..., None]
    to_out = _outer(slopes, states[-1])[..., 0, :]
    to_state, hidden = slopes * net.out[..., None, :], list[Layer]()
    for layer, below, above in zip(net.hidden[::-1], states[-2::-1], states[:0:-1], strict=True):
        to_state.mul_(above > 0)
        hidden.insert(0, Layer(_outer(to_state, below), sum_rows(to_state)))
        to_state = _product(to_state, layer.weight.mT)
    to_first = to_state.mul_(states[0] > 0)
    to_user = torch.add(*to_first.chunk(2, -2))
    if pairs.user.shape[-2] == 1:
        to_user = sum_rows(to_user)[..., None, :]
    whole = Perceptron(
        user=_outer(to_user, pairs.user),
        item=_outer(to_first, pairs.item),
        bias=sum_rows(to_first),
        hidden=hidden,
        out=to_out,
    )
    return whole, Pairs(_product(to_user, net.user.mT), _product(to_first, net.item.mT))


def _product(
    x: Float[Tensor, "*n rows k"], weight: Float[Tensor, "*n out k"]
) -> Float[Tensor, "*n rows out"]:
    """Return x · weightᵀ."""
    return inner_products(x, weight) if on_cpu(x) else x @ weight.mT


def _outer(a: Float[Tensor, "*n rows j"], b: Float[Tensor, "*n rows k"]) -> Float[Tensor, "*n j k"]:
    """Return the sum of the outer products of the rows."""
    return _product(a.mT, b.mT)


def sum_rows(x: Float[Tensor, "*n rows k"]) -> Float[Tensor, "*n k"]:
    """Return the sum of the rows."""
    return torch.from_numpy(x.numpy().sum(axis=0)) if on_cpu(x) else x.sum(-2)


def _bpr(
    margin: Float[Tensor, "*n pairs"], weight: Float[Tensor, "*n pairs"]
) -> tuple[Float[Tensor, "*n pairs"], Float[Tensor, "*n"]]:
    """Return the slope of −weight · log σ(margin) for each pair, and the sum of the pairs."""
    if not on_cpu(margin):
        return -weight * torch.sigmoid(-margin), -(weight * logsigmoid(margin)).sum(-1)
    slope = torch.empty_like(margin)
    loss = bpr_slopes(margin.numpy(), weight.numpy(), slope.numpy())
    return slope, margin.new_tensor(loss)


@compiled()
def bpr_slopes(
    margin: Float[np.ndarray, " pairs"],
    weight: Float[np.ndarray, " pairs"],
    slope: Float[np.ndarray, " pairs"],
) -> float:
    """slope = −weight · σ(−margin); return Σ −weight · log σ(margin)."""
    x, up, cost = np.zeros(LANES), np.empty(LANES, np.float32), np.empty(LANES)
    total = np.float64(0)
    for start in range(0, len(margin), LANES):
        some = min(LANES, len(margin) - start)
        for j in range(some):
            x[j] = np.float64(margin[start + j])
        logistic(x, -1.0, up, cost)
        for j in range(some):
            slope[start + j] = up[j] * weight[start + j]
            total += cost[j] * np.float64(weight[start + j])
    return total


def add_at(
    rows: Float[Tensor, "rows d"], place: Int[Tensor, " some"], values: Float[Tensor, "some d"]
) -> None:
    """rows[place] += values, one after another; places may repeat. For the CPU."""
    add_rows_at(rows.numpy(), place.numpy(), values.numpy())


@compiled()
def add_rows_at(
    rows: Float[np.ndarray, "rows d"],
    place: Int[np.ndarray, " some"],
    values: Float[np.ndarray, "some d"],
) -> None:
    """rows[place] += values."""
    for j in range(len(place)):
        add_times(np.float32(1), values[j], rows[place[j]])
