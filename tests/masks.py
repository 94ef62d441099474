"""What dropout keeps of each training pair, drawn by tensors."""

import torch

from fedrec.kernels import bpr
from fedrec.models.base import Batch
from fedrec.models.mf import pairs_of
from fedrec.rng import Streams


def dropout_masks(
    streams: Streams, batch: Batch, shape: tuple[int, ...], rate: float
) -> torch.Tensor:
    return bpr.dropout_masks(streams.of_clients("dropout"), pairs_of(batch), shape, rate)
