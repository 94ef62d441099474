"""Exponentials and logarithms as series, vectorised, with the same bits on any machine."""

import numpy as np
from jaxtyping import Float, Int

from fedrec.kernels.compiled import compiled
from fedrec.kernels.vectors import LANES, fused, same_bits

LN2, LOG2E = np.float32(np.log(2)), np.float32(1 / np.log(2))
C1, C3, C5, C7, C9, C11, C13, C15 = (np.float32(2 / odd) for odd in range(1, 16, 2))
WIDE_LN2, WIDE_LOG2E = float(np.log(2)), float(1 / np.log(2))


@compiled(inline="always")
def exponentials(
    x: Float[np.ndarray, " c"],
    top: np.float32,
    power: Float[np.ndarray, " c"],
    pattern: Int[np.ndarray, " c"],
) -> None:
    """x = exp(x − top) for x ≤ top, vectorised; `pattern` is the bits of `power`, a buffer.

    exp(y) = 2ⁿ 2ᶠ with n an integer and |f| ≤ ½; 2ᶠ is the series of exp(f ln 2) up to its sixth
    power, with an error of 2·10⁻⁷ at most.
    """
    for j in range(len(x)):
        t = (x[j] - top) * LOG2E
        t = t if t > np.float32(-126) else np.float32(-126)
        n = np.floor(t + np.float32(0.5))
        pattern[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
        f = (t - n) * LN2
        series = fused(np.float32(1 / 720), f, np.float32(1 / 120))
        series = fused(series, f, np.float32(1 / 24))
        series = fused(series, f, np.float32(1 / 6))
        series = fused(series, f, np.float32(1 / 2))
        series = fused(series, f, np.float32(1))
        x[j] = fused(series, f, np.float32(1)) * power[j]


@compiled(inline="always")
def logistic(
    x: Float[np.ndarray, " LANES"],
    factor: float,
    slope: Float[np.ndarray, " LANES"],
    cost: Float[np.ndarray, " LANES"],
) -> None:
    """slope = factor · σ(−x), and cost = −log σ(x) = ln(1 + e⁻ˣ).

    e = exp(−|x|) comes from the series of `exponentials` and `add_laplace` in float64, extended
    until the error is 10⁻⁹ at most. Infinities and NaNs of diverged training are preserved.
    """
    pattern = np.empty(LANES, np.int64)
    power = pattern.view(np.float64)
    for j in range(LANES):
        t = -abs(x[j]) * WIDE_LOG2E
        t = t if t > np.float64(-1000) else np.float64(-1000)
        n = np.floor(t + 0.5)
        pattern[j] = (np.int64(np.int32(n)) + 1023) << 52
        f = (t - n) * WIDE_LN2
        series = f * (1 / 40320) + (1 / 5040)
        series = series * f + (1 / 720)
        series = series * f + (1 / 120)
        series = series * f + (1 / 24)
        series = series * f + (1 / 6)
        series = series * f + (1 / 2)
        series = series * f + 1
        e = (series * f + 1) * power[j]
        slope[j] = factor * ((e if x[j] > 0 else np.float64(1)) / (1 + e))
        s = e / (2 + e)
        z = s * s
        series = z * (2 / 17) + (2 / 15)
        series = series * z + (2 / 13)
        series = series * z + (2 / 11)
        series = series * z + (2 / 9)
        series = series * z + (2 / 7)
        series = series * z + (2 / 5)
        series = series * z + (2 / 3)
        series = series * z + 2
        cost[j] = s * series + (np.float64(0) if x[j] > 0 else -x[j])


@compiled(inline="always")
def log_uniform(bits: np.uint32) -> np.float32:
    """Return ln U, where U · 2²³ is the 23 highest bits, plus a half."""
    # U = 2^e · m with m in [1, 2), split by its bits
    drawn = np.float32(np.int32(bits >> np.uint32(9))) + np.float32(0.5)
    pattern = same_bits(drawn * np.float32(2**-23))
    e = np.float32(np.int32(pattern >> np.uint32(23)) - np.int32(127))
    m = same_bits(np.uint32((pattern & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)))
    # ln m = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …) with s = (m − 1) / (m + 1) ≤ 1/3
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    two, four = z * z, z * z * (z * z)
    low = fused(fused(C7, z, C5), two, fused(C3, z, C1))
    high = fused(fused(C15, z, C13), two, fused(C11, z, C9))
    return fused(e, LN2, s * fused(high, four, low))
