"""The contrastive task that spreads item embeddings out (paper, section 4.2, Eq. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.models.base import Batch, dropped_below, random_lanes
from fedrec.parallel import spread
from fedrec.rng import Streams
from fedrec.updates import Updates, on_cpu

Reduction = Literal["mean", "sum"]
PARTS = 4  # groups of clients that threads work on
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
        clients = _clients(honest, batch, streams)
        spread(lambda client: client.draw(self.negatives, len(honest.table)), clients)
        sizes = np.array([len(client.touched) for client in clients])
        values = honest.value.new_empty(int(sizes.sum()), honest.value.shape[1])
        parts = list(zip(clients, values.split(sizes.tolist()), strict=True))
        parts.sort(key=lambda part: -len(part[0].drawn))  # dealt out like this, shares are even
        spread(partial(self._fill, honest.table), [parts[i::PARTS] for i in range(PARTS)])
        device = honest.table.device
        touched = np.concatenate([client.touched for client in clients])
        return replace(
            honest,
            owner=torch.from_numpy(np.repeat(np.arange(len(honest)), sizes)).to(device),
            item=torch.from_numpy(touched).to(device),
            value=values,
        )

    def gradient(
        self,
        table: Float[Tensor, "items d"],
        client: int,
        history: Int[Tensor, " anchors"],
        streams: Streams,
    ) -> Float[Tensor, "items d"]:
        """α ∂L_cl/∂v of one client, over all items."""
        alone = _Client(client, history, history[:0], table[:0], streams)
        alone.draw(self.negatives, len(table))
        total = torch.zeros_like(table)
        self._add(table, alone, total)
        return total

    def _fill(
        self, table: Float[Tensor, "items d"], parts: Sequence[tuple["_Client", Tensor]]
    ) -> None:
        """Write some clients' item gradients, the contrastive ones included."""
        total = torch.zeros_like(table)  # stays in the cache, where rows of all would not
        for client, out in parts:
            self._add(table, client, total)
            _move_rows(client, total, out)

    def _add(
        self, table: Float[Tensor, "items d"], client: "_Client", total: Float[Tensor, "items d"]
    ) -> None:
        """Add one client's α ∂L_cl/∂v to `total`."""
        if len(client.drawn) == 0:
            return
        below, scale = dropped_below(self.dropout), (1 - self.dropout) ** -2
        share = self.weight / (len(client.drawn) if self.reduction == "mean" else 1)
        if on_cpu(table):
            from fedrec.kernels import add_info_nce

            seed = client.streams.seed_words(DROPOUT, client.id)
            add_info_nce(table.numpy(), client.drawn, seed, below, scale, share, total.numpy())
            return
        items = torch.from_numpy(client.drawn).to(table.device)
        kept = contrastive_masks(client.streams, client.id, (*items.shape, table.shape[1]), below)
        gradient = info_nce_gradient(table[items], kept.to(table.device), scale, share)
        total.index_add_(0, items.view(-1), gradient.view(-1, table.shape[1]))


@dataclass
class _Client:
    """One client at the contrastive task."""

    id: int
    history: Int[Tensor, " anchors"]
    item: Int[Tensor, " rows"]  # its upload so far
    value: Float[Tensor, "rows d"]
    streams: Streams

    def draw(self, negatives: int, n_items: int) -> None:
        """Draw its candidates. A history of a single item holds no positive, and gives none."""
        from fedrec import kernels  # numba takes a while to import, and few cells need it

        history = self.history.cpu().numpy()
        history = history if len(history) > 1 else history[:0]
        seed = self.streams.seed_words(PAIRS, self.id)
        self.drawn = kernels.draw_candidates(history, n_items, negatives, seed)
        self.touched = kernels.distinct(self.item.cpu().numpy(), self.drawn.ravel(), n_items)


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
    streams: Streams, client: int, shape: tuple[int, int, int], below: int
) -> Bool[Tensor, "anchors c d"]:
    """What dropout keeps of each anchor and its candidates; an anchor starts a word of 64 bits."""
    anchors, c, d = shape
    lanes = random_lanes(DROPOUT, streams, client, (anchors, -(-c * d // 4) * 4))
    return torch.from_numpy(lanes[:, : c * d].reshape(shape) >= below)


def _clients(honest: Updates, batch: Batch, streams: Streams) -> list[_Client]:
    rows = torch.bincount(honest.owner, minlength=len(honest)).tolist()
    parts = zip(
        batch.clients.tolist(),
        batch.history.split(batch.sizes.tolist()),
        honest.item.split(rows),
        honest.value.split(rows),
        strict=True,
    )
    return [_Client(*part, streams) for part in parts]


def _move_rows(client: _Client, total: Float[Tensor, "items d"], out: Tensor) -> None:
    """out = what `total` holds on the touched items plus the client's rows; total becomes 0."""
    if on_cpu(total):
        from fedrec.kernels import move_rows

        move_rows(
            client.item.numpy(), client.value.numpy(), total.numpy(), client.touched, out.numpy()
        )
        return
    touched = torch.from_numpy(client.touched).to(total.device)
    total.index_add_(0, client.item, client.value)
    out.copy_(total[touched])
    total[touched] = 0
