"""The contrastive task that spreads item embeddings out (paper, section 4.2, Eq. 4)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.device.gradients import with_info_nce
from fedrec.kernels.dropout import Dropout
from fedrec.kernels.info_nce import ItemRows, Lists, Task, draw, gradient_of_one, with_task
from fedrec.models._resident import ResidentBatch
from fedrec.models.base import Batch
from fedrec.rng import Streams
from fedrec.updates import Updates

Reduction = Literal["mean", "sum"]
PAIRS, DROPOUT = "contrastive-pairs", "contrastive-dropout"  # random streams


@dataclass(frozen=True)
class Contrastive:
    """α L_cl: InfoNCE over each client's history, on inner products of embeddings with dropout.

    An anchor is an item of the history, its positive is another item of the history, and its
    negatives are drawn from outside the history, with replacement. The temperature is τ = 1, and
    embeddings are not normalised.
    """

    weight: float  # α
    negatives: int  # P
    dropout: float
    reduction: Reduction  # over the anchors of a client

    def added_to(self, honest: Updates, batch: Batch, streams: Streams) -> Updates:
        """Add the task's gradient to uploads; `batch` has the training data of their clients."""
        if self.weight == 0 or len(honest) == 0:
            return honest
        if isinstance(batch, ResidentBatch):
            stack = self.added_on_device(honest.in_whole().stack, honest.table, batch, streams)
            return Updates.in_stack(honest.table, stack, honest.dense, honest.weight)
        of_clients = (batch.clients, batch.history, batch.sizes, honest.item, honest.owner)
        ids, history, sizes, item, owner = (x.cpu().numpy() for x in of_clients)
        bounds, n_items = np.searchsorted(owner, np.arange(len(honest) + 1)), len(honest.table)
        rows = Lists(bounds, item)
        task, touched = self._drawn(ids, history, sizes, rows, n_items, streams)
        plain = ItemRows(bounds, honest.item, honest.value)
        whole = with_task(honest.table, plain, task, touched)
        owners = torch.from_numpy(np.repeat(np.arange(len(honest)), touched))
        return replace(
            honest, owner=owners.to(whole.item.device), item=whole.item, value=whole.value
        )

    def added_on_device(
        self,
        base: Float[Tensor, "*n items d"],
        table: Float[Tensor, "items d"],
        batch: ResidentBatch,
        streams: Streams,
    ) -> Float[Tensor, "n items d"]:
        """Return `base` plus α ∂L_cl/∂v of each client of a batch, over all items."""
        draws, dropout = streams.of_clients(PAIRS), streams.of_clients(DROPOUT)
        kinds = (self.dropout, self.negatives, self.weight, self.reduction == "mean")
        return with_info_nce(base, table, batch.resident, draws, dropout, *kinds)

    def gradient(
        self,
        table: Float[Tensor, "items d"],
        client: int,
        history: Int[Tensor, " anchors"],
        streams: Streams,
    ) -> Float[Tensor, "items d"]:
        """Return α ∂L_cl/∂v of one client, over all items."""
        ids, sizes, none = np.array([client]), np.array([len(history)]), np.zeros(2, np.int64)
        own, rows = history.cpu().numpy(), Lists(none, none[:0])
        task, _ = self._drawn(ids, own, sizes, rows, len(table), streams)
        return gradient_of_one(table, task)

    def _drawn(
        self,
        ids: Int[np.ndarray, " n"],
        history: Int[np.ndarray, " items"],
        sizes: Int[np.ndarray, " n"],
        rows: Lists,
        n_items: int,
        streams: Streams,
    ) -> tuple[Task, Int[np.ndarray, " n"]]:
        """Draw the task of some clients; also return how many items each touches, with `rows`.

        A history of a single item has no positive, so nothing is drawn for it.
        """
        history, sizes = history[np.repeat(sizes > 1, sizes)], np.where(sizes > 1, sizes, 0)
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        seeds = streams.of_clients(PAIRS).seeds(ids)
        drawn, touched = draw(Lists(bounds, history), rows, n_items, self.negatives, seeds)
        over = np.maximum(sizes, 1) if self.reduction == "mean" else np.ones(len(ids))
        dropout = Dropout.of(streams.of_clients(DROPOUT), ids, self.dropout)
        return Task(bounds, drawn, dropout, self.weight / over), touched
