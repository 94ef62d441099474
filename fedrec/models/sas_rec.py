"""SASRec: self-attentive sequential recommendation (Kang and McAuley 2018)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import embedding, layer_norm, logsigmoid, relu

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device.gradients import scattered
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.dropout import Places, masks
from fedrec.kernels.sums import inner_products
from fedrec.kernels.threads import torch_threads
from fedrec.models._resident import ResidentBatch, looked_up
from fedrec.models.base import (
    Batch,
    LocalGradients,
    Sequences,
    Shared,
    xavier_uniform,
)
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates

NORM_EPS = 1e-8  # as in the layer normalisation of the original code
# The number of clients of about equal length that are computed together.
GROUP = {"cpu": 10, "cuda": 1024}
Parameters = Mapping[str, Tensor]  # name -> (clients, *shape)


@dataclass(frozen=True)
class Tokens:
    """The tokens of some clients' sequences: the latest items, at most `length` per client.

    Token t of a client reads an item. In training, it predicts the next item.
    """

    read: Int[Tensor, " tokens"]  # flat positions in the sequences of the items that are read
    counts: Int[Tensor, " clients"]

    @staticmethod
    def of(sizes: Int[Tensor, " clients"], length: int, predict: bool) -> "Tokens":
        """Select the latest items of each client. With `predict`, the very last is not read."""
        ends = sizes.cumsum(0) - int(predict)
        counts = (sizes - int(predict)).clamp(max=length)
        owner = torch.arange(len(sizes), device=sizes.device).repeat_interleave(counts)
        before = counts.cumsum(0) - counts
        place = torch.arange(len(owner), device=sizes.device) - before[owner]
        return Tokens((ends - counts)[owner] + place, counts)

    def groups(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield groups of clients of about equal length: clients, grid of tokens, used places.

        The grid and the mask of used places have the shape (clients, time). Unused places, at the
        end of shorter sequences, point to the first token. They do not affect its gradient, because
        no loss depends on them.
        """
        first = self.counts.cumsum(0) - self.counts
        for clients in self.counts.argsort(descending=True, stable=True).split(
            GROUP[self.counts.device.type]
        ):
            counts = self.counts[clients][:, None]
            time = torch.arange(int(counts.max()), device=counts.device)
            used = time < counts
            if used.any():
                yield clients, (first[clients][:, None] + time).where(used, 0), used


class Grid(NamedTuple):
    """The tokens of clients whose data are on a GPU, in one padded row per client."""

    read: Int[Tensor, "clients time"]  # positions of the items that are read
    target: Int[Tensor, "clients time"]  # positions of the pairs that are predicted
    counts: Int[Tensor, " clients"]
    used: Bool[Tensor, "clients time"]

    @staticmethod
    def of(resident: Resident, length: int) -> "Grid":
        """Select the latest items of each client. The very last is only predicted, not read."""
        device, longest = resident.entry.device, min(length, resident.longest - 1)
        time = torch.arange(max(longest, 1), device=device)
        counts = (resident.sizes - 1).clamp(max=length)
        used = time < counts[:, None]
        number = (resident.sizes - 1 - counts)[:, None] + time
        number = number.where(used, 0)
        return Grid(
            read=resident.pasts[:, None] + number,
            target=resident.starts[:, None] + number + used.long(),
            counts=counts,
            used=used,
        )


