"""The gradient of a Kullback-Leibler divergence between softmaxes."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.series import exponentials


def divergence_gradients(
    x: Float[Tensor, "rows d"], center: Float[Tensor, " d"]
) -> Float[Tensor, "rows d"]:
    """Return ∂/∂x KL(softmax(x) ‖ softmax(center)) for each row x.

    With s = softmax(x) and b = x − center it is s ⊙ (b − s · b). For a weighted mean over several
    centers, with weights that sum to 1, `center` is the same mean of them.
    """
    if not on_cpu(x):
        s, apart = x.softmax(1), x - center
        return s * (apart - (s * apart).sum(1, keepdim=True))
    gradients = torch.empty_like(x)
    divergence_rows(x.contiguous().numpy(), center.contiguous().numpy(), gradients.numpy())
    return gradients


@compiled()
def divergence_rows(
    x: Float[np.ndarray, "rows d"],
    center: Float[np.ndarray, " d"],
    out: Float[np.ndarray, "rows d"],
) -> None:
    """out = s ⊙ (b − s · b) for each row, with s = softmax(x) and b = x − center."""
    rows, d = x.shape
    s, power = np.empty(d, np.float32), np.empty(d, np.float32)
    pattern = power.view(np.int32)
    for r in range(rows):
        s[:] = x[r]
        exponentials(s, x[r].max(), power, pattern)
        whole, along = np.float64(0), np.float64(0)
        for k in range(d):
            whole += s[k]
            along += s[k] * np.float64(x[r, k] - center[k])
        for k in range(d):
            out[r, k] = s[k] / whole * ((x[r, k] - center[k]) - along / whole)
