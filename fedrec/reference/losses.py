"""A client's loss as in the paper (Eq. 1 and 4), to be differentiated by autograd."""

from collections.abc import Mapping
from math import prod, sqrt

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt32, UInt64
from torch import Tensor
from torch.nn.functional import (
    cosine_similarity,
    cross_entropy,
    kl_div,
    layer_norm,
    logsigmoid,
    relu,
)

from fedrec.kernels.device.transformer import NORM_EPS
from fedrec.models.ncf import NCF
from fedrec.models.sas_rec import SASRec

Named = Mapping[str, Tensor]


def mf_loss(
    user: Float[Tensor, " d"],
    items: Float[Tensor, "items d"],
    positive: Int[Tensor, " pairs"],
    negative: Int[Tensor, " pairs"],
    masks: Float[Tensor, "pairs 3 d"],
    dropout: float,
    penalty: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the whole loss and its BPR part; `masks` is 0 or 1, `penalty` the factor of ‖Θ‖²."""
    keep = masks / (1 - dropout)
    u, p, n = user * keep[:, 0], items[positive] * keep[:, 1], items[negative] * keep[:, 2]
    bpr = -logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()
    return bpr + penalty * (items.square().sum() + user.square().sum()), bpr


def ncf_loss(
    model: NCF,
    user: Float[Tensor, " d"],
    items: Float[Tensor, "items d"],
    dense: Float[Tensor, " params"],
    positive: Int[Tensor, " pairs"],
    negative: Int[Tensor, " pairs"],
    masks: Float[Tensor, "pairs 3 d"],
) -> Float[Tensor, ""]:
    """Return the mean BPR loss; `masks` is 0 or 1."""
    net, keep = _named(model, dense), masks / (1 - model.dropout)
    u, p, n = user * keep[:, 0], items[positive] * keep[:, 1], items[negative] * keep[:, 2]
    return -logsigmoid(ncf_score(net, u, p) - ncf_score(net, u, n)).mean()


def ncf_score(
    net: Named, user: Float[Tensor, "*pairs d"], item: Float[Tensor, "*pairs d"]
) -> Float[Tensor, "*pairs"]:
    """Return NCF's score of each pair: a perceptron on the two embeddings in a row."""
    weight = torch.cat([net["0.user"], net["0.item"]], 1)
    state = relu(torch.cat([user, item], -1) @ weight.T + net["0.bias"])
    for layer in range(1, len(net) // 2 - 1):
        state = relu(state @ net[f"{layer}"].T + net[f"{layer}.bias"])
    return state @ net["out"]


def pieck_terms(
    user: Float[Tensor, " k"],
    items: Float[Tensor, "items d"],
    pairs: Int[Tensor, " both"],
    popular: Int[Tensor, " p"],
    falling: str,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return −mean_j Σ_k w_k cos(p_k, v_j) and −Σ_k w_k KL(softmax(u) ‖ softmax(p_k)) / d.

    `pairs` are the positives and negatives of a client; v_j are those of them that are not popular.
    """
    place = torch.arange(len(popular), 0, -1.0)
    weight = place.square() if falling == "squares" else place.exp()
    weight, near = weight / weight.sum(), items.detach()[popular]
    near_items, apart = torch.zeros(()), torch.zeros(())
    others = pairs[~torch.isin(pairs, popular)]
    if len(others):
        found = cosine_similarity(near[:, None], items[others][None], dim=2).mean(1)
        near_items = -(weight * found).sum()
    if len(user):
        target = user.softmax(0).expand_as(near)
        found = kl_div(near.log_softmax(1), target, reduction="none").mean(1)
        apart = -(weight * found).sum()
    return near_items, apart


def candidates(
    history: Int[np.ndarray, " anchors"],
    n_items: int,
    drawn: UInt32[np.ndarray, "anchors draws"],
) -> Int[np.ndarray, "anchors c"]:
    """Return each item of a history, another one as its positive, and items not in the history.

    A draw below n takes 32 random bits b, and is ⌊b · n / 2³²⌋.
    """
    size, bits = len(history), drawn.astype(np.uint64)
    outside = np.setdiff1d(np.arange(n_items), history)
    others = outside if len(outside) else np.arange(n_items)
    step = 1 + _below(size - 1, bits[:, :1])
    positive = history[(np.arange(size)[:, None] + step) % size]
    return np.hstack([history[:, None], positive, others[_below(len(others), bits[:, 1:])]])


def _below(n: int, bits: UInt64[np.ndarray, "a b"]) -> Int[np.ndarray, "a b"]:
    return (bits * np.uint64(n) >> np.uint64(32)).astype(np.int64)


def info_nce(
    items: Float[Tensor, "items d"],
    drawn: Int[Tensor, "anchors c"],
    masks: Bool[Tensor, "anchors c d"],
    dropout: float,
    mean: bool,
) -> Float[Tensor, ""]:
    """Return Eq. 4 over the anchors; the second axis holds anchor, positive and negatives."""
    embedding = items[drawn] * masks / (1 - dropout)
    scores = (embedding[:, 1:] * embedding[:, :1]).sum(2)
    first = torch.zeros(len(scores), dtype=torch.long)
    return cross_entropy(scores, first, reduction="mean" if mean else "sum")


def sas_rec_loss(
    model: SASRec,
    items: Float[Tensor, "items d"],
    dense: Float[Tensor, " params"],
    history: Int[Tensor, " pairs"],
    positive: Int[Tensor, " pairs"],
    negative: Int[Tensor, " pairs"],
    kept: Named,
) -> Float[Tensor, ""]:
    """Return the mean BPR loss over the latest positions; 0 for a history of one item."""
    count = min(len(history) - 1, model.length)
    if count == 0:
        return 0 * dense.sum()
    state = sas_rec_states(model, items, dense, history[-count - 1 : -1], kept)
    margin = items[positive[-count:]] - items[negative[-count:]]
    return -logsigmoid((state * margin).sum(1)).mean()


def sas_rec_states(
    model: SASRec,
    items: Float[Tensor, "items d"],
    dense: Float[Tensor, " params"],
    read: Int[Tensor, " time"],
    kept: Named,
) -> Float[Tensor, "time d"]:
    """Return the state after each item read; `kept` holds dropout's masks by name."""
    own = _named(model, dense)
    x = items[read] * sqrt(model.dim) + own["positions"][-len(read) :]
    x = _drop(model, x, "input", kept)
    for block in map(str, range(model.blocks)):
        x = _attend(model, x, block, own, kept)
        x = _norm(x, f"{block}.feed", own)
        inner = _drop(model, relu(_linear(x, f"{block}.in", own)), f"{block}.in", kept)
        x = _drop(model, _linear(inner, f"{block}.out", own), f"{block}.out", kept) + x
    return _norm(x, "last", own)


def _attend(model: SASRec, x: Tensor, block: str, own: Named, kept: Named) -> Tensor:
    """Apply causal attention of the normalised states to the states, by head, with a residual."""
    queries = _norm(x, f"{block}.attention", own)
    parts = zip(
        *(
            _linear(y, f"{block}.{layer}", own).chunk(model.heads, dim=1)
            for y, layer in ((queries, "query"), (x, "key"), (x, "value"))
        ),
        strict=True,
    )
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    name, mixed = f"{block}.attention", []
    for head, (q, k, v) in enumerate(parts):
        weights = (q @ k.T / sqrt(q.shape[1])).masked_fill(later, -torch.inf).softmax(1)
        mask = {name: kept[name][head]} if name in kept else {}
        mixed.append(_drop(model, weights, name, mask) @ v)
    return torch.cat(mixed, dim=1) + queries


def _named(model: SASRec | NCF, dense: Float[Tensor, " params"]) -> Named:
    parts = dense.split([prod(shape) for shape in model.shapes.values()])
    return {
        name: part.view(shape)
        for (name, shape), part in zip(model.shapes.items(), parts, strict=True)
    }


def _drop(model: SASRec, x: Tensor, name: str, kept: Named) -> Tensor:
    return x * kept[name] / (1 - model.dropout) if name in kept else x


def _linear(x: Tensor, name: str, own: Named) -> Tensor:
    return x @ own[name] + own[f"{name}.bias"]


def _norm(x: Tensor, name: str, own: Named) -> Tensor:
    return layer_norm(x, x.shape[-1:], eps=NORM_EPS) * own[f"{name}.scale"] + own[f"{name}.shift"]
