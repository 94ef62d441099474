"""Neural collaborative filtering with a perceptron (He et al. 2017), in its federated form."""

from collections.abc import Mapping
from itertools import chain
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor

from fedrec.kernels.device.gradients import scattered
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.dropout import Places, masks
from fedrec.kernels.perceptron import (
    Layer,
    Pairs,
    Perceptron,
    add_at,
    bpr_gradients,
    scores,
    sum_rows,
    upper_states,
)
from fedrec.kernels.sums import inner_products
from fedrec.kernels.threads import spread
from fedrec.models._resident import ResidentBatch, looked_up
from fedrec.models.base import Batch, LocalGradients, Sequences, Shared
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates

SPREAD = 0.01  # standard deviation of the initial embeddings
# The most pairs of user and item that are scored at a time: they fit a CPU's cache, or fill a GPU.
PAIRS = {"cpu": 2**12, "cuda": 2**21}


class Found(NamedTuple):
    """The gradients of one client, or of a stack of clients, without L2."""

    dense: Float[Tensor, "*n params"]
    user: Float[Tensor, "*n d"]
    item: Float[Tensor, "*n twice d"]  # of the positives, then of the negatives
    loss: Float[Tensor, "*n"]


class Grid(NamedTuple):
    """The pairs of clients whose data are on a GPU, in one padded row per client."""

    positive: Int[Tensor, "n longest"]
    negative: Int[Tensor, "n longest"]
    used: Bool[Tensor, "n longest"]

    @staticmethod
    def of(own: Resident) -> "Grid":
        """Look up all pairs of some clients; unused places have the items of the first pair."""
        number = torch.arange(own.longest, device=own.entry.device)
        used = number < own.sizes[:, None]
        at = (own.starts[:, None] + number).where(used, 0)
        return Grid(own.positive[at], own.negative[at], used)


