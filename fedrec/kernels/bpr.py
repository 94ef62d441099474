"""The gradient of BPR (Rendle et al. 2009; paper, Eq. 1) on inner products of embeddings."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from fedrec.kernels.compiled import Array, arrays, compiled, on_cpu
from fedrec.kernels.dropout import Dropout, pair_masks, product_scale
from fedrec.kernels.philox import ClientStreams, fill, row_blocks
from fedrec.kernels.series import logistic
from fedrec.kernels.threads import client_ranges, spread
from fedrec.kernels.vectors import LANES, every, folded, fused, load, no_lanes, store, where_kept


class Embeddings(NamedTuple):
    """The embeddings on both sides of the inner products."""

    user: Float[Array, "clients d"]
    table: Float[Array, "items d"]


class Pairs(NamedTuple):
    """Training pairs of some clients, client after client; see `models.base.Batch`."""

    clients: Int[Array, " clients"]  # ids
    sizes: Int[Array, " clients"]
    owner: Int[Array, " pairs"]  # position in `clients`
    positive: Int[Array, " pairs"]  # items
    negative: Int[Array, " pairs"]
    positive_row: Int[Array, " pairs"]  # the rows of `Sums` to which their gradients are added
    negative_row: Int[Array, " pairs"]


class Sums(NamedTuple):
    """Gradients summed by item row and by client, and the clients' losses."""

    rows: Float[Array, "rows d"]
    to_user: Float[Array, "clients d"]
    loss: Float[Array, " clients"]


def summed_gradients(
    embeddings: Embeddings,
    pairs: Pairs,
    n_rows: int,
    streams: ClientStreams,
    rate: float,
) -> Sums:
    """Return the gradient of each client's mean loss over its pairs, with dropout at `rate`."""
    user, table = embeddings
    sums = Sums(
        table.new_zeros(n_rows, table.shape[1]), torch.zeros_like(user), table.new_zeros(len(user))
    )
    add = _add_by_loop if on_cpu(table) else _add_by_tensors
    add(embeddings, pairs, streams, rate, sums)
    return sums


def _add_by_loop(
    embeddings: Embeddings,
    pairs: Pairs,
    streams: ClientStreams,
    rate: float,
    sums: Sums,
) -> None:
    bounds = np.concatenate([[0], pairs.sizes.cumsum(0).numpy()])
    dropout = Dropout.of(streams, pairs.clients.numpy(), rate)
    given = (arrays(embeddings), arrays(pairs), bounds, dropout, arrays(sums))
    spread(lambda part: add_bpr(*given, *part), client_ranges(bounds))


def _add_by_tensors(
    embeddings: Embeddings,
    pairs: Pairs,
    streams: ClientStreams,
    rate: float,
    sums: Sums,
) -> None:
    user, table = embeddings
    to_user, to_positive, to_negative, loss = bpr_gradients(
        user.index_select(0, pairs.owner),
        table.index_select(0, pairs.positive),
        table.index_select(0, pairs.negative),
        dropout_masks(streams, pairs, (3, table.shape[1]), rate),
        scale=product_scale(rate),
        size=pairs.sizes.index_select(0, pairs.owner),
    )
    sums.rows.index_add_(0, pairs.positive_row, to_positive)
    sums.rows.index_add_(0, pairs.negative_row, to_negative)
    sums.to_user.index_add_(0, pairs.owner, to_user)
    sums.loss.index_add_(0, pairs.owner, loss)


def dropout_masks(
    streams: ClientStreams, pairs: Pairs, shape: tuple[int, ...], rate: float
) -> Float[Tensor, "pairs *shape"]:
    """Return dropout's masks, 1 or 0 and not yet scaled: one of `shape` for each pair.

    Each element takes 16 random bits, and each pair of a client is a row of them.
    """
    before = pairs.sizes.cumsum(0) - pairs.sizes
    row = torch.arange(len(pairs.owner), device=pairs.owner.device) - before[pairs.owner]
    return pair_masks(streams, pairs.clients[pairs.owner], row, shape, rate)


