"""Random lanes in a kernel, with the bits of `kernels.philox`."""

import triton.language as tl

from fedrec.kernels.triton.jit import kernel

# Kernels take a stream as two halves of the key, the round (a pointer to it), and a client.


@kernel
def lanes_of(key_low, key_high, number, client, block):
    """Return the four 32-bit lanes of blocks."""
    none = (block * 0).to(tl.uint32)
    return tl.philox_impl(
        block.to(tl.uint32),
        none + client.to(tl.uint32),
        none + number.to(tl.uint32),
        none,
        none + key_low.to(tl.uint32),
        none + key_high.to(tl.uint32),
    )


@kernel
def lane32(key_low, key_high, number, client, row, element, blocks):
    """Return 32 random bits for elements of rows that take `blocks` blocks each."""
    a, b, c, d = lanes_of(key_low, key_high, number, client, row * blocks + element // 4)
    which = element % 4
    return tl.where(which == 0, a, tl.where(which == 1, b, tl.where(which == 2, c, d)))


@kernel
def lane16(key_low, key_high, number, client, row, element, blocks):
    """Return 16 random bits for elements of rows that take `blocks` blocks each."""
    a, b, c, d = lanes_of(key_low, key_high, number, client, row * blocks + element // 8)
    which = (element // 2) % 4
    word = tl.where(which == 0, a, tl.where(which == 1, b, tl.where(which == 2, c, d)))
    return ((word >> (16 * (element % 2)).to(tl.uint32)) & 0xFFFF).to(tl.int32)


@kernel
def log_uniform(bits):
    """Return ln U, where U · 2²³ is the 23 highest of 32 bits, plus a half."""
    return tl.log(((bits >> 9).to(tl.float32) + 0.5) * (1.0 / 8388608))
