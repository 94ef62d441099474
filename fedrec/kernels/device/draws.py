"""Random arrays drawn on the device, with the same bits as `kernels.philox`."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.device.operation import operation
from fedrec.kernels.laplace_noise import add_laplace
from fedrec.kernels.philox import ClientStreams, Stream


@operation("draws")
def uniform(
    streams: ClientStreams, clients: Int[Tensor, " n"], rows: int, width: int
) -> Float[Tensor, "n rows width"]:
    """Return `Stream.uniform` of each client."""
    drawn = [Stream(streams.key, streams.round, c).uniform((rows, width)) for c in clients.tolist()]
    return torch.from_numpy(np.stack(drawn))


@operation("draws")
def normal(
    streams: ClientStreams, clients: Int[Tensor, " n"], rows: int, width: int
) -> Float[Tensor, "n rows width"]:
    """Return `Stream.normal` of each client."""
    drawn = [Stream(streams.key, streams.round, c).normal((rows, width)) for c in clients.tolist()]
    return torch.from_numpy(np.stack(drawn))


@operation("draws")
def add_laplace_noise(
    value: Float[Tensor, "n rows width"],
    change: Float[Tensor, "n rows width"],
    streams: ClientStreams,
    clients: Int[Tensor, " n"],
    scale: float,
) -> None:
    """Add Υ ~ Laplace(0, scale) if |change| ≤ |Υ|: see `kernels.laplace_noise.LaplaceNoise`."""
    rows = np.arange(value.shape[1])
    for c, seed in enumerate(streams.seeds(clients.numpy())):
        add_laplace(seed, scale, rows, change[c].numpy(), 1.0, value[c].numpy())
