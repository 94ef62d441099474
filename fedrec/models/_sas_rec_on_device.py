"""SASRec on a GPU: its forward and backward pass, written out in few operations.

Automatic differentiation takes three times as many, most of them on small arrays, where a GPU's
time depends on their number. `models.sas_rec` has the same network for any device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.kernels.device.gradients import scattered
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.device.sequences import Tokens, bpr_slopes, longest, tokens, tokens_back
from fedrec.kernels.device.transformer import (
    States,
    Weights,
    Wide,
    activated,
    activated_back,
    add_normed,
    attention_back,
    attention_weights,
    norm_back,
    normed,
)
from fedrec.kernels.dropout import Mask
from fedrec.models.base import LocalGradients, Shared
from fedrec.updates import Updates

Shapes = Mapping[str, tuple[int, ...]]
Heads = Float[Tensor, "n heads time part"]


class Attention(NamedTuple):
    """What attention leaves for its backward pass."""

    query: Heads
    key: Heads
    value: Heads
    weights: Weights
    kept: Weights  # the weights with dropout


class Block(NamedTuple):
    """What a block leaves for its backward pass."""

    x: Wide
    queries: Wide  # x normalised
    attention: Attention
    mixed: Wide  # the result of attention
    fed: Wide  # the same normalised
    inner: Wide


@dataclass(frozen=True)
class Network:
    """The transformer with each client's parameters, and with dropout if there are masks."""

    heads: int
    own: Mapping[str, Tensor]  # see `parts`
    masks: Mapping[str, Mask]

    @property
    def blocks(self) -> int:
        """The number of self-attention blocks."""
        return sum(name.endswith("query") for name in self.own)

    def forward(self, x: Wide) -> tuple[list[Block], Wide, Wide]:
        """Return the blocks, the last block's states, and the same normalised."""
        blocks: list[Block] = []
        y = normed(x, self.own[self._norm(0)])
        for number in range(self.blocks):
            attention, found = self._attend(x, y, number)
            mixed, fed = add_normed(found, None, y, self.own[f"{number}.feed"])
            inner = activated(self._layer(fed, f"{number}.in"), self.masks.get(f"{number}.in"))
            blocks.append(Block(x, y, attention, mixed, fed, inner))
            out, mask = self._layer(inner, f"{number}.out"), self._mask(number + 1)
            x, y = add_normed(out, mask, fed, self.own[self._norm(number + 1)])
        return blocks, x, y

    def backward(
        self, gradient: States, blocks: list[Block], x: Wide, to: Mapping[str, Tensor]
    ) -> States:
        """Return the gradient of the input before dropout; add those of the parameters to `to`.

        `gradient` is that of the normalised states, x the states before. It may be overwritten.
        """
        to_x, to_change = self._norm_back(self.blocks, gradient, x, None, to)
        for number in reversed(range(self.blocks)):
            block = blocks[number]
            to_fed = self._feed_back(to_x, to_change, block, number, to)
            name = f"{number}.feed"
            to_mixed, _ = norm_back(to_fed, block.mixed, self.own[name], None, None, to[name])
            to_queries, to_x = self._attend_back(to_mixed, block, number, to)
            to_x, to_change = self._norm_back(number, to_queries, block.x, to_x, to)
        return to_change

    def _norm(self, number: int) -> str:
        """Return the name of the norm before a block, or after the last."""
        return f"{number}.attention" if number < self.blocks else "last"

    def _mask(self, number: int) -> Mask | None:
        """Return the mask of what a block reads, or of what the last one gives."""
        return self.masks.get(f"{number - 1}.out" if number else "input")

    def _norm_back(
        self, number: int, gradient: States, x: Wide, other: States | None, to: Mapping[str, Tensor]
    ) -> tuple[States, States]:
        name = self._norm(number)
        return norm_back(gradient, x, self.own[name], other, self._mask(number), to[name])

    def _attend(self, x: Wide, queries: Wide, number: int) -> tuple[Attention, States]:
        """Let queries attend to x."""
        layers = (queries, "query"), (x, "key"), (x, "value")
        q, k, v = (self._split(self._layer(y, f"{number}.{name}")) for y, name in layers)
        mask = self.masks.get(f"{number}.attention")
        weights, kept = attention_weights(q @ k.mT, 1 / sqrt(q.shape[-1]), mask)
        return Attention(q, k, v, weights, kept), _joined(kept @ v)

    def _attend_back(
        self, gradient: States, block: Block, number: int, to: Mapping[str, Tensor]
    ) -> tuple[States, States]:
        """Return the gradients of the queries and of x; `gradient` is overwritten."""
        (q, k, v, weights, kept), by_head = block.attention, self._split(gradient)
        to_value = _joined(kept.mT @ by_head)
        scores = attention_back(by_head @ v.mT, weights, kept, 1 / sqrt(q.shape[-1]))
        to_query, to_key = _joined(scores @ k), _joined(scores.mT @ q)
        to[f"{number}.query"].baddbmm_(block.queries.mT, to_query)
        to[f"{number}.key"].baddbmm_(block.x.mT, to_key)
        to[f"{number}.value"].baddbmm_(block.x.mT, to_value)
        to_queries = gradient.baddbmm_(to_query, self._back(f"{number}.query"))
        to_x = torch.bmm(to_key, self._back(f"{number}.key"))
        return to_queries, to_x.baddbmm_(to_value, self._back(f"{number}.value"))

    def _feed_back(
        self,
        to_x: States,
        to_change: States,
        block: Block,
        number: int,
        to: Mapping[str, Tensor],
    ) -> States:
        """Return the gradient of the states that the two layers read and are added to.

        `to_x` is the gradient of the sum, and is overwritten; `to_change` that of the layers.
        """
        to[f"{number}.out"].baddbmm_(block.inner.mT, to_change)
        to_inner = torch.bmm(to_change, self._back(f"{number}.out"))
        mask = self.masks.get(f"{number}.in")
        to_inner = activated_back(to_inner, block.inner, 1.0 if mask is None else mask.scale)
        to[f"{number}.in"].baddbmm_(block.fed.mT, to_inner)
        return to_x.baddbmm_(to_inner, self._back(f"{number}.in"))

    def _layer(self, x: Wide, name: str) -> Tensor:
        """Apply a layer, bias included."""
        return torch.bmm(x, self.own[name])

    def _back(self, name: str) -> Tensor:
        """Return the matrix that takes a layer's gradient to its input."""
        return self.own[name][:, :-1].mT

    def _split(self, x: States) -> Heads:
        """Return a view in which each head has its part of the coordinates."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _joined(x: Heads) -> States:
    """Return states from their heads' parts, which are copied if there are several heads."""
    return x.transpose(1, 2).flatten(2)


