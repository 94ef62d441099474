"""The contrastive task: its draws, and its closed-form gradient (paper, section 4.2, Eq. 4)."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64
from torch import Tensor

from fedrec.kernels.compiled import Array, compiled, on_cpu
from fedrec.kernels.dropout import Dropout
from fedrec.kernels.philox import (
    HALF,
    ClientStreams,
    Stream,
    fill,
    row_blocks,
    row_buffer,
    tensor_lanes,
)
from fedrec.kernels.series import exponentials
from fedrec.kernels.threads import client_ranges, spread
from fedrec.kernels.vectors import LANES, copy, dot, fused, padded

SHARES = 4  # groups of clients that are distributed over threads


class Lists(NamedTuple):
    """Items of some clients, client after client."""

    bounds: Int[np.ndarray, " clients_plus_1"]  # where each client's items begin; the last one ends
    item: Int[np.ndarray, " flat"]


class ItemRows(NamedTuple):
    """Item gradients of some clients, client after client."""

    bounds: Int[np.ndarray, " clients_plus_1"]
    item: Int[Array, " rows"]
    value: Float[Array, "rows d"]


class Task(NamedTuple):
    """The task of some clients, client after client: each has no anchors, or at least two."""

    bounds: Int[np.ndarray, " clients_plus_1"]  # where each client's anchors begin
    drawn: Int[np.ndarray, "anchors c"]  # each anchor, its positive and its negatives
    dropout: Dropout
    shares: Float[np.ndarray, " clients"]  # weight of each anchor's loss


def draw(
    histories: Lists,
    rows: Lists,
    n_items: int,
    negatives: int,
    seeds: UInt64[np.ndarray, "clients 2"],
) -> tuple[Int[np.ndarray, "anchors c"], Int[np.ndarray, " clients"]]:
    """Return each anchor's candidates, and how many items each client touches including them.

    A client's anchors are its history, with no items or at least two; it touches `rows` anyway.
    """
    drawn = np.empty((len(histories.item), negatives + 2), np.int64)
    touched = np.zeros(len(seeds), np.int64)
    given = (histories, rows, n_items, seeds, drawn, touched)
    spread(lambda some: draw_all(*given, *some), client_ranges(histories.bounds))
    return drawn, touched


def with_task(
    table: Float[Tensor, "items d"],
    plain: ItemRows,
    task: Task,
    touched: Int[np.ndarray, " clients"],
) -> ItemRows:
    """Return clients' item gradients with those of the task added, by ascending item per client."""
    bounds = np.concatenate([[0], np.cumsum(touched)])
    rows = int(bounds[-1])
    value = plain.value.new_empty(rows, table.shape[1])
    out = ItemRows(bounds, torch.empty(rows, dtype=torch.int64), value)
    fill = _fill_by_loop if on_cpu(table) else _fill_by_tensors
    order = np.argsort(-np.diff(task.bounds), kind="stable")
    # Dealt out in this order, the shares are even.
    spread(partial(fill, table, plain, task, out), [order[i::SHARES] for i in range(SHARES)])
    return out._replace(item=out.item.to(table.device))


def gradient_of_one(table: Float[Tensor, "items d"], task: Task) -> Float[Tensor, "items d"]:
    """Return the gradient of a single client's task, over all items."""
    total = torch.zeros_like(table)
    if not on_cpu(table):
        _add_by_tensors(table, task, 0, total)
        return total
    place, share = np.arange(len(table)), task.shares[0]
    add_info_nce(table.numpy(), task.drawn, task.dropout, 0, share, place, total.numpy())
    return total


def _fill_by_loop(
    table: Float[Tensor, "items d"],
    plain: ItemRows,
    task: Task,
    out: ItemRows,
    clients: Int[np.ndarray, " some"],
) -> None:
    own, written = (
        ItemRows(rows.bounds, rows.item.numpy(), rows.value.numpy()) for rows in (plain, out)
    )
    contrastive_rows(table.numpy(), own, task, written, clients)


def _fill_by_tensors(
    table: Float[Tensor, "items d"],
    plain: ItemRows,
    task: Task,
    out: ItemRows,
    clients: Int[np.ndarray, " some"],
) -> None:
    for c in clients:
        rows, written = (slice(b[c], b[c + 1]) for b in (plain.bounds, out.bounds))
        drawn = task.drawn[task.bounds[c] : task.bounds[c + 1]].ravel()
        touched = np.union1d(plain.item[rows].cpu().numpy(), drawn)
        out.item[written] = torch.from_numpy(touched)
        total = torch.zeros_like(table).index_add_(0, plain.item[rows], plain.value[rows])
        _add_by_tensors(table, task, int(c), total)
        out.value[written] = total[out.item[written].to(total.device)]