def bpr_gradients(
    user: Float[Tensor, "pairs d"],
    positive: Float[Tensor, "pairs d"],
    negative: Float[Tensor, "pairs d"],
    masks: Float[Tensor, "pairs 3 d"],
    scale: float,
    size: Int[Tensor, " pairs"],
) -> tuple[
    Float[Tensor, "pairs d"],
    Float[Tensor, "pairs d"],
    Float[Tensor, "pairs d"],
    Float[Tensor, " pairs"],
]:
    """Return the gradients of −log σ(x) / size for user, positive and negative of each pair.

    Also returns the loss. x = scale · û·(p̂ − n̂), where a hat is a 0/1 mask m. With
    s = −scale · σ(−x) / size, the gradients are s·m_u∘(p̂ − n̂), s·m_p∘û and −s·m_n∘û. The first
    three arguments are overwritten.
    """
    for_user, for_positive, for_negative = masks.unbind(1)
    user.mul_(for_user)
    margin = positive.mul_(for_positive).sub_(negative.mul_(for_negative))
    x = (user * margin).sum(1).mul_(scale)
    slope = torch.sigmoid(-x).div_(size).mul_(-scale)[:, None]
    to_user = margin.mul_(for_user).mul_(slope)
    user.mul_(slope)
    return to_user, user * for_positive, (user * for_negative).neg_(), logsigmoid(x).div_(-size)


@compiled()
def add_bpr(
    embeddings: Embeddings,
    pairs: Pairs,
    bounds: Int[np.ndarray, " clients_plus_1"],
    dropout: Dropout,
    sums: Sums,
    first: int,
    end: int,
) -> None:
    """Add `bpr_gradients` of the clients from `first` to `end` to `sums`.

    Client c has the pairs from bounds[c] to bounds[c + 1]. A coordinate is dropped if its 16 random
    bits are below `dropout.below`. Each pair is a row of bits: user, then positive, then negative.
    """
    user, table = embeddings
    positive, negative = pairs.positive, pairs.negative
    positive_row, negative_row = pairs.positive_row, pairs.negative_row
    seeds, dropped_below, scale = dropout
    rows, to_user, loss = sums
    d, below, minus = table.shape[1], np.uint16(dropped_below), every(np.float32(-1))
    hats, margins = np.empty((LANES, d), np.float32), np.empty((LANES, d), np.float32)
    x, slope, cost = np.zeros(LANES), np.empty(LANES, np.float32), np.empty(LANES)
    blocks = row_blocks(3 * d, 16)
    # The rows of LANES pairs, and LANES more lanes: a vector may begin just before the end.
    words = np.empty(2 * LANES * blocks + LANES // 4, np.uint64)
    lanes = words.view(np.uint16)
    for c in range(first, end):
        count = bounds[c + 1] - bounds[c]
        total = np.float64(0)
        for start in range(bounds[c], bounds[c + 1], LANES):
            some = min(LANES, bounds[c + 1] - start)
            fill(seeds[c], (start - bounds[c]) * blocks, words[: 2 * some * blocks])
            for j in range(some):
                u, v, w = user[c], table[positive[start + j]], table[negative[start + j]]
                hat, margin, product, bit = hats[j], margins[j], no_lanes(), 8 * j * blocks
                for k in range(0, d, LANES):
                    of_hat = where_kept(load(u, k), lanes, bit + k, below)
                    plus = where_kept(load(v, k), lanes, bit + d + k, below)
                    less = where_kept(load(w, k), lanes, bit + 2 * d + k, below)
                    of_margin = fused(minus, less, plus)
                    store(hat, k, of_hat)
                    store(margin, k, of_margin)
                    product = fused(of_hat, of_margin, product)
                x[j] = np.float64(folded(product)) * scale
            logistic(x, -scale / count, slope, cost)
            for j in range(some):
                hat, margin, bit = hats[j], margins[j], 8 * j * blocks
                up, down, of_user = every(slope[j]), every(-slope[j]), to_user[c]
                plus, less = rows[positive_row[start + j]], rows[negative_row[start + j]]
                for k in range(0, d, LANES):
                    share = where_kept(up, lanes, bit + k, below)
                    store(of_user, k, fused(share, load(margin, k), load(of_user, k)))
                    share = where_kept(up, lanes, bit + d + k, below)
                    store(plus, k, fused(share, load(hat, k), load(plus, k)))
                    share = where_kept(down, lanes, bit + 2 * d + k, below)
                    store(less, k, fused(share, load(hat, k), load(less, k)))
                total += cost[j]
        loss[c] = total / max(count, 1)
