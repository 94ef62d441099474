"""Updates: what the clients of one round upload, the one type that crosses the network."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Gradient:
    """One gradient of the shared parameters, after aggregation."""

    items: Float[Tensor, "items d"]
    dense: Float[Tensor, " params"]


@dataclass(frozen=True)
class Updates:
    """The uploads of n clients: sparse rows, a ridge and a dense part each.

    Client c's item gradient is scatter(its rows) + ridge[c] · table: a benign gradient touches
    few items, and L2 adds the same multiple of the whole broadcast table. (owner, item) pairs
    are unique, and the rows of a client lie together. The dense (n, items, d) stack is never built.
    """

    table: Float[Tensor, "items d"]  # the broadcast item embeddings; known to the server, not sent
    owner: Int[Tensor, " rows"]  # which of the n clients a row belongs to, ascending
    item: Int[Tensor, " rows"]
    value: Float[Tensor, "rows d"]
    ridge: Float[Tensor, " n"]
    dense: Float[Tensor, "n params"]  # gradients of the other shared parameters
    weight: Float[Tensor, " n"]  # sample counts

    def __len__(self) -> int:
        """The number of clients n."""
        return len(self.weight)

    @staticmethod
    def over_all_items(
        like: "Updates", value: Float[Tensor, "n items d"], dense: Float[Tensor, "n params"]
    ) -> "Updates":
        """Forged item gradients, one row for every item, in place of the uploads of `like`."""
        n, n_items, d = value.shape
        device = value.device
        return Updates(
            table=like.table,
            owner=torch.arange(n, device=device).repeat_interleave(n_items),
            item=torch.arange(n_items, device=device).repeat(n),
            value=value.reshape(n * n_items, d),
            ridge=torch.zeros_like(like.ridge),
            dense=dense,
            weight=like.weight,
        )

    def replaced(self, clients: Int[Tensor, " m"], others: "Updates") -> "Updates":
        """These uploads with those of `clients` (positions) replaced, in the same order."""
        stays = torch.ones(len(self), dtype=torch.bool, device=self.owner.device)
        stays[clients] = False
        rows = stays[self.owner]
        owner, order = torch.sort(torch.cat([self.owner[rows], clients[others.owner]]), stable=True)
        return Updates(
            table=self.table,
            owner=owner,
            item=torch.cat([self.item[rows], others.item])[order],
            value=torch.cat([self.value[rows], others.value])[order],
            ridge=self.ridge.index_copy(0, clients, others.ridge),
            dense=self.dense.index_copy(0, clients, others.dense),
            weight=self.weight.index_copy(0, clients, others.weight),
        )

    def select(self, keep: Bool[Tensor, " n"]) -> "Updates":
        """The uploads of the clients that `keep` marks."""
        rows = keep[self.owner]
        position = keep.cumsum(0) - 1
        return Updates(
            table=self.table,
            owner=position[self.owner[rows]],
            item=self.item[rows],
            value=self.value[rows],
            ridge=self.ridge[keep],
            dense=self.dense[keep],
            weight=self.weight[keep],
        )

    def weighted_sum(self, coefficients: Float[Tensor, " n"]) -> Gradient:
        """Σ_c coefficients[c] · g_c over the whole uploads."""
        scaled = self.value * coefficients[self.owner][:, None]
        items = self.table * (coefficients @ self.ridge)
        return Gradient(items.index_add_(0, self.item, scaled), coefficients @ self.dense)

    def row_norms(self) -> Float[Tensor, " rows"]:
        """L2 norms of the item gradients on the touched rows, ridge included."""
        ridge = self.ridge[self.owner][:, None]
        return (self.value + ridge * self.table[self.item]).norm(dim=1)
