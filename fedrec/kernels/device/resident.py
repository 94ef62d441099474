"""Clients' training data as they lie on the device, for kernels that look them up there."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Resident(NamedTuple):
    """Some clients' pairs and histories: where each lies in arrays that hold everybody's.

    A client's gaps are what each of its distinct items, in order, exceeds its place by: they tell
    which item is the j-th that the history lacks.
    """

    entry: Int[Tensor, "n 6"]  # id, first pair, pairs, first gap, gaps, first of the history
    positive: Int[Tensor, " pairs"]
    negative: Int[Tensor, " pairs"]
    history: Int[Tensor, " pairs"]
    gaps: Int[Tensor, " gaps"]
    longest: int  # pairs of anybody

    @property
    def ids(self) -> Int[Tensor, " n"]:
        """The clients' user ids."""
        return self.entry[:, 0]

    @property
    def starts(self) -> Int[Tensor, " n"]:
        """Where each client's pairs begin."""
        return self.entry[:, 1]

    @property
    def sizes(self) -> Int[Tensor, " n"]:
        """How many pairs each client has."""
        return self.entry[:, 2]

    @property
    def pasts(self) -> Int[Tensor, " n"]:
        """Where each client's history begins, which has an item for each pair."""
        return self.entry[:, 5]

    def places(self) -> tuple[Int[Tensor, " flat"], Int[Tensor, " flat"], Int[Tensor, " flat"]]:
        """Of all pairs, one after another: whose each is, its number there, where it lies.

        Waits for the device.
        """
        owner = torch.repeat_interleave(self.sizes)
        first = self.sizes.cumsum(0) - self.sizes
        number = torch.arange(len(owner), device=owner.device) - first[owner]
        return owner, number, self.starts[owner] + number