def parts(dense: Float[Tensor, "n params"], shapes: Shapes) -> Mapping[str, Tensor]:
    """Return views of dense parameters, or of their gradients, by name.

    A layer is (n, inputs + 1, outputs), with its bias as the last row. A norm is (n, 2, d): scale
    and shift. In the upload they are neighbours.
    """
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    for name, shape in shapes.items():
        whole = name.removesuffix(".bias").removesuffix(".scale").removesuffix(".shift")
        columns[whole] = shape[-1]
        rows[whole] = rows.get(whole, 0) + prod(shape[:-1])
    split = dense.split([rows[name] * columns[name] for name in rows], dim=1)
    return {
        name: part.unflatten(1, (rows[name], columns[name]))
        for name, part in zip(rows, split, strict=True)
    }


def gradients(
    shared: Shared,
    resident: Resident,
    heads: int,
    shapes: Shapes,
    masks: Mapping[str, Mask],
    ridge: float,
) -> LocalGradients:
    """Compute each client's gradients, with all clients in one grid as long as the longest."""
    network, read = _begun(shared, resident, heads, shapes, masks)
    blocks, x, states = network.forward(read.states)
    n, time, d = read.apart.shape
    to_items = read.apart.new_empty(n, 3 * time, d)
    loss, to_states = bpr_slopes(states, read.apart, read.counts, to_items)
    dense = shared.dense.expand(n, -1)
    to_dense = torch.mul(dense, ridge, out=dense.new_empty(dense.shape))
    to = parts(to_dense, shapes)
    to_input = network.backward(to_states, blocks, x, to)
    tokens_back(to_input, read.counts, to_items, to["positions"])
    stack = scattered(shared.items, read.places, to_items, ridge)
    weight = read.counts.to(to_dense.dtype)
    updates = Updates.in_stack(shared.items, stack, to_dense, weight)
    return LocalGradients(updates, local=to_dense.new_empty(n, 0), loss=loss.sum(1))


def latest_states(
    shared: Shared, resident: Resident, heads: int, shapes: Shapes
) -> Float[Tensor, "n d"]:
    """Return the state that predicts each client's latest item; 0 for one without tokens."""
    network, read = _begun(shared, resident, heads, shapes, {})
    *_, states = network.forward(read.states)
    last = (read.counts - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2] - 1)
    return states.gather(1, last)[:, 0] * (read.counts > 0)[:, None]


def _begun(
    shared: Shared, resident: Resident, heads: int, shapes: Shapes, masks: Mapping[str, Mask]
) -> tuple[Network, Tokens]:
    """Return the network of some clients, and the tokens that it reads."""
    own = parts(shared.dense.expand(len(resident.entry), -1), shapes)
    time = longest(resident, own["positions"].shape[1])
    read = tokens(shared.items, own["positions"], resident, time, masks.get("input"))
    return Network(heads, own, masks), read
