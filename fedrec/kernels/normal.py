"""Normal numbers from random bits."""

import numpy as np
from jaxtyping import Float, UInt32

from fedrec.kernels.compiled import compiled
from fedrec.kernels.series import log_uniform
from fedrec.kernels.vectors import fused


def normal_numbers(lanes: UInt32[np.ndarray, "*rows twice"]) -> Float[np.ndarray, "*rows twice"]:
    """Return two normal numbers for each two lanes of 32 bits: see `philox.Stream.normal`."""
    found = np.empty(lanes.shape, np.float32)
    normal_pairs(np.ascontiguousarray(lanes).ravel(), found.ravel())
    return found


@compiled()
def normal_pairs(lanes: UInt32[np.ndarray, " twice"], out: Float[np.ndarray, " twice"]) -> None:
    """out = normal numbers, two from each two lanes of 32 bits: see `philox.Stream.normal`."""
    for i in range(len(lanes) // 2):
        square = np.float32(-2) * log_uniform(lanes[2 * i])  # rounding can make it < 0 near U = 1
        radius = np.sqrt(square if square > np.float32(0) else np.float32(0))
        # The first two bits are a quarter of a turn, the rest is an angle in it from −π/4 to π/4.
        quarter, rest = lanes[2 * i + 1] >> np.uint32(30), lanes[2 * i + 1] << np.uint32(2)
        x = np.float32(np.int32(rest)) * np.float32(np.pi / 2 * 2**-32)
        z = x * x
        series = fused(np.float32(1 / 362880), z, np.float32(-1 / 5040))
        series = fused(series, z, np.float32(1 / 120))
        sine = fused(fused(series, z, np.float32(-1 / 6)) * z, x, x)
        series = fused(np.float32(1 / 40320), z, np.float32(-1 / 720))
        series = fused(series, z, np.float32(1 / 24))
        cosine = fused(fused(series, z, np.float32(-1 / 2)), z, np.float32(1))
        across, up = (sine, cosine) if quarter & np.uint32(1) else (cosine, sine)
        out[2 * i] = radius * (-across if quarter in (1, 2) else across)
        out[2 * i + 1] = radius * (-up if quarter >= 2 else up)
