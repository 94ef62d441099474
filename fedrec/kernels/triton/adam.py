"""Adam on a GPU: see `kernels.adam.adam_step`."""

from math import log

import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.adam import BETAS, EPS, Moments
from fedrec.kernels.triton.jit import kernel

BLOCK = 1024


@kernel
def adam_kernel(
    value,
    gradient,
    mean,
    square,
    step,
    rate,
    log_beta1,
    log_beta2,
    beta1,
    beta2,
    eps,
    size,
    B: tl.constexpr,
):
    """Update some numbers; `step` counts their steps so far."""
    i = tl.program_id(0) * B + tl.arange(0, B)
    inside, t = i < size, (tl.load(step) + 1).to(tl.float64)
    first = (rate / (1 - tl.exp(t * log_beta1))).to(tl.float32)
    second = (1 / (1 - tl.exp(t * log_beta2))).to(tl.float32)
    g = tl.load(gradient + i, mask=inside)
    m = beta1 * tl.load(mean + i, mask=inside) + (1 - beta1) * g
    s = beta2 * tl.load(square + i, mask=inside) + (1 - beta2) * g * g
    x = tl.load(value + i, mask=inside)
    tl.store(mean + i, m, mask=inside)
    tl.store(square + i, s, mask=inside)
    tl.store(value + i, x - first * m / (tl.sqrt(s * second) + eps), mask=inside)


def adam_step(parameter: Tensor, gradient: Tensor, moments: Moments, learning_rate: float) -> None:
    """See `kernels.adam.adam_step`."""
    (beta1, beta2), size = BETAS, parameter.numel()
    if size:
        adam_kernel[(triton.cdiv(size, BLOCK),)](
            parameter,
            gradient.contiguous(),
            *moments,
            learning_rate,
            log(beta1),
            log(beta2),
            beta1,
            beta2,
            EPS,
            size,
            B=BLOCK,
        )
    moments.step.add_(1)
