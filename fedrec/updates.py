"""Updates: what the clients of one round upload, the one type that crosses the network."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from fedrec.kernels.laplace_noise import Noises, add_noises
from fedrec.kernels.rows import (
    Rows,
    add_gram,
    add_weighted,
    excess_of_rows,
    gather,
    gradients_on,
    joined,
    scaled_rows,
    squares_of_rows,
    trimmed_mean,
    weighted_sum,
)
from fedrec.kernels.sums import mean_row, squared_norms, total


@dataclass(frozen=True)
class Gradient:
    """One gradient of the shared parameters, after aggregation."""

    items: Float[Tensor, "items d"]
    dense: Float[Tensor, " params"]

    def map(self, function: Callable[..., Tensor], *others: "Gradient") -> "Gradient":
        """`function` of the items, then of the dense part, here and in `others`."""
        return Gradient(
            function(self.items, *(other.items for other in others)),
            function(self.dense, *(other.dense for other in others)),
        )


@dataclass(frozen=True)
class Updates:
    """The uploads of n clients: sparse rows, a ridge and a dense part each.

    Client c's item gradient is scatter(its rows) + ridge[c] · table: a benign gradient touches
    few items, and L2 adds the same multiple of the whole broadcast table. (owner, item) pairs
    are unique, and the rows of a client lie together. The dense (n, items, d) stack is never built,
    but for noisy uploads (FL-WBC) that something other than a weighted sum is asked of.
    """

    table: Float[Tensor, "items d"]  # the broadcast item embeddings; known to the server, not sent
    owner: Int[Tensor, " rows"]  # which of the n clients a row belongs to, ascending
    item: Int[Tensor, " rows"]
    value: Float[Tensor, "rows d"]
    ridge: Float[Tensor, " n"]
    dense: Float[Tensor, "n params"]  # gradients of the other shared parameters
    weight: Float[Tensor, " n"]  # sample counts
    noise: Noises = ()  # in whole uploads, by client; empty: in none

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
        item, value, noise = self._by_client(self.item), self._by_client(self.value), [*self.noise]
        forged_item, forged_value = others._by_client(others.item), others._by_client(others.value)
        for forged, client in enumerate(clients.tolist()):
            item[client], value[client] = forged_item[forged], forged_value[forged]
            if noise:
                noise[client] = None
        sizes = torch.tensor([len(rows) for rows in item], device=self.owner.device)
        return Updates(
            table=self.table,
            owner=torch.arange(len(self), device=self.owner.device).repeat_interleave(sizes),
            item=torch.cat(item),
            value=joined(value),
            ridge=self.ridge.index_copy(0, clients, others.ridge),
            dense=self.dense.index_copy(0, clients, others.dense),
            weight=self.weight.index_copy(0, clients, others.weight),
            noise=tuple(noise),
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
            noise=tuple(n for n, kept in zip(self.noise, keep.tolist(), strict=False) if kept),
        )

    def weighted_sum(self, coefficients: Float[Tensor, " n"]) -> Gradient:
        """Σ_c coefficients[c] · g_c over the whole uploads."""
        items = self.table * total(coefficients * self.ridge).float()
        add_weighted(self._rows, coefficients, items)
        whole = Gradient(items, weighted_sum(coefficients, self.dense))
        if self.noise:
            add_noises(self.noise, coefficients, whole.items, whole.dense)
        return whole

    def scaled(self, factors: Float[Tensor, " n"]) -> "Updates":
        """factors[c] · g_c for every client; sample counts stay."""
        return replace(
            self,
            value=scaled_rows(self._rows, factors),
            ridge=self.ridge * factors,
            dense=self.dense * factors[:, None],
            noise=tuple(
                noise and noise.scaled(factor)
                for noise, factor in zip(self.noise, factors.tolist(), strict=False)
            ),
        )

    def written_out(self) -> "Updates":
        """The same uploads with their noise drawn, as rows over all items."""
        if not self.noise:
            return self
        one_by_one = [self.weighted_sum(row) for row in torch.eye(len(self)).to(self.ridge.device)]
        return Updates.over_all_items(
            self,
            torch.stack([gradient.items for gradient in one_by_one]),
            torch.stack([gradient.dense for gradient in one_by_one]),
        )

    def gather(self, items: Int[Tensor, " t"]) -> Float[Tensor, "n t d"]:
        """Every client's gradient of a few items, which must be distinct."""
        return gather(self.written_out()._rows, items)

    def rows_on(
        self, items: Int[Tensor, " t"]
    ) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"], Float[Tensor, "some d"]]:
        """The rows that touch a few distinct items: owner, position in `items`, whole gradient.

        Owners ascend. A client's gradient of an item that it does not touch is ridge · v.
        """
        if self.noise:
            return self.written_out().rows_on(items)
        return gradients_on(self._rows, items)

    def row_norms(self) -> Float[Tensor, " rows"]:
        """L2 norms of the item gradients on the touched rows, ridge included."""
        return squares_of_rows(self._rows).sqrt()

    def norms(self) -> Float[Tensor, " n"]:
        """L2 norms of the whole uploads."""
        if self.noise:
            return self.written_out().norms()
        ridges = self.ridge.square() * total(squared_norms(self.table)).float()
        squares = ridges + squared_norms(self.dense) + excess_of_rows(self._rows)
        return squares.clamp_(min=0).sqrt_()

    def gram(self) -> Float64[Tensor, "n n"]:
        """Inner products of all pairs of whole uploads."""
        if self.noise:
            return self.written_out().gram()
        dense = self.dense.double()
        gram = dense @ dense.mT
        add_gram(self._rows, gram)
        return gram

    def trimmed_mean(self, trim: int) -> Gradient:
        """Coordinate-wise mean without the `trim` smallest and the `trim` largest of n values."""
        if self.noise:
            return self.written_out().trimmed_mean(trim)
        if trim == 0:
            return self.weighted_sum(torch.full_like(self.weight, 1 / len(self)))
        dense = mean_row(self.dense.sort(dim=0).values[trim : len(self) - trim])
        return Gradient(trimmed_mean(self._rows, trim), dense)

    @property
    def _rows(self) -> Rows:
        """The item gradients without noise."""
        return Rows(
            owner=self.owner, item=self.item, value=self.value, ridge=self.ridge, table=self.table
        )

    def _by_client(self, column: Tensor) -> list[Tensor]:
        """The entries of a column of rows, client by client."""
        bounds = torch.searchsorted(self.owner, torch.arange(len(self) + 1).to(self.owner.device))
        return list(column.split(bounds.diff().tolist()))
