"""The interface of recommenders: shared parameters, local parameters, gradients and scores."""

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.rng import Streams
from fedrec.updates import Updates


@dataclass(frozen=True)
class Shared:
    """The global parameters that the server broadcasts each round (paper, section 3.1)."""

    items: Float[Tensor, "*tables items d"]
    # All other shared parameters, flat; empty for MF. After steps of clients: one row per client.
    dense: Float[Tensor, "*clients params"]


@dataclass(frozen=True)
class Batch:
    """All training pairs of some clients, flat, client after client, in time order.

    A client's item gradient has one row per item that its pairs touch. `row_owner` and
    `row_item` identify those rows; `positive_row` and `negative_row` say which row a pair adds to.
    `history` has the items that the clients really interacted with, even if the pairs are poisoned.
    """

    clients: Int[Tensor, " clients"]  # user ids
    sizes: Int[Tensor, " clients"]  # pairs per client
    owner: Int[Tensor, " pairs"]  # position in `clients`
    positive: Int[Tensor, " pairs"]
    negative: Int[Tensor, " pairs"]
    history: Int[Tensor, " pairs"]
    positive_row: Int[Tensor, " pairs"]
    negative_row: Int[Tensor, " pairs"]
    history_row: Int[Tensor, " pairs"]
    row_owner: Int[Tensor, " rows"]
    row_item: Int[Tensor, " rows"]

    def flipped(self) -> "Batch":
        """Swap positive and negative in all pairs."""
        return replace(
            self,
            positive=self.negative,
            negative=self.positive,
            positive_row=self.negative_row,
            negative_row=self.positive_row,
        )

    def retargeted(
        self, positive: Int[Tensor, " pairs"], negative: Int[Tensor, " pairs"]
    ) -> "Batch":
        """Replace the items of the pairs; clients and histories are unchanged."""
        items = torch.cat([positive, negative, self.history])
        span = int(items.max()) + 1 if len(items) else 1
        rows, row = (self.owner.repeat(3) * span + items).unique(return_inverse=True)
        positive_row, negative_row, history_row = row.chunk(3)
        return replace(
            self,
            positive=positive,
            negative=negative,
            positive_row=positive_row,
            negative_row=negative_row,
            history_row=history_row,
            row_owner=rows.div(span, rounding_mode="floor"),
            row_item=rows.remainder(span),
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        """Split each client's pairs into an earlier and a later half, over the same rows.

        If the number is odd, the earlier half has one more.
        """
        starts = self.sizes.cumsum(0) - self.sizes
        place = torch.arange(len(self.owner), device=self.owner.device) - starts[self.owner]
        earlier = 2 * place < self.sizes[self.owner]
        return self._pairs(earlier), self._pairs(~earlier)

    def _pairs(self, kept: Bool[Tensor, " pairs"]) -> "Batch":
        columns = (
            "owner", "positive", "negative", "history",
            "positive_row", "negative_row", "history_row",
        )  # fmt: skip
        sizes = torch.bincount(self.owner[kept], minlength=len(self.sizes))
        return replace(self, sizes=sizes, **{name: getattr(self, name)[kept] for name in columns})

    def over_rows(self) -> "Batch":
        """Renumber the items for a table that has a separate row for each (client, item) row."""
        return replace(
            self,
            positive=self.positive_row,
            negative=self.negative_row,
            history=self.history_row,
            row_item=torch.arange(len(self.row_item), device=self.row_item.device),
        )


@dataclass(frozen=True)
class Sequences:
    """The items that some users interacted with, flat, user after user, in time order."""

    items: Int[Tensor, " flat"]
    sizes: Int[Tensor, " users"]


@dataclass(frozen=True)
class LocalGradients:
    """The result of the local computation: the uploads, and what stays on the clients."""

    updates: Updates
    local: Float[Tensor, "clients k"]  # gradient of each client's own parameters
    loss: Float[Tensor, " clients"]  # mean training loss over the client's data, without L2


@runtime_checkable
class Model(Protocol):
    """A recommender in the federation."""

    sequential: ClassVar[bool]  # whether scores depend on the user's past items

    @property
    def learning_rate(self) -> float:
        """Step size of Adam on the server and on the clients."""

    @property
    def dropout(self) -> float:
        """Dropout rate of gathered embeddings."""

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        """Draw the initial shared parameters."""

    def init_local(self, n_users: int, streams: Streams) -> Float[Tensor, "users k"]:
        """Draw the initial parameters that stay on the clients, one row per user."""

    def gradients(
        self, shared: Shared, local: Float[Tensor, "clients k"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Compute one gradient of each client's loss over all its local data (FedSGD)."""

    def scores_at(
        self,
        shared: Shared,
        local: Float[Tensor, "clients k"],
        batch: Batch,
        pairs: Int[Tensor, " some"],
    ) -> Float[Tensor, "some items"]:
        """Score all items, without dropout, at some pairs of a batch.

        `local` has a row for each client of the batch. A sequential model uses the items up to the
        pair.
        """

    def scores(
        self, shared: Shared, local: Float[Tensor, "clients k"], past: Sequences
    ) -> Float[Tensor, "clients items"]:
        """Score all items for some users, given the items they interacted with so far."""


def xavier_uniform(
    rows: int, columns: int, generator: np.random.Generator
) -> Float[Tensor, "rows columns"]:
    """Draw uniformly from ±√(6 / (rows + columns)) (Glorot and Bengio 2010)."""
    bound = (6.0 / (rows + columns)) ** 0.5
    values = generator.random((rows, columns), dtype=np.float32)
    return torch.from_numpy(values).mul_(2 * bound).sub_(bound)
