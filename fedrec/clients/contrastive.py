"""The contrastive task that spreads item embeddings out (paper, section 4.2, Eq. 4)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64
from torch import Tensor

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.philox import tensor_lanes
from fedrec.kernels.threads import client_ranges, spread
from fedrec.models.base import Batch, dropped_below
from fedrec.rng import Streams
from fedrec.updates import Updates

Reduction = Literal["mean", "sum"]
SHARES = 4  # groups of clients that threads work on
PAIRS, DROPOUT = "contrastive-pairs", "contrastive-dropout"  # random streams


@dataclass(frozen=True)
class Contrastive:
    """α L_cl: InfoNCE over each client's history, on inner products of embeddings under dropout.

    An anchor is an item of the history, its positive is another one, and its negatives are drawn
    from outside the history, with replacement. Temperature τ = 1, no normalisation.
    """

    weight: float  # α
    negatives: int  # P
    dropout: float
    reduction: Reduction  # over the anchors of a client

    def added_to(self, honest: Updates, batch: Batch, streams: Streams) -> Updates:
        """Uploads with the task's gradient in them; `batch` is what their clients train on."""
        if self.weight == 0 or len(honest) == 0:
            return honest
        cohort = self._draw(honest, batch, streams)
        sizes = cohort.out_bounds[-1]
        item = torch.empty(sizes, dtype=torch.int64)
        value = honest.value.new_empty(sizes, honest.value.shape[1])
        fill = self._fill if on_cpu(value) else self._fill_by_tensors
        order = np.argsort(-np.diff(cohort.bounds), kind="stable")
        # Dealt out like this, shares are even.
        spread(
            partial(fill, honest, cohort, item, value), [order[i::SHARES] for i in range(SHARES)]
        )
        device = honest.table.device
        owner = np.repeat(np.arange(len(honest)), np.diff(cohort.out_bounds))
        return replace(
            honest, owner=torch.from_numpy(owner).to(device), item=item.to(device), value=value
        )

    def gradient(
        self,
        table: Float[Tensor, "items d"],
        client: int,
        history: Int[Tensor, " anchors"],
        streams: Streams,
    ) -> Float[Tensor, "items d"]:
        """α ∂L_cl/∂v of one client, over all items."""
        ids, size, none = np.array([client]), np.array([len(history)]), np.zeros(2, np.int64)
        own = history.cpu().numpy()
        alone = self._drawn(ids, own, size, none, none[:0], len(table), streams)
        total = torch.zeros_like(table)
        if on_cpu(table):
            from fedrec.kernels.vectors import add_info_nce

            task = (alone.drawn, alone.seeds[0], *self._constants, alone.shares[0])
            add_info_nce(table.numpy(), *task, np.arange(len(table)), total.numpy())
        else:
            self._add(table, alone, 0, total)
        return total

    @property
    def _constants(self) -> tuple[int, float]:
        """What random lanes are dropped below, and the scale of an inner product."""
        return dropped_below(self.dropout), (1 - self.dropout) ** -2

    def _draw(self, honest: Updates, batch: Batch, streams: Streams) -> "_Cohort":
        """The candidates of all clients of a batch."""
        of_clients = (batch.clients, batch.history, batch.sizes, honest.item, honest.owner)
        ids, history, sizes, item, owner = (x.cpu().numpy() for x in of_clients)
        rows = np.searchsorted(owner, np.arange(len(honest) + 1))
        return self._drawn(ids, history, sizes, rows, item, len(honest.table), streams)

    def _drawn(
        self,
        ids: Int[np.ndarray, " n"],
        history: Int[np.ndarray, " items"],
        sizes: Int[np.ndarray, " n"],
        rows: Int[np.ndarray, " n_plus_1"],
        item: Int[np.ndarray, " rows"],
        n_items: int,
        streams: Streams,
    ) -> "_Cohort":
        """A history of a single item holds no positive, and draws nothing."""
        from fedrec.kernels.vectors import (
            draw_all,  # numba takes a while to import, and few cells need it
        )

        history, sizes = history[np.repeat(sizes > 1, sizes)], np.where(sizes > 1, sizes, 0)
        bounds, touched = _bounds(sizes), np.zeros(len(ids), np.int64)
        drawn = np.empty((len(history), self.negatives + 2), np.int64)
        seeds = streams.seeds(PAIRS, ids)
        arguments: list[Any] = [bounds, history, rows, item, n_items, seeds, drawn, touched]
        spread(lambda some: draw_all(*[*arguments, *some]), client_ranges(bounds))
        over = np.maximum(sizes, 1) if self.reduction == "mean" else np.ones(len(ids))
        return _Cohort(
            ids=ids,
            bounds=bounds,
            drawn=drawn,
            row_bounds=rows,
            out_bounds=_bounds(touched),
            shares=self.weight / over,
            seeds=streams.seeds(DROPOUT, ids),
            streams=streams,
        )

    def _fill(
        self,
        honest: Updates,
        cohort: "_Cohort",
        item: Int[Tensor, " more"],
        value: Float[Tensor, "more d"],
        clients: Int[np.ndarray, " some"],
    ) -> None:
        """Write some clients' item gradients, the contrastive ones included."""
        from fedrec.kernels.vectors import contrastive_rows

        own = (cohort.row_bounds, honest.item.numpy(), honest.value.numpy())
        task = (cohort.bounds, cohort.drawn, cohort.seeds, *self._constants, cohort.shares)
        out = (cohort.out_bounds, item.numpy(), value.numpy())
        contrastive_rows(honest.table.numpy(), *task, *own, *out, clients)

    def _fill_by_tensors(
        self,
        honest: Updates,
        cohort: "_Cohort",
        item: Int[Tensor, " more"],
        value: Float[Tensor, "more d"],
        clients: Int[np.ndarray, " some"],
    ) -> None:
        """The same, on any device."""
        for c in clients:
            rows, out = (slice(b[c], b[c + 1]) for b in (cohort.row_bounds, cohort.out_bounds))
            drawn = cohort.drawn[cohort.bounds[c] : cohort.bounds[c + 1]].ravel()
            touched = np.union1d(honest.item[rows].cpu().numpy(), drawn)
            item[out] = torch.from_numpy(touched)
            total = torch.zeros_like(honest.table).index_add_(
                0, honest.item[rows], honest.value[rows]
            )
            self._add(honest.table, cohort, int(c), total)
            value[out] = total[item[out].to(total.device)]

    def _add(
        self,
        table: Float[Tensor, "items d"],
        cohort: "_Cohort",
        c: int,
        total: Float[Tensor, "items d"],
    ) -> None:
        """Add client c's α ∂L_cl/∂v to `total`."""
        below, scale = self._constants
        drawn = cohort.drawn[cohort.bounds[c] : cohort.bounds[c + 1]]
        items = torch.from_numpy(drawn).to(table.device)
        shape = (*items.shape, table.shape[1])
        kept = contrastive_masks(cohort.streams, int(cohort.ids[c]), shape, below, table.device)
        gradient = info_nce_gradient(table[items], kept, scale, float(cohort.shares[c]))
        total.index_add_(0, items.view(-1), gradient.view(-1, table.shape[1]))