@settings
class SASRec:
    """A causal transformer over a user's items; score(u, i) = h · v_i, where h is its last state.

    A client's loss is the mean BPR loss over positions plus λ‖Θ‖² (paper, Eq. 1). The item
    table, the position embeddings and the transformer are shared and uploaded; nothing stays local.
    """

    sequential: ClassVar[bool] = True

    dim: int = Field(default=64, ge=1, description="Embedding size d (section 5.1).")
    blocks: int = Field(default=2, ge=0, description="Self-attention blocks (Appendix A).")
    heads: int = Field(default=1, ge=1, description="Attention heads (Appendix A).")
    hidden: int = Field(default=64, ge=1, description="Width of the feed-forward layers.")
    length: int = Field(
        default=200, ge=1, description="Number of latest items that are read (Appendix A)."
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Dropout of inputs, attention and layers (Appendix A)."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's η (Table 6).")
    l2: float = Field(default=1e-5, ge=0, description="L2 coefficient λ (Eq. 1, Table 6).")
    l2_half: bool = Field(
        default=False,
        description="Penalty ½λ‖Θ‖², as in the authors' code for MF, instead of λ‖Θ‖² (Eq. 1).",
    )

    @model_validator(mode="after")
    def _heads(self) -> "SASRec":
        if self.dim % self.heads:
            raise ValueError("dim must be a multiple of heads")
        return self

    @property
    def ridge(self) -> float:
        """The factor of the L2 gradient: 2λ, or λ if the penalty is halved."""
        return self.l2 if self.l2_half else 2 * self.l2

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every dense parameter, in the order of the upload."""
        d, h = self.dim, self.hidden
        shapes: dict[str, tuple[int, ...]] = {"positions": (self.length, d)}
        for block in range(self.blocks):
            layers = {"query": (d, d), "key": (d, d), "value": (d, d), "in": (d, h), "out": (h, d)}
            for norm in ("attention", "feed"):
                shapes |= {f"{block}.{norm}.scale": (d,), f"{block}.{norm}.shift": (d,)}
            for layer, shape in layers.items():
                shapes |= {f"{block}.{layer}": shape, f"{block}.{layer}.bias": shape[1:]}
        return shapes | {"last.scale": (d,), "last.shift": (d,)}

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        """Draw Xavier-uniform tables and layers; biases are 0, norms have scale 1 and shift 0."""
        items = xavier_uniform(n_items, self.dim, streams.generator("init-items"))
        generator = streams.generator("init-dense")
        parts = []
        for name, shape in self.shapes.items():
            if len(shape) == 2:
                parts.append(xavier_uniform(*shape, generator).flatten())
            else:
                parts.append(torch.full(shape, float(name.endswith("scale"))))
        return Shared(items=items, dense=torch.cat(parts))

    def init_local(self, n_users: int, streams: Streams) -> Float[Tensor, "users 0"]:
        """Return an empty tensor: a user has no parameters, only a sequence."""
        return torch.zeros(n_users, 0)

    @torch_threads()
    def gradients(
        self, shared: Shared, local: Float[Tensor, "clients 0"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Compute each client's gradient of its loss.

        Every client gets its own copy of the dense parameters, and every place its own copy of the
        item's embedding. So one backward pass through a group of clients gives separate gradients.
        """
        if isinstance(batch, ResidentBatch):
            return self._on_device(shared, local, batch, streams)
        n = len(batch.clients)
        dense = shared.dense.expand(n, -1)
        tokens = Tokens.of(batch.sizes, self.length, predict=True)
        rows = shared.items.new_zeros(len(batch.row_item), self.dim)
        to_dense, loss = dense * self.ridge, dense.new_zeros(n)
        for clients, grid, used in tokens.groups():
            read, counts = tokens.read[grid], tokens.counts[clients]
            named = (batch.history[read], batch.positive[read + 1], batch.negative[read + 1])
            leaves = [*(embedding(items, shared.items) for items in named)]
            leaves.append(dense.index_select(0, clients))
            for leaf in leaves:
                leaf.requires_grad_()
            kept = self.kept(batch.clients[clients], int(counts.max()), streams)
            mean = self._losses(leaves, counts, used, kept)
            *to_items, to_dense_of = torch.autograd.grad(mean.sum(), leaves)
            places = (
                batch.history_row[read],
                batch.positive_row[read + 1],
                batch.negative_row[read + 1],
            )
            for place, gradient in zip(places, to_items, strict=True):
                rows.index_add_(0, place.view(-1), gradient.view(-1, self.dim))
            to_dense.index_add_(0, clients, to_dense_of)
            loss[clients] = mean.detach()
        return LocalGradients(
            updates=Updates(
                table=shared.items,
                owner=batch.row_owner,
                item=batch.row_item,
                value=rows,
                ridge=loss.new_full((n,), self.ridge),
                dense=to_dense,
                weight=tokens.counts.to(loss.dtype),
            ),
            local=torch.zeros_like(local),
            loss=loss,
        )

    def _on_device(
        self,
        shared: Shared,
        local: Float[Tensor, "clients 0"],
        batch: ResidentBatch,
        streams: Streams,
    ) -> LocalGradients:
        """Compute the gradients on a GPU, with all clients in one grid as long as the longest."""
        own, n = batch.resident, len(local)
        grid = Grid.of(own, self.length)
        named = own.history[grid.read], own.positive[grid.target], own.negative[grid.target]
        leaves = [looked_up(shared.items, items) for items in named]
        leaves.append(shared.dense.expand(n, -1).detach())
        for leaf in leaves:
            leaf.requires_grad_()
        kept = self.kept(batch.clients, grid.used.shape[1], streams)
        mean = self._losses(leaves, grid.counts, grid.used, kept)
        *to_items, to_dense = torch.autograd.grad(mean.sum(), leaves)
        places = [items.where(grid.used, -1) for items in named]
        stack = scattered(shared.items, torch.cat(places, 1), torch.cat(to_items, 1), self.ridge)
        to_dense = to_dense + shared.dense * self.ridge
        weight = grid.counts.to(to_dense.dtype)
        return LocalGradients(
            updates=Updates.in_stack(shared.items, stack, to_dense, weight),
            local=torch.zeros_like(local),
            loss=mean.detach(),
        )

    def _losses(
        self,
        leaves: Sequence[Tensor],
        counts: Int[Tensor, " clients"],
        used: Bool[Tensor, "clients time"],
        kept: Mapping[str, Tensor],
    ) -> Float[Tensor, " clients"]:
        """Return each client's mean BPR loss, given the gathered embeddings and parameters."""
        past, positive, negative, own = leaves
        state = self._states(past, self._named(own), counts, kept)
        bpr = -logsigmoid((state * (positive - negative)).sum(2))
        return (bpr * used).sum(1) / counts.clamp(min=1)

    @torch.no_grad()
    def latest_scores(
        self, shared: Shared, local: Float[Tensor, "clients 0"], batch: ResidentBatch
    ) -> Float[Tensor, "clients items"]:
        """Return h · v_i for all items, where h is the state that predicts the latest item."""
        grid = Grid.of(batch.resident, self.length)
        past = looked_up(shared.items, batch.resident.history[grid.read])
        own = self._named(shared.dense.expand(len(past), -1))
        state = self._states(past, own, grid.counts, {})
        last = (grid.counts - 1).clamp(min=0)[:, None, None].expand(-1, 1, self.dim)
        found = state.gather(1, last)[:, 0] * (grid.counts > 0)[:, None]
        return inner_products(found, shared.items)

    def scores_at(
        self,
        shared: Shared,
        local: Float[Tensor, "clients 0"],
        batch: Batch,
        pairs: Int[Tensor, " some"],
    ) -> Float[Tensor, "some items"]:
        """Return h · v_i for all items, where h is the state that predicts the pair's item."""
        return inner_products(self.states(shared, batch)[pairs], shared.items)

    def states(self, shared: Shared, batch: Batch) -> Float[Tensor, "pairs d"]:
        """Return the state that predicts each pair's item; 0 if the item is not predicted."""
        tokens = Tokens.of(batch.sizes, self.length, predict=True)
        found = shared.items.new_zeros(len(batch.history), self.dim)
        for grid, used, state in self._inferred(shared, batch.history, tokens):
            found[tokens.read[grid][used] + 1] = state[used]
        return found

    def scores(
        self, shared: Shared, local: Float[Tensor, "clients 0"], past: Sequences
    ) -> Float[Tensor, "clients items"]:
        """Return h · v_i for all items, where h is the state after the whole past."""
        tokens = Tokens.of(past.sizes, self.length, predict=False)
        last = tokens.counts.cumsum(0) - 1
        states = shared.items.new_zeros(len(tokens.read), self.dim)
        for grid, used, state in self._inferred(shared, past.items, tokens):
            states[grid[used]] = state[used]
        return states[last] @ shared.items.T

    @torch.no_grad()
    def _inferred(
        self, shared: Shared, items: Int[Tensor, " flat"], tokens: Tokens
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield, for each group of clients, the grid of tokens, its used places, and the states."""
        for clients, grid, used in tokens.groups():
            own = self._named(shared.dense.expand(len(clients), -1))
            past = shared.items[items[tokens.read[grid]]]
            yield grid, used, self._states(past, own, tokens.counts[clients], {})

    def _named(self, dense: Float[Tensor, "clients params"]) -> Parameters:
        """Split the dense parameters by name; each has the shape (clients, *shape)."""
        parts = dense.split([prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: part.reshape(len(dense), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def _states(
        self,
        past: Float[Tensor, "clients time d"],
        own: Parameters,
        counts: Int[Tensor, " clients"],
        kept: Mapping[str, Tensor],
    ) -> Float[Tensor, "clients time d"]:
        """Return the state after each item; `kept` has the dropout masks, or is empty."""
        time, d = past.shape[1:]
        # As in the original code, the latest item always has the last position.
        place = self.length - counts[:, None] + torch.arange(time, device=past.device)
        positions = _rows_at(own["positions"], place.clamp(max=self.length - 1))
        x = self._drop(past * sqrt(d) + positions, "input", kept)
        for block in range(self.blocks):
            x = self._attend(x, str(block), own, kept)
            x = self._feed(x, str(block), own, kept)
        return _norm(x, "last", own)

    def _attend(
        self, x: Float[Tensor, "clients time d"], block: str, own: Parameters, kept: Parameters
    ) -> Float[Tensor, "clients time d"]:
        """Apply causal attention of the normalised states to the states, plus a residual."""
        queries = _norm(x, f"{block}.attention", own)
        q, k, v = (
            self._split(_linear(y, f"{block}.{layer}", own))
            for y, layer in ((queries, "query"), (x, "key"), (x, "value"))
        )
        later = x.new_full((x.shape[1], x.shape[1]), -torch.inf).triu_(1)
        weights = (q / sqrt(q.shape[-1]) @ k.mT + later).softmax(-1)
        mixed = self._drop(weights, f"{block}.attention", kept) @ v
        return mixed.transpose(1, 2).flatten(2) + queries

    def _feed(
        self, x: Float[Tensor, "clients time d"], block: str, own: Parameters, kept: Parameters
    ) -> Float[Tensor, "clients time d"]:
        """Apply two layers to each normalised state, plus a residual."""
        x = _norm(x, f"{block}.feed", own)
        inner = self._drop(relu(_linear(x, f"{block}.in", own)), f"{block}.in", kept)
        return self._drop(_linear(inner, f"{block}.out", own), f"{block}.out", kept) + x

    def _split(self, x: Float[Tensor, "clients time d"]) -> Float[Tensor, "clients h time part"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _drop(self, x: Tensor, name: str, kept: Mapping[str, Tensor]) -> Tensor:
        return x * kept[name] if name in kept else x

    def kept(
        self, clients: Int[Tensor, " clients"], time: int, streams: Streams
    ) -> Mapping[str, Float[Tensor, "clients ..."]]:
        """Draw the scaled dropout masks, by name, for clients with sequences of length `time`.

        Each name has its own streams, and each element takes 16 random bits. A client's masks are
        the first places of the masks that a sequence of `length` items would have.
        """
        if self.dropout == 0:
            return {}
        full, found = self.dropped(self.length), {}
        for name, shape in self.dropped(time).items():
            places = Places(shape, width=full[name][-1], stride=self.length)
            drawn = masks(streams.of_clients(f"dropout/{name}"), clients, places, self.dropout)
            found[name] = drawn.mul_(1 / (1 - self.dropout))
        return found

    def dropped(self, time: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the dropout masks, by name, for a sequence of length `time`."""
        shapes: dict[str, tuple[int, ...]] = {"input": (time, self.dim)}
        for block in range(self.blocks):
            shapes |= {
                f"{block}.attention": (self.heads, time, time),
                f"{block}.in": (time, self.hidden),
                f"{block}.out": (time, self.dim),
            }
        return shapes


def _rows_at(
    rows: Float[Tensor, "clients length d"], place: Int[Tensor, "clients time"]
) -> Float[Tensor, "clients time d"]:
    """Gather the rows at the given places, for each client."""
    if on_cpu(rows):
        return rows.gather(1, place[:, :, None].expand(-1, -1, rows.shape[2]))
    # This one-hot product gives the same numbers as the gather. Its gradients are summed by a
    # matrix product, which needs no sorting to have a fixed order.
    number = torch.arange(rows.shape[1], device=rows.device)
    return (place[:, :, None] == number).to(rows.dtype) @ rows


def _linear(x: Float[Tensor, "clients time a"], name: str, own: Parameters) -> Tensor:
    return torch.baddbmm(own[f"{name}.bias"][:, None], x, own[name])


def _norm(x: Float[Tensor, "clients time d"], name: str, own: Parameters) -> Tensor:
    scale, shift = own[f"{name}.scale"][:, None], own[f"{name}.shift"][:, None]
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:], eps=NORM_EPS), scale)
