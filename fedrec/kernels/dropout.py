"""What dropout keeps: 16 random bits decide for each number."""

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
    """Where the masks of one shape lie in streams that have room for the longest sequence.

    The last axis is the first lanes of a row of `width`; the axis before is of rows that follow
    one another, and `stride` rows lie from one of those groups to the next.
    """

    shape: tuple[int, ...]  # of one client's masks: two axes at least
    width: int
    stride: int


class Dropout(NamedTuple):
    """What a loop must know of dropout on both sides of an inner product."""

    seeds: UInt64[np.ndarray, "clients 2"]
    below: int  # lanes below this are dropped
    scale: float  # of the product: each side counts for 1 / (1 − rate)

    @staticmethod
    def of(streams: ClientStreams, clients: Int[np.ndarray, " clients"], rate: float) -> "Dropout":
        """Dropout at a rate, by some clients' streams."""
        return Dropout(streams.seeds(clients), dropped_below(rate), product_scale(rate))


def product_scale(rate: float) -> float:
    """What an inner product of two embeddings under dropout is multiplied by."""
    return (1 - rate) ** -2


def dropped_below(rate: float) -> int:
    """The lanes below this are dropped: the rate, rounded to a multiple of 2⁻¹⁶."""
    return round(rate * 2**16)


@operation("draws")
def masks(
    streams: ClientStreams, clients: Int[Tensor, " clients"], places: Places, rate: float
) -> Float[Tensor, "clients ..."]:
    """1 for what dropout keeps, else 0, of each client."""
    draw = _compiled_masks if on_cpu(clients) else _tensor_masks
    return draw(streams, clients, places, rate)


def pair_masks(
    streams: ClientStreams,
    client: Int[Tensor, " pairs"],
    number: Int[Tensor, " pairs"],
    shape: tuple[int, ...],
    rate: float,
) -> Float[Tensor, "pairs *shape"]:
    """The same for training pairs: each is a row, by its client and its number there."""
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
    """1 where random 16 bits are not below `dropped_below`, else 0.

    Of each client, places (i, j, ·) are the first lanes of row i · stride + j, which has `width`.
    """
    below, words = np.uint16(dropped_below), row_buffer(out.shape[3], 16)
    lanes, blocks = words.view(np.uint16), row_blocks(width, 16)
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                fill(seeds[n], (i * stride + j) * blocks, words)
                for k in range(out.shape[3]):
                    out[n, i, j, k] = np.float32(lanes[k] >= below)
