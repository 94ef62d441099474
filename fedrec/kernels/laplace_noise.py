"""Dense noise in the uploads of clients, drawn where it is needed and never stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from torch import Tensor

from fedrec.kernels.compiled import compiled
from fedrec.kernels.philox import fill, row_blocks, row_buffer
from fedrec.kernels.series import log_uniform
from fedrec.kernels.threads import spread
from fedrec.kernels.vectors import add_times

SUMS = 4  # groups of clients that are summed; independent of the threads, so results are as well


@dataclass(frozen=True)
class LaplaceNoise:
    """One client's noise: Υ ~ Laplace(0, scale) on every coordinate with |change| ≤ |Υ|.

    The change is given for some rows of the item table, and is 0 for all others. The random bits of
    Υ are the same on any device; its logarithm may differ in the last digits.
    """

    scale: float
    seed: UInt64[np.ndarray, "2"]  # of the stream for the item table
    item: Int[np.ndarray, " rows"]  # ascending
    change: Float[np.ndarray, "rows d"]
    dense_seed: UInt64[np.ndarray, "2"]
    dense_change: Float[np.ndarray, " params"]
    factor: float = 1.0  # by which the upload has been scaled since

    def scaled(self, factor: float) -> "LaplaceNoise":
        """Return the noise of an upload that is multiplied by `factor`."""
        return replace(self, factor=self.factor * factor)

    def add_to(
        self,
        items: Float[np.ndarray, "items d"],
        dense: Float[np.ndarray, " params"],
        coefficient: float,
    ) -> None:
        """Add coefficient · noise, in place."""
        share = coefficient * self.factor
        add_laplace(self.seed, self.scale, self.item, self.change, share, items)
        if len(dense):
            zero, change = np.zeros(1, np.int64), self.dense_change[None]
            add_laplace(self.dense_seed, self.scale, zero, change, share, dense[None])


Noises = Sequence[LaplaceNoise | None]  # by client; None: this client adds no noise


def add_noises(
    noises: Noises,
    coefficients: Float[Tensor, " n"],
    items: Float[Tensor, "items d"],
    dense: Float[Tensor, " params"],
) -> None:
    """items and dense += Σ_c coefficients[c] · noise of c, in place.

    The noise is drawn on the CPU for any device, one group of clients after another.
    """
    wanted = [(n, k) for n, k in zip(noises, coefficients.tolist(), strict=True) if n and k]

    def total(part: int) -> tuple[Tensor, Tensor]:
        sums = torch.zeros(items.shape), torch.zeros(dense.shape)
        for noise, coefficient in wanted[part::SUMS]:
            noise.add_to(sums[0].numpy(), sums[1].numpy(), coefficient)
        return sums

    for of_items, of_dense in spread(total, range(SUMS)):
        items += of_items.to(items.device)
        dense += of_dense.to(dense.device)


@compiled()
def add_laplace(
    seed: UInt64[np.ndarray, "2"],
    scale: float,
    item: Int[np.ndarray, " rows"],
    change: Float[np.ndarray, "rows d"],
    coefficient: float,
    total: Float[np.ndarray, "items d"],
) -> None:
    """total += coefficient · Υ where |change| ≤ |Υ|; see `LaplaceNoise`.

    Each coordinate takes 32 random bits, and each item is a row. The lowest bit is the sign of Υ.
    In |Υ| = −scale · ln U, the 23 highest bits plus a half are U · 2²³.
    """
    d = total.shape[1]
    blocks = row_blocks(d, 32)
    words = row_buffer(d, 32)
    lanes = words.view(np.uint32)
    noise = np.empty(d, np.float32)
    wide, share, row = -np.float32(scale), np.float32(coefficient), 0
    for i in range(len(total)):
        fill(seed, i * blocks, words)
        for k in range(d):
            size = wide * log_uniform(lanes[k])
            noise[k] = size if lanes[k] & np.uint32(1) else -size
        if row < len(item) and item[row] == i:
            for k in range(d):
                noise[k] = noise[k] if abs(change[row, k]) <= abs(noise[k]) else np.float32(0)
            row += 1
        add_times(share, noise, total[i])
