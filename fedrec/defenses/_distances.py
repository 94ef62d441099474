"""Distances between uploads, from their inner products: no difference is ever written out."""

import torch
from jaxtyping import Float64
from torch import Tensor

from fedrec.kernels.sums import mean_row, total


def squared_distances(gram: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    """Return ‖g_i − g_j‖² of all pairs; from an upload whose norm overflows, it is infinite."""
    norms = gram.diagonal()
    return (
        (norms[:, None] + norms - 2 * gram).clamp(min=0).nan_to_num(nan=torch.inf, posinf=torch.inf)
    )


def distances(
    gram: Float64[Tensor, "n n"], coefficients: Float64[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """Return each vector's distance from a combination of them all: ‖g_i − Σ_j c_j g_j‖."""
    along = mean_row(gram * coefficients[:, None]) * len(gram)  # g_i · Σ_j c_j g_j
    squares = gram.diagonal() - 2 * along + total(coefficients * along)
    return squares.clamp(min=0).sqrt()
