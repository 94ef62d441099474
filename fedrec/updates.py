"""Updates: what the clients of one round upload, the one type that crosses the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.laplace_noise import Noises, add_noises
from fedrec.kernels.sums import mean_row, squared_norms, total
from fedrec.kernels.threads import client_ranges, even_ranges, row_ranges, spread

BLOCK = 256  # items whose gradients are written out at a time, where that is no loss
MANY = 8  # rows an item from which on it pays to add them up in two halves


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
        self._add_rows(coefficients, items)
        whole = Gradient(items, self._sum_dense(coefficients))
        if self.noise:
            add_noises(self.noise, coefficients, whole.items, whole.dense)
        return whole

    def scaled(self, factors: Float[Tensor, " n"]) -> "Updates":
        """factors[c] · g_c for every client; sample counts stay."""
        return replace(
            self,
            value=self._scaled_rows(factors),
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
        gathered = self.ridge[:, None, None] * self.table[items]
        owner, place, gradient = self.rows_on(items)
        gathered[owner, place] = gradient
        return gathered

    def rows_on(
        self, items: Int[Tensor, " t"]
    ) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"], Float[Tensor, "some d"]]:
        """The rows that touch a few distinct items: owner, position in `items`, whole gradient.

        Owners ascend. A client's gradient of an item that it does not touch is ridge · v.
        """
        if self.noise:
            return self.written_out().rows_on(items)
        place = torch.full((len(self.table),), -1, device=items.device)
        place[items] = torch.arange(len(items), device=items.device)
        if on_cpu(self.value):
            rows, gradient = self._whole_rows(place)
            item = self.item.index_select(0, rows)
            return self.owner.index_select(0, rows), place.index_select(0, item), gradient
        place = place[self.item]
        rows = (place >= 0).nonzero()[:, 0]
        owner, place = self.owner[rows], place[rows]
        gradient = self.table[items].index_select(0, place).mul_(self.ridge[owner][:, None])
        return owner, place, gradient.add_(self.value.index_select(0, rows))

    def row_norms(self) -> Float[Tensor, " rows"]:
        """L2 norms of the item gradients on the touched rows, ridge included."""
        return self._row_squares().sqrt()

    def norms(self) -> Float[Tensor, " n"]:
        """L2 norms of the whole uploads."""
        if self.noise:
            return self.written_out().norms()
        ridges = self.ridge.square() * total(squared_norms(self.table)).float()
        squares = ridges + squared_norms(self.dense) + self._excess_squares()
        return squares.clamp_(min=0).sqrt_()

    def gram(self) -> Float64[Tensor, "n n"]:
        """Inner products of all pairs of whole uploads."""
        if self.noise:
            return self.written_out().gram()
        dense = self.dense.double()
        gram = dense @ dense.mT
        if not on_cpu(self.value):
            for items in _blocks(len(self.table)):
                part = self.gather(items.to(self.item.device)).flatten(1).double()
                gram += part @ part.mT
            return gram
        rows, with_table = self._row_gram()
        cross = with_table[:, None] * self.ridge
        ridges = self.ridge[:, None] * self.ridge.double() * total(squared_norms(self.table))
        return gram + rows + cross + cross.mT + ridges

    def trimmed_mean(self, trim: int) -> Gradient:
        """Coordinate-wise mean without the `trim` smallest and the `trim` largest of n values."""
        if self.noise:
            return self.written_out().trimmed_mean(trim)
        if trim == 0:
            return self.weighted_sum(torch.full_like(self.weight, 1 / len(self)))
        dense = mean_row(self.dense.sort(dim=0).values[trim : len(self) - trim])
        items = torch.empty_like(self.table)
        if on_cpu(self.value):
            self._trim_rows(trim, items)
            return Gradient(items, dense)
        for block in _blocks(len(self.table)):
            ordered = self.gather(block.to(self.item.device)).sort(dim=0).values
            items[block] = ordered[trim : len(self) - trim].mean(0)
        return Gradient(items, dense)

    def _by_client(self, column: Tensor) -> list[Tensor]:
        """The entries of a column of rows, client by client."""
        bounds = torch.searchsorted(self.owner, torch.arange(len(self) + 1).to(self.owner.device))
        return list(column.split(bounds.diff().tolist()))

    def _row_squares(self) -> Float[Tensor, " rows"]:
        if on_cpu(self.value):
            from fedrec.kernels.vectors import row_squares

            columns = (self.owner, self.item, self.value, self.ridge, self.table)
            owner, item, value, ridge, table = (column.numpy() for column in columns)
            squares = np.empty(len(item), np.float32)

            def work(part: tuple[int, int]) -> None:
                row_squares(owner, item, value, ridge, table, squares, *part)

            spread(work, row_ranges(len(item)))
            return torch.from_numpy(squares)
        whole = self.value + self.ridge[self.owner][:, None] * self.table[self.item]
        return whole.square().sum(1)

    def _excess_squares(self) -> Float[Tensor, " n"]:
        """What the squared norms of the touched rows exceed those of their ridges alone by."""
        if not on_cpu(self.value):
            untouched = self.ridge.square()[self.owner] * self.table.square().sum(1)[self.item]
            excess = self._row_squares() - untouched
            return torch.zeros_like(self.ridge).index_add_(0, self.owner, excess)
        from fedrec.kernels.vectors import excess_squares

        excess, bounds = torch.empty_like(self.ridge), self._bounds()
        columns = (self.item, self.value, self.ridge, self.table, excess)
        item, value, ridge, table, out = (column.numpy() for column in columns)

        def work(some: tuple[int, int]) -> None:
            excess_squares(bounds, item, value, ridge, table, out, *some)

        spread(work, client_ranges(bounds))
        return excess

    def _whole_rows(
        self, place: Int[Tensor, " items"]
    ) -> tuple[Int[Tensor, " some"], Float[Tensor, "some d"]]:
        """The rows whose items have a place that is not negative; the whole gradients there."""
        from fedrec.kernels.vectors import rows_among, whole_rows

        columns = (self.owner, self.item, self.value, self.ridge, self.table)
        owner, item, value, ridge, table = (column.numpy() for column in columns)
        rows = rows_among(item, place.numpy())
        gradient = np.empty((len(rows), table.shape[1]), np.float32)

        def work(some: tuple[int, int]) -> None:
            whole_rows(rows, owner, item, value, ridge, table, gradient, *some)

        spread(work, row_ranges(len(rows)))
        return torch.from_numpy(rows), torch.from_numpy(gradient)

    def _bounds(self) -> Int[np.ndarray, " n_plus_1"]:
        """Where the rows of each client begin, and where the last ones end."""
        return np.searchsorted(self.owner.numpy(), np.arange(len(self) + 1))

    def _row_gram(self) -> tuple[Float64[Tensor, "n n"], Float64[Tensor, " n"]]:
        """Inner products of the clients' rows, without their ridges; those with the table."""
        from fedrec.kernels.vectors import row_gram, rows_by_item

        order, bounds = rows_by_item(self.item.numpy(), len(self.table))
        owner, value, table, n = (
            self.owner.numpy(),
            self.value.numpy(),
            self.table.numpy(),
            len(self),
        )
        parts = spread(
            lambda some: row_gram(owner, value, table, order, bounds[some], some.start, n),
            even_ranges(bounds),
        )
        whole = torch.from_numpy(np.sum(parts, axis=0))
        return whole[:n, :n], whole[:n, n]

    def _scaled_rows(self, factors: Float[Tensor, " n"]) -> Float[Tensor, "rows d"]:
        if not on_cpu(self.value):
            return self.value * factors[self.owner][:, None]
        from fedrec.kernels.vectors import scale_rows

        scaled, bounds = torch.empty_like(self.value), self._bounds()
        arrays = (self.value.numpy(), factors.numpy(), scaled.numpy())
        spread(lambda some: scale_rows(bounds, *arrays, *some), client_ranges(bounds))
        return scaled

    def _sum_dense(self, coefficients: Float[Tensor, " n"]) -> Float[Tensor, " params"]:
        """Σ_c coefficients[c] · dense[c]."""
        if not on_cpu(self.dense):
            return coefficients @ self.dense
        from fedrec.kernels.vectors import add_rows

        n, summed = len(self), self.dense.new_zeros(1, self.dense.shape[1])
        given = (self.dense.contiguous().numpy(), coefficients.numpy(), summed.numpy())
        add_rows(np.arange(n + 1), np.zeros(n, np.int64), *given, 0, n)
        return summed[0]

    def _add_rows(self, coefficients: Float[Tensor, " n"], total: Float[Tensor, "items d"]) -> None:
        """total[item] += coefficients[owner] · value for every row."""
        if not on_cpu(total):
            scaled = self.value * coefficients[self.owner][:, None]
            total.index_add_(0, self.item, scaled)
            return
        from fedrec.kernels.vectors import add_rows

        bounds, item, value = self._bounds(), self.item.numpy(), self.value.numpy()
        share, halves = coefficients.numpy(), [total]
        ranges = [(0, len(self))]
        if len(item) >= MANY * len(total):
            middle = int(np.searchsorted(bounds, bounds[-1] // 2))
            halves, ranges = [total, torch.zeros_like(total)], [(0, middle), (middle, len(self))]

        def work(half: int) -> None:
            add_rows(bounds, item, value, share, halves[half].numpy(), *ranges[half])

        spread(work, range(len(halves)))
        for other in halves[1:]:
            total += other

    def _trim_rows(self, trim: int, mean: Float[Tensor, "items d"]) -> None:
        from fedrec.kernels.vectors import rows_by_item, trimmed_rows

        order, bounds = rows_by_item(self.item.numpy(), len(self.table))
        columns = (self.owner, self.value, self.ridge, self.table, mean)
        owner, value, ridge, table, out = (column.numpy() for column in columns)
        partial = np.bincount(owner, minlength=len(ridge)) < len(table)
        alike = len(np.unique(ridge[partial])) <= 1

        def work(some: slice) -> None:
            trimmed_rows(
                owner, value, ridge, alike, table, order, bounds[some], some.start, trim, out
            )

        spread(work, even_ranges(bounds))


def joined(parts: Sequence[Float[Tensor, "_ d"]]) -> Float[Tensor, "rows d"]:
    """The rows of all parts, one part after another, copied by several threads."""
    sizes = [len(part) for part in parts]
    whole = parts[0].new_empty(sum(sizes), parts[0].shape[1])
    spread(lambda pair: pair[0].copy_(pair[1]), list(zip(whole.split(sizes), parts, strict=True)))
    return whole


def _blocks(n_items: int) -> tuple[Int[Tensor, " block"], ...]:
    """All items, a few hundred at a time."""
    return torch.arange(n_items).split(BLOCK)