def _add_by_tensors(
    table: Float[Tensor, "items d"], task: Task, c: int, total: Float[Tensor, "items d"]
) -> None:
    """Add the gradient of client c's task to `total`."""
    seeds, below, scale = task.dropout
    drawn = task.drawn[task.bounds[c] : task.bounds[c + 1]]
    items = torch.from_numpy(drawn).to(table.device)
    kept = candidate_masks(seeds[c], (*items.shape, table.shape[1]), below, table.device)
    gradient = info_nce_gradient(table[items], kept, scale, float(task.shares[c]))
    total.index_add_(0, items.view(-1), gradient.view(-1, table.shape[1]))


def candidate_masks(
    seed: UInt64[np.ndarray, "2"], shape: tuple[int, int, int], below: int, device: torch.device
) -> Bool[Tensor, "anchors c d"]:
    """Return dropout's masks of each anchor and its candidates, which are a row of 16 bits each."""
    stream, (anchors, c, d) = Stream.of_seed(seed), shape
    row = torch.arange(anchors, device=device)
    client, streams = torch.full_like(row, stream.client), ClientStreams(stream.key, stream.round)
    return (tensor_lanes(streams, client, row, c * d, 16) >= below).view(shape)


def info_nce_gradient(
    embedding: Float[Tensor, "anchors c d"],
    kept: Bool[Tensor, "anchors c d"],
    scale: float,
    share: float,
) -> Float[Tensor, "anchors c d"]:
    """Return gradients of share · Σ −log softmax(s)₁ for each anchor and its candidates.

    The second axis holds the anchor a, its positive c₁ and its negatives; s_j = scale · â·ĉ_j,
    where a hat is a 0/1 mask. With q = softmax(s) − [j = 1], the gradients are share · scale times
    Σ_j q_j ĉ_j for a and q_j â for c_j, under the masks. `embedding` is overwritten.
    """
    embedding.mul_(kept)
    anchor, candidates = embedding[:, 0].clone(), embedding[:, 1:]
    q = torch.bmm(candidates, anchor[:, :, None])[..., 0].mul_(scale).softmax(1)
    q[:, 0] -= 1
    q.mul_(share * scale)
    embedding[:, 0] = torch.bmm(q[:, None], candidates)[:, 0]
    embedding[:, 1:] = q[:, :, None] * anchor[:, None]
    return embedding.mul_(kept)


@compiled(inline="always")
def number_below(bits: np.uint32, n: int) -> np.int64:
    """Convert 32 random bits to an integer below n: ⌊bits · n / 2³²⌋."""
    return np.int64((np.uint64(bits) * np.uint64(n)) >> HALF)


@compiled()
def draw_candidates(
    history: Int[np.ndarray, " anchors"],
    n_items: int,
    negatives: int,
    seed: UInt64[np.ndarray, "2"],
) -> Int[np.ndarray, "anchors c"]:
    """Return each anchor of a history, another of its items, and items not in it.

    Each draw takes 32 random bits, and an anchor's draws are a row. The first draw selects among
    the other positions of the history; the rest select among the items missing from it (among all,
    if none is missing).
    """
    size = len(history)
    outside = np.ones(n_items, np.bool_)
    for item in history:
        outside[item] = False
    others = np.flatnonzero(outside)
    if len(others) == 0:
        others = np.arange(n_items)
    blocks, drawn = row_blocks(negatives + 1, 32), np.empty((size, negatives + 2), np.int64)
    words = row_buffer(negatives + 1, 32)
    lanes = words.view(np.uint32)
    for a in range(size):
        fill(seed, a * blocks, words)
        drawn[a, 0] = history[a]
        drawn[a, 1] = history[(a + 1 + number_below(lanes[0], size - 1)) % size]
        for j in range(negatives):
            drawn[a, j + 2] = others[number_below(lanes[j + 1], len(others))]
    return drawn


@compiled()
def distinct(
    first: Int[np.ndarray, " a"], second: Int[np.ndarray, " b"], n_items: int
) -> Int[np.ndarray, " c"]:
    """Return the distinct items of two lists, ascending."""
    found = np.zeros(n_items, np.bool_)
    for i in first:
        found[i] = True
    for i in second:
        found[i] = True
    return np.flatnonzero(found)


