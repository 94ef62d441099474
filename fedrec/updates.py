"""Updates: the uploads of one round's clients. No other type crosses the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device import stacks
from fedrec.kernels.device.gradients import put_rows
from fedrec.kernels.device.gradients import trimmed_mean as trimmed_stack
from fedrec.kernels.laplace_noise import Noises, add_noises
from fedrec.kernels.mixtures import mixed_dense, mixed_rows
from fedrec.kernels.near_median import mean_near_median, of_stack
from fedrec.kernels.rows import (
    Rows,
    add_gram,
    add_weighted,
    excess_of_rows,
    gather,
    gradients_on,
    moments,
    scaled_rows,
    squares_of_rows,
    trimmed_mean,
    weighted_sum,
)
from fedrec.kernels.sums import mean_row, squared_norms, total


@dataclass(frozen=True)
class Gradient:
    """One gradient of the shared parameters, or one per client."""

    items: Float[Tensor, "*clients items d"]
    dense: Float[Tensor, "*clients params"]

    def map(self, function: Callable[..., Tensor], *others: "Gradient") -> "Gradient":
        """Apply `function` to the items, then to the dense part, of this gradient and `others`."""
        return Gradient(
            function(self.items, *(other.items for other in others)),
            function(self.dense, *(other.dense for other in others)),
        )


@dataclass(frozen=True)
class Updates:
    """The uploads of n clients. Each has sparse rows, a ridge and a dense part.

    Client c's item gradient is scatter(its rows) + ridge[c] · table: a benign gradient touches
    few items, and L2 adds the same multiple of the whole broadcast table. (owner, item) pairs
    are unique, and the rows of a client are contiguous. The dense (n, items, d) stack is built in
    two cases only: for noisy uploads (FL-WBC), when more than a weighted sum is needed; and on a
    GPU, where uploads are `whole`: every client has a row for each item, and the row includes the
    ridge.
    """

    table: Float[
        Tensor, "*tables items d"
    ]  # the broadcast item embeddings, which are not sent; of mixtures, what most of them share
    owner: Int[Tensor, " rows"]  # which of the n clients a row belongs to, ascending
    item: Int[Tensor, " rows"]
    value: Float[Tensor, "rows d"]
    ridge: Float[Tensor, " n"]
    dense: Float[Tensor, "n params"]  # gradients of the other shared parameters
    weight: Float[Tensor, " n"]  # sample counts
    noise: Noises = ()  # noise on the full gradient, by client; empty if no upload has any
    whole: bool = False

    def __len__(self) -> int:
        """The number of clients n."""
        return len(self.weight)

    @staticmethod
    def over_all_items(
        like: "Updates", value: Float[Tensor, "n items d"], dense: Float[Tensor, "n params"]
    ) -> "Updates":
        """Make uploads with a gradient row for every item; table and weights come from `like`."""
        return Updates.in_stack(like.table, value, dense, like.weight)

    @staticmethod
    def in_stack(
        table: Float[Tensor, "*n items d"],
        value: Float[Tensor, "n items d"],
        dense: Float[Tensor, "n params"],
        weight: Float[Tensor, " n"],
    ) -> "Updates":
        """Make uploads from a dense stack of item gradients, shape (n, items, d)."""
        n, n_items, d = value.shape
        owner, item = stacks.every_row(n, n_items, value.device)
        return Updates(
            table=table,
            owner=owner,
            item=item,
            value=value.reshape(n * n_items, d),
            ridge=stacks.no_ridge(n, value.device),
            dense=dense,
            weight=weight,
            whole=not on_cpu(value),
        )

    def replaced(self, clients: Int[Tensor, " m"], others: "Updates") -> "Updates":
        """Replace the uploads of `clients` (positions) with `others`, in the same order.

        Whole uploads are changed in place, because they are too large to copy.
        """
        if self.whole:
            mine, theirs = (u.stack.flatten(1) for u in (self, others.in_whole()))
            for target, rows in ((mine, theirs), (self.dense, others.dense)):
                put_rows(target, clients, rows)
            put_rows(self.weight[:, None], clients, others.weight[:, None])
            return self
        pieces, noise = self._pieces(clients.tolist(), others), [*self.noise]
        for client in clients.tolist() if noise else ():
            noise[client] = None
        owner, item, value = map(torch.cat, zip(*pieces, strict=True))
        return Updates(
            table=self.table,
            owner=owner,
            item=item,
            value=value,
            ridge=self.ridge.index_copy(0, clients, others.ridge),
            dense=self.dense.index_copy(0, clients, others.dense),
            weight=self.weight.index_copy(0, clients, others.weight),
            noise=tuple(noise),
        )

    def _pieces(self, clients: list[int], others: "Updates") -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return the columns of rows in which some clients' rows are replaced, piece by piece."""
        (mine, theirs), pieces, place = (u._bounds().tolist() for u in (self, others)), [], 0
        for client, other in sorted((client, i) for i, client in enumerate(clients)):
            kept, new = slice(place, mine[client]), slice(theirs[other], theirs[other + 1])
            pieces += [(self.owner[kept], self.item[kept], self.value[kept])]
            owner = torch.full_like(others.owner[new], client)
            pieces += [(owner, others.item[new], others.value[new])]
            place = mine[client + 1]
        return [*pieces, (self.owner[place:], self.item[place:], self.value[place:])]

    def at(self, clients: Int[Tensor, " m"]) -> "Updates":
        """Select the uploads of the clients at these positions, which must ascend."""
        if not self.whole:
            keep = torch.zeros(len(self), dtype=torch.bool, device=clients.device)
            return self.select(keep.index_fill_(0, clients, True))
        parts = (self.stack, self.dense, self.weight)
        return Updates.in_stack(self.table, *(part.index_select(0, clients) for part in parts))

    @property
    def stack(self) -> Float[Tensor, "n items d"]:
        """The item gradients of whole uploads, as (n, items, d)."""
        return self.value.view(len(self), *self.table.shape[-2:])

    def in_whole(self) -> "Updates":
        """Convert to whole uploads, which have a row for every item, as on a GPU."""
        if self.whole:
            return self
        base = self.ridge[:, None, None] * self.table
        stack = stacks.written_out(self.owner, self.item, self.value, base)
        return Updates.over_all_items(self, stack, self.dense)

    def select(self, keep: Bool[Tensor, " n"]) -> "Updates":
        """Select the uploads of the clients that `keep` marks."""
        if self.whole:
            return self.at(keep.nonzero()[:, 0])
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
        """Return Σ_c coefficients[c] · g_c, where g_c is the full gradient of client c."""
        if self.whole:
            items = stacks.weighted_sum(self.stack, coefficients)
            return Gradient(items, coefficients @ self.dense)
        items = self.table * total(coefficients * self.ridge).float()
        add_weighted(self._rows, coefficients, items)
        whole = Gradient(items, weighted_sum(coefficients, self.dense))
        if self.noise:
            add_noises(self.noise, coefficients, whole.items, whole.dense)
        return whole

    def scaled(self, factors: Float[Tensor, " n"]) -> "Updates":
        """Scale each upload: factors[c] · g_c. Sample counts are unchanged."""
        if self.whole:
            stack = self.stack * factors[:, None, None]
            return Updates.over_all_items(self, stack, self.dense * factors[:, None])
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

    def mixed(self, coefficients: Float[Tensor, "k n"], weight: Float[Tensor, " k"]) -> "Updates":
        """Return k mixtures Σ_c coefficients[j, c] · g_c of the uploads, and their sample counts.

        Their `table` is what most mixtures share, so that similar mixtures have few rows.
        """
        if self.whole:
            stack = (coefficients @ self.stack.flatten(1)).view(-1, *self.stack.shape[1:])
            return Updates.in_stack(self.table, stack, coefficients @ self.dense, weight)
        if self.noise:
            return self.written_out().mixed(coefficients, weight)
        rows = mixed_rows(self._rows, coefficients)
        dense = mixed_dense(self.dense, coefficients)
        return Updates(**rows._asdict(), dense=dense, weight=weight)

    def written_out(self) -> "Updates":
        """Draw the noise and add it; the result has rows for all items."""
        if not self.noise:
            return self
        one_by_one = [self.weighted_sum(row) for row in torch.eye(len(self)).to(self.ridge.device)]
        return Updates.over_all_items(
            self,
            torch.stack([gradient.items for gradient in one_by_one]),
            torch.stack([gradient.dense for gradient in one_by_one]),
        )

    def gather(self, items: Int[Tensor, " t"]) -> Float[Tensor, "n t d"]:
        """Return every client's gradient of some items, which must be distinct."""
        if self.whole:
            return self.stack.index_select(1, items)
        return gather(self.written_out()._rows, items)

    def rows_on(
        self, items: Int[Tensor, " t"]
    ) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"], Float[Tensor, "some d"]]:
        """Return the rows that touch some distinct items: owner, position in `items`, gradient.

        Owners ascend. The gradient includes the ridge. A client's gradient of an item that it does
        not touch is ridge · v.
        """
        if self.noise:
            return self.written_out().rows_on(items)
        return gradients_on(self._rows, items)

    def row_norms(self) -> Float[Tensor, " rows"]:
        """Return the L2 norms of the item gradients on the touched rows, ridge included.

        For whole uploads these are all rows, because the touched items are not recorded there.
        """
        if self.whole:
            return torch.linalg.vector_norm(self.value, dim=1)
        return squares_of_rows(self._rows).sqrt()

    def norms(self) -> Float[Tensor, " n"]:
        """Return the L2 norms of the full gradients, items and dense part."""
        if self.whole:
            return stacks.norms(self.stack, self.dense)
        if self.noise:
            return self.written_out().norms()
        ridges = self.ridge.square() * total(squared_norms(self.table)).float()
        squares = ridges + squared_norms(self.dense) + excess_of_rows(self._rows)
        return squares.clamp_(min=0).sqrt_()

    def gram(self) -> Float64[Tensor, "n n"]:
        """Return the inner products of all pairs of full gradients."""
        if self.whole:
            return stacks.gram(self.stack, self.dense)
        if self.noise:
            return self.written_out().gram()
        dense = self.dense.double()
        gram = dense @ dense.mT
        add_gram(self._rows, gram)
        return gram

    def trimmed_mean_of(self, kept: Bool[Tensor, " n"], trims: Sequence[int]) -> Gradient:
        """Return the trimmed mean of the kept clients; of k clients, trims[k] go on each side."""
        if not self.whole:
            survivors = self if bool(kept.all()) else self.select(kept)
            return survivors.trimmed_mean(trims[len(survivors)])
        table = stacks.constant(tuple(trims), kept.device)
        parts = (self.stack, self.dense[:, None])
        items, dense = (trimmed_stack(part, kept, table) for part in parts)
        return Gradient(items, dense[0])

    def trimmed_mean(self, trim: int) -> Gradient:
        """Return the coordinate-wise mean without the `trim` smallest and `trim` largest values."""
        if self.noise:
            return self.written_out().trimmed_mean(trim)
        if trim == 0:
            return self.weighted_sum(torch.full_like(self.weight, 1 / len(self)))
        dense = mean_row(self.dense.sort(dim=0).values[trim : len(self) - trim])
        return Gradient(trimmed_mean(self._rows, trim), dense)

    def mean_near_median_of(self, kept: Bool[Tensor, " n"], counts: Sequence[int]) -> Gradient:
        """Return the coordinate-wise mean of the kept clients' values closest to their median.

        If k clients are kept, it is the mean of counts[k] values.
        """
        if not self.whole:
            survivors = self if bool(kept.all()) else self.select(kept)
            return survivors.mean_near_median(counts[len(survivors)])
        table = stacks.constant(tuple(counts), kept.device)
        return Gradient(of_stack(self.stack, kept, table), of_stack(self.dense, kept, table))

    def mean_near_median(self, count: int) -> Gradient:
        """Return the coordinate-wise mean of the `count` values closest to the median."""
        if self.noise:
            return self.written_out().mean_near_median(count)
        if count == len(self):
            return self.weighted_sum(torch.full_like(self.weight, 1 / count))
        everyone = torch.ones_like(self.weight, dtype=torch.bool)
        counts = torch.full((len(self) + 1,), count, device=everyone.device)
        return Gradient(mean_near_median(self._rows, count), of_stack(self.dense, everyone, counts))

    def by_item(self, rule: Callable[[Rows], Float[Tensor, "items d"]]) -> Gradient:
        """Aggregate the items by a rule for rows; the dense part is a row that everyone touches."""
        if self.noise:
            return self.written_out().by_item(rule)
        owner, table = torch.arange(len(self)), self.dense.new_zeros(1, self.dense.shape[1])
        none = torch.zeros_like(self.ridge)
        dense = Rows(owner, torch.zeros_like(owner), self.dense.contiguous(), none, table)
        return Gradient(rule(self._rows), rule(dense)[0])

    def moments(
        self, center: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "items d"], Float[Tensor, "items d"]]:
        """Return Σ_c (g_c − ridge[c] · v) and Σ_c (g_c − center · v)² in each coordinate of items.

        The uploads must not be whole. If all ridges equal the center, only rows deviate.
        """
        return moments(self._rows, self.ridge - center)

    @property
    def _rows(self) -> Rows:
        """The item gradients without noise."""
        return Rows(
            owner=self.owner, item=self.item, value=self.value, ridge=self.ridge, table=self.table
        )

    def _bounds(self) -> Int[Tensor, " n_plus_1"]:
        """Return where each client's rows begin; the last number is where they end."""
        return torch.searchsorted(self.owner, torch.arange(len(self) + 1).to(self.owner.device))


def with_others(updates: Updates, *others: Gradient) -> Updates:
    """Append gradients to uploads without noise, as if further clients had uploaded them."""
    stack = torch.stack([other.items for other in others])
    dense = torch.stack([other.dense for other in others])
    weight = updates.weight.new_ones(len(others))
    more = Updates.in_stack(updates.table, stack, dense, weight)
    dense, weight = torch.cat([updates.dense, dense]), torch.cat([updates.weight, weight])
    if updates.whole:
        stack = torch.cat([updates.stack, stack])
        return Updates.in_stack(updates.table, stack, dense, weight)
    return replace(
        updates,
        owner=torch.cat([updates.owner, more.owner + len(updates)]),
        item=torch.cat([updates.item, more.item]),
        value=torch.cat([updates.value, more.value]),
        ridge=torch.cat([updates.ridge, more.ridge]),
        dense=dense,
        weight=weight,
    )