@dataclass(frozen=True)
class _Cohort:
    """What some clients draw for the contrastive task, client after client."""

    ids: Int[np.ndarray, " n"]
    bounds: Int[np.ndarray, " n_plus_1"]  # where each client's anchors begin
    drawn: Int[np.ndarray, "anchors c"]  # each anchor, its positive and its negatives
    row_bounds: Int[np.ndarray, " n_plus_1"]  # where each one's rows of the plain upload begin
    out_bounds: Int[np.ndarray, " n_plus_1"]  # and with the task in it
    shares: Float[np.ndarray, " n"]  # what an anchor's loss counts for
    seeds: UInt64[np.ndarray, "n 2"]  # of dropout
    streams: Streams


def _bounds(sizes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n_plus_1"]:
    return np.concatenate([[0], np.cumsum(sizes)])


def info_nce_gradient(
    embedding: Float[Tensor, "anchors c d"],
    kept: Bool[Tensor, "anchors c d"],
    scale: float,
    share: float,
) -> Float[Tensor, "anchors c d"]:
    """Gradients of share · Σ −log softmax(s)₁ for each anchor, its positive and its negatives.

    Along the second axis lie the anchor a, its positive c₁ and its negatives; s_j = scale · â·ĉ_j,
    the hats being 0/1 masks. With q = softmax(s) − [j = 1], the gradients are share · scale times
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


def contrastive_masks(
    streams: Streams, client: int, shape: tuple[int, int, int], below: int, device: torch.device
) -> Bool[Tensor, "anchors c d"]:
    """What dropout keeps of each anchor and its candidates, which are a row of 16 bits each."""
    anchors, c, d = shape
    row = torch.arange(anchors, device=device)
    lanes = tensor_lanes(streams, DROPOUT, torch.full_like(row, client), row, c * d, 16)
    return (lanes >= below).view(shape)