@compiled()
def draw_all(
    histories: Lists,
    rows: Lists,
    n_items: int,
    seeds: UInt64[np.ndarray, "clients 2"],
    drawn: Int[np.ndarray, "anchors c"],
    touched: Int[np.ndarray, " clients"],
    first: int,
    end: int,
) -> None:
    """Do `draw_candidates` for the clients from `first` to `end`, and count the items touched.

    Each client has no anchors, or at least two.
    """
    (bounds, history), (row_bounds, item) = histories, rows
    for c in range(first, end):
        own = slice(bounds[c], bounds[c + 1])
        if bounds[c] < bounds[c + 1]:
            found = draw_candidates(history[own], n_items, drawn.shape[1] - 2, seeds[c])
            copy(found.reshape(-1), drawn[own].reshape(-1))
        touching = item[row_bounds[c] : row_bounds[c + 1]]
        touched[c] = len(distinct(touching, drawn[own].reshape(-1), n_items))


@compiled()
def contrastive_rows(
    table: Float[np.ndarray, "items d"],
    plain: ItemRows,
    task: Task,
    out: ItemRows,
    clients: Int[np.ndarray, " some"],
) -> None:
    """out = some clients' rows, with `add_info_nce` of their candidates, by ascending item."""
    (row_bounds, item, value), (out_bounds, out_item, out_value) = plain, out
    bounds, drawn, dropout, shares = task
    place = np.empty(len(table), np.int64)
    for c in clients:
        own, written = (
            slice(row_bounds[c], row_bounds[c + 1]),
            slice(out_bounds[c], out_bounds[c + 1]),
        )
        candidates = drawn[bounds[c] : bounds[c + 1]]
        touched = distinct(item[own], candidates.reshape(-1), len(table))
        copy(touched, out_item[written])
        rows = out_value[written]
        rows[:] = 0
        for i in range(len(touched)):
            place[touched[i]] = i
        for r in range(row_bounds[c], row_bounds[c + 1]):
            rows[place[item[r]]] = value[r]
        add_info_nce(table, candidates, dropout, c, shares[c], place, rows)


@compiled()
def add_info_nce(
    table: Float[np.ndarray, "items d"],
    drawn: Int[np.ndarray, "anchors c"],
    dropout: Dropout,
    client: int,
    share: float,
    place: Int[np.ndarray, " items"],
    rows: Float[np.ndarray, "rows d"],
) -> None:
    """Add `info_nce_gradient` of a client to the row at each item's place.

    An embedding's coordinate is dropped if its 16 random bits are below `dropout.below`. Each
    anchor is a row of the lanes of its embeddings.
    """
    (seeds, below, scale), (anchors, c) = dropout, drawn.shape
    d = table.shape[1]
    keep = np.empty((c, d), np.float32)
    flat = keep.reshape(-1)
    masked = np.empty((c, d), np.float32)
    # for the candidates without the anchor, padded with zeros
    logit, ones = np.zeros(padded(c - 1, LANES), np.float32), np.ones(c + LANES, np.float32)
    power = np.empty(len(logit), np.float32)
    pattern = power.view(np.int32)
    to_anchor = np.empty(d, np.float32)
    blocks = row_blocks(c * d, 16)
    words = row_buffer(c * d, 16)
    lanes, least = words.view(np.uint16), np.uint16(below)
    for a in range(anchors):
        fill(seeds[client], a * blocks, words)
        for i in range(c * d):
            flat[i] = np.float32(lanes[i] >= least)
        for j in range(c):
            row = table[drawn[a, j]]
            for k in range(d):
                masked[j, k] = row[k] * keep[j, k]
        top = np.float32(-1e30)
        for j in range(1, c):
            logit[j - 1] = dot(masked[j], masked[0]) * np.float32(scale)
            top = max(top, logit[j - 1])
        exponentials(logit, top, power, pattern)
        logit[c - 1 :] = 0
        whole = np.float32(1) / dot(logit, ones[: len(logit)])
        to_anchor[:] = 0
        for j in range(1, c):
            q = (logit[j - 1] * whole - np.float32(j == 1)) * np.float32(share * scale)
            row = rows[place[drawn[a, j]]]
            for k in range(d):
                to_anchor[k] = fused(q, masked[j, k], to_anchor[k])
                row[k] = fused(q * keep[j, k], masked[0, k], row[k])
        row = rows[place[drawn[a, 0]]]
        for k in range(d):
            row[k] = fused(to_anchor[k], keep[0, k], row[k])
