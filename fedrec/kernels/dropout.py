"""Dropout masks: 16 random bits decide for each number whether it is kept."""

from math import prod
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.device.operation import operation
from fedrec.kernels.philox import ClientStreams, fill, row_blocks, row_buffer, tensor_lanes


class Places(NamedTuple):
    """The places of masks of one shape in streams that have room for the longest sequence.

    The last axis takes the first lanes of a row of `width`. The axis before takes consecutive rows.
    For each further axis, the next such group of rows begins `stride` rows later.
    """

    shape: tuple[int, ...]  # of one client's masks, with at least two axes
    width: int
    stride: int


class Dropout(NamedTuple):
    """The data that a loop needs for dropout on both sides of an inner product."""

    seeds: UInt64[np.ndarray, "clients 2"]
    below: int  # lanes below this are dropped
    scale: float  # of the product: each side is multiplied by 1 / (1 − rate)

    @staticmethod
    def of(streams: ClientStreams, clients: Int[np.ndarray, " clients"], rate: float) -> "Dropout":
        """Return dropout at a rate, with some clients' streams."""
        return Dropout(streams.seeds(clients), dropped_below(rate), product_scale(rate))


class Mask(NamedTuple):
    """The dropout masks of one array, one for each client, not drawn yet."""

    streams: ClientStreams
    clients: Int[Tensor, " clients"]
    places: Places
    rate: float

    @property
    def scale(self) -> float:
        """The factor of what dropout keeps: 1 / (1 − rate)."""
        return 1 / (1 - self.rate)

    def drawn(self) -> Float[Tensor, "clients ..."]:
        """Draw the scaled masks: 1 / (1 − rate) for what dropout keeps, else 0."""
        return masks(self.streams, self.clients, self.places, self.rate).mul_(self.scale)


def dropped(x: Float[Tensor, "*shape"], mask: Mask | None) -> Float[Tensor, "*shape"]:
    """Apply dropout, if there is a mask."""
    return x if mask is None else x * mask.drawn()


def product_scale(rate: float) -> float:
    """Return the factor of an inner product of two embeddings under dropout."""
    return (1 - rate) ** -2


def dropped_below(rate: float) -> int:
    """Return the bound below which lanes are dropped: the rate, rounded to a multiple of 2⁻¹⁶."""
    return round(rate * 2**16)


@operation("draws")
def masks(
    streams: ClientStreams, clients: Int[Tensor, " clients"], places: Places, rate: float
) -> Float[Tensor, "clients ..."]:
    """Return each client's masks: 1 for what dropout keeps, else 0."""
    draw = _compiled_masks if on_cpu(clients) else _tensor_masks
    return draw(streams, clients, places, rate)


def pair_masks(
    streams: ClientStreams,
    client: Int[Tensor, " pairs"],
    number: Int[Tensor, " pairs"],
    shape: tuple[int, ...],
    rate: float,
) -> Float[Tensor, "pairs *shape"]:
    """Return the masks of training pairs: each is a row, by its client and its number there."""
    lanes = tensor_lanes(streams, client, number, prod(shape), 16)
    return (lanes >= dropped_below(rate)).float().view(-1, *shape)


def _compiled_masks(
    streams: ClientStreams, clients: Int[Tensor, " clients"], places: Places, rate: float
) -> Float[Tensor, "clients ..."]:
    kept = torch.empty(len(clients), *places.shape)
    out = kept.view(len(clients), -1, *places.shape[-2:]).numpy()
    seeds = streams.seeds(clients.numpy())
    draw_masks(seeds, places.stride, places.width, dropped_below(rate), out)
    return kept


def _tensor_masks(
    streams: ClientStreams, clients: Int[Tensor, " clients"], places: Places, rate: float
) -> Float[Tensor, "clients ..."]:
    *groups, rows, last = places.shape
    within = torch.arange(rows, device=clients.device)
    row = torch.cat([group * places.stride + within for group in range(prod(groups))])
    each = clients.repeat_interleave(len(row)), row.repeat(len(clients))
    lanes = tensor_lanes(streams, *each, places.width, 16)[:, :last]
    return (lanes >= dropped_below(rate)).float().view(len(clients), *places.shape)


@compiled()
def draw_masks(
    seeds: UInt64[np.ndarray, "clients 2"],
    stride: int,
    width: int,
    dropped_below: int,
    out: Float[np.ndarray, "clients a b c"],
) -> None:
    """out = 1 where the 16 random bits are not below `dropped_below`, else 0.

    For each client, places (i, j, ·) are the first lanes of row i · stride + j, which has `width`.
    """
    below, words = np.uint16(dropped_below), row_buffer(out.shape[3], 16)
    lanes, blocks = words.view(np.uint16), row_blocks(width, 16)
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                fill(seeds[n], (i * stride + j) * blocks, words)
                for k in range(out.shape[3]):
                    out[n, i, j, k] = np.float32(lanes[k] >= below)