@settings
class NCF:
    """score(u, i) = w · MLP(u ⊕ v_i): layers with ReLU on the two embeddings, one after the other.

    The item table and all layers are shared and uploaded. A user's embedding stays on the client.
    A client's loss is the mean BPR loss of its pairs plus λ‖Θ‖² (paper, Eq. 1).

    This is the form that attacks on federated recommenders are tested on, such as A-ra and A-hum
    (Rong et al. 2022), PIECK (Zhang et al. 2024) and the membership inference of Yuan et al.
    (2023). The initial values are those of Rong et al.'s code: embeddings from
    N(0, 0.01²), layers Kaiming-uniform, biases 0. These sources train with cross-entropy, without
    dropout and L2. A bias of the score, which they have, has no gradient under BPR and is left out.
    """

    sequential: ClassVar[bool] = False

    dim: int = Field(default=64, ge=1, description="Embedding size d (as MF and SASRec).")
    layers: tuple[PositiveInt, ...] = Field(
        default=(64, 32),
        min_length=1,
        description="Widths of the hidden layers (Yuan et al. 2023).",
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Dropout of every gathered embedding (as MF)."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's η (He et al. 2017).")
    l2: float = Field(default=1e-5, ge=0, description="L2 coefficient λ (as MF and SASRec).")
    l2_half: bool = Field(
        default=False,
        description="Penalty ½λ‖Θ‖², as in the authors' code for MF, instead of λ‖Θ‖² (Eq. 1).",
    )

    @property
    def ridge(self) -> float:
        """The factor of the L2 gradient: 2λ, or λ if the penalty is halved."""
        return self.l2 if self.l2_half else 2 * self.l2

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every dense parameter, in the order of the upload."""
        first, d = self.layers[0], self.dim
        shapes: dict[str, tuple[int, ...]] = {"0.user": (first, d), "0.item": (first, d)}
        shapes["0.bias"] = (first,)
        for number, (width, below) in enumerate(zip(self.layers[1:], self.layers, strict=False), 1):
            shapes |= {f"{number}": (width, below), f"{number}.bias": (width,)}
        return shapes | {"out": (self.layers[-1],)}

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        """Draw normal item embeddings and Kaiming-uniform layers; biases are 0."""
        generator, parts = streams.generator("init-dense"), []
        for name, shape in self.shapes.items():
            fan_in = 2 * self.dim if name.startswith("0.") else shape[-1]
            bound = 0.0 if name.endswith("bias") else (6 / fan_in) ** 0.5
            parts.append((2 * generator.random(prod(shape), dtype=np.float32) - 1) * bound)
        items = self._embeddings(n_items, streams.generator("init-items"))
        return Shared(items=items, dense=torch.from_numpy(np.concatenate(parts, dtype=np.float32)))

    def init_local(self, n_users: int, streams: Streams) -> Float[Tensor, "users d"]:
        """Draw normal user embeddings, one row per client."""
        return self._embeddings(n_users, streams.generator("init-users"))

    def gradients(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Compute each client's gradient of its loss over all its pairs, client by client."""
        if isinstance(batch, ResidentBatch):
            return self._on_device(shared, local, batch, streams)
        n, bounds = len(local), [0, *batch.sizes.cumsum(0).tolist()]
        dense = shared.dense.expand(n, -1)
        rows = shared.items.new_zeros(len(batch.row_item), self.dim)
        to_dense, to_user, loss = dense * self.ridge, local * self.ridge, local.new_zeros(n)

        def train(c: int) -> None:
            mine = slice(bounds[c], bounds[c + 1])
            items = torch.cat([batch.positive[mine], batch.negative[mine]])
            pairs = Pairs(local[c : c + 1], shared.items.index_select(0, items))
            found = self._trained_alone(dense[c], pairs, batch.clients[c : c + 1], streams)
            to_dense[c] += found.dense
            to_user[c] += found.user
            loss[c] = found.loss
            # No other client adds to this client's rows.
            places = torch.cat([batch.positive_row[mine], batch.negative_row[mine]])
            add_at(rows, places, found.item)

        spread(train, range(n))
        updates = Updates(
            table=shared.items,
            owner=batch.row_owner,
            item=batch.row_item,
            value=rows,
            ridge=rows.new_full((n,), self.ridge),
            dense=to_dense,
            weight=batch.sizes.to(rows.dtype),
        )
        return LocalGradients(updates, to_user, loss)

    def _on_device(
        self,
        shared: Shared,
        local: Float[Tensor, "clients d"],
        batch: ResidentBatch,
        streams: Streams,
    ) -> LocalGradients:
        """Compute the gradients on a GPU, with all clients in one grid as long as the longest."""
        grid, dense = Grid.of(batch.resident), shared.dense.expand(len(local), -1)
        items, sizes = torch.cat([grid.positive, grid.negative], 1), batch.sizes.to(local.dtype)
        pairs = Pairs(local[:, None], looked_up(shared.items, items))
        kept = self._kept(batch.clients, grid.used.shape[1], streams)
        found = self._trained(dense, pairs, kept, grid.used / sizes.clamp(min=1)[:, None])
        places = items.where(grid.used.repeat(1, 2), -1)
        stack = scattered(shared.items, places, found.item, self.ridge)
        return LocalGradients(
            updates=Updates.in_stack(shared.items, stack, found.dense + dense * self.ridge, sizes),
            local=found.user.add_(local * self.ridge),
            loss=found.loss,
        )

    def _trained_alone(
        self,
        dense: Float[Tensor, " params"],
        pairs: Pairs,
        client: Int[Tensor, "1"],
        streams: Streams,
    ) -> Found:
        """Return the gradients of one client."""
        size = len(pairs.item) // 2
        kept = self._kept(client, size, streams)
        one = kept and Pairs(kept.user[0], kept.item[0])
        return self._trained(dense, pairs, one, dense.new_full((size,), 1 / max(size, 1)))

    def _trained(
        self,
        dense: Float[Tensor, "*n params"],
        pairs: Pairs,
        kept: Pairs | None,
        weight: Float[Tensor, "*n pairs"],
    ) -> Found:
        """Return the gradients of one client, or of each client of a stack."""
        if kept:
            pairs = Pairs(pairs.user * kept.user, pairs.item * kept.item)
        net, to_pairs, loss = bpr_gradients(self._network(dense), pairs, weight)
        if kept:
            to_pairs = Pairs(to_pairs.user * kept.user, to_pairs.item * kept.item)
        return Found(_flat(net), sum_rows(to_pairs.user), to_pairs.item, loss)

    def _kept(self, clients: Int[Tensor, " clients"], pairs: int, streams: Streams) -> Pairs | None:
        """Draw the scaled dropout masks of all embeddings; None without dropout.

        They are those of MF: each pair is a row of random bits, of user, positive and negative.
        """
        if self.dropout == 0:
            return None
        width = 3 * self.dim
        places = Places((pairs, width), width=width, stride=pairs)
        drawn = masks(streams.of_clients("dropout"), clients, places, self.dropout)
        user, *item = drawn.mul_(1 / (1 - self.dropout)).chunk(3, 2)
        return Pairs(user, torch.cat(item, 1))

    def scores_at(
        self,
        shared: Shared,
        local: Float[Tensor, "clients d"],
        batch: Batch,
        pairs: Int[Tensor, " some"],
    ) -> Float[Tensor, "some items"]:
        """Return the scores of all items; they are the same at all pairs of a client."""
        return self._scored(shared, local)[batch.owner[pairs]]

    def latest_scores(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: ResidentBatch
    ) -> Float[Tensor, "clients items"]:
        """Return the scores of all items; the sequence does not matter."""
        return self._scored(shared, local)

    def scores(
        self, shared: Shared, local: Float[Tensor, "clients d"], past: Sequences
    ) -> Float[Tensor, "clients items"]:
        """Return the scores of all items, without dropout."""
        return self._scored(shared, local)

    def _scored(
        self, shared: Shared, local: Float[Tensor, "clients d"]
    ) -> Float[Tensor, "clients items"]:
        """Score all items for some users, some users at a time.

        The first layer is a sum over user and item, so it is computed once for each of them.
        """
        net = self._network(shared.dense)
        users = inner_products(local, net.user) + net.bias
        items = inner_products(shared.items, net.item)
        count = max(PAIRS[items.device.type] // len(items), 1)
        found = []
        for some in users.split(count):
            first = (some[:, None] + items).flatten(0, 1)
            found.append(scores(net, upper_states(net, first)[-1]).view(len(some), len(items)))
        return torch.cat(found)

    def _network(self, dense: Float[Tensor, "*n params"]) -> Perceptron:
        """Return the layers that the dense parameters are."""
        parts = dense.split([prod(shape) for shape in self.shapes.values()], -1)
        user, item, bias, *above, out = (
            part.reshape(*dense.shape[:-1], *shape)
            for part, shape in zip(parts, self.shapes.values(), strict=True)
        )
        hidden = [Layer(*two) for two in zip(above[::2], above[1::2], strict=True)]
        return Perceptron(user, item, bias, hidden, out)

    def _embeddings(self, rows: int, generator: np.random.Generator) -> Float[Tensor, "rows d"]:
        drawn = generator.standard_normal((rows, self.dim), dtype=np.float32)
        return torch.from_numpy(drawn).mul_(SPREAD)


def _flat(net: Perceptron) -> Float[Tensor, "*n params"]:
    """Return the layers as dense parameters, in the order of the upload."""
    above = chain.from_iterable(net.hidden)
    parts = (net.user, net.item, net.bias, *above, net.out)
    return torch.cat([part.flatten(net.out.dim() - 1) for part in parts], -1)
