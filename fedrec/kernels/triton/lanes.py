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


@kernel
def row_lanes16(key_low, key_high, number, client, row, blocks, WIDE: tl.constexpr):
    """Return 16 random bits for the first WIDE elements of rows; WIDE is a multiple of 8.

    A block has the bits of eight elements, and is computed once for them.
    """
    block = row[:, None] * blocks + tl.arange(0, WIDE // 8)[None, :]
    a, b, c, d = lanes_of(key_low, key_high, number, client, block)
    words = tl.join(tl.join(a, c), tl.join(b, d))  # a, b, c, d in the order of the last two axes
    lanes = tl.join(words & 0xFFFF, words >> 16)
    return tl.reshape(lanes, [row.shape[0], WIDE]).to(tl.int32)
