"""Clients' training data on the device, for kernels that look them up there."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Resident(NamedTuple):
    """Pairs and histories of some clients: their places in arrays that hold those of all clients.

    A client's gaps are, for each of its distinct items in ascending order, the item minus its index
    in that order. They determine the j-th item that is missing from the history.
    """

    entry: Int[Tensor, "n 6"]  # id, first pair, pairs, first gap, gaps, start of the history
    positive: Int[Tensor, " pairs"]
    negative: Int[Tensor, " pairs"]
    history: Int[Tensor, " pairs"]
    gaps: Int[Tensor, " gaps"]
    longest: int  # largest number of pairs of a client

    @property
    def ids(self) -> Int[Tensor, " n"]:
        """The clients' user ids."""
        return self.entry[:, 0]

    @property
    def starts(self) -> Int[Tensor, " n"]:
        """The index of each client's first pair."""
        return self.entry[:, 1]

    @property
    def sizes(self) -> Int[Tensor, " n"]:
        """The number of pairs of each client."""
        return self.entry[:, 2]

    @property
    def pasts(self) -> Int[Tensor, " n"]:
        """The start of each client's history, which has one item per pair."""
        return self.entry[:, 5]

    def places(self) -> tuple[Int[Tensor, " flat"], Int[Tensor, " flat"], Int[Tensor, " flat"]]:
        """Return for all pairs, one after another: their client, number in the client, and place.

        Waits for the device.
        """
        owner = torch.repeat_interleave(self.sizes)
        first = self.sizes.cumsum(0) - self.sizes
        number = torch.arange(len(owner), device=owner.device) - first[owner]
        return owner, number, self.starts[owner] + number
