"""Rotary positions in one pass over memory: reads [B, N, h, d], rotates in float32, and writes to the destination.

The plain form is `longtake.platform.models.rope.rotate` and a copy. In bf16 its operators move 24 bytes per number (to
float32, the product, back, the copy). The kernel moves 4; the rotation, which all heads share, comes from the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS = 32
"""Tokens of one head per program: 32 x 128 numbers."""


@triton.jit(do_not_specialize=["tokens"])  # runs of one, two or three frames are one program
def rotate_kernel(  # type: ignore[no-untyped-def]
    x,
    rotation,
    out,
    tokens,
    x_row,
    x_token,
    x_head,
    rotation_row,
    out_row,
    out_token,
    out_head,
    DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """PAIRS: the next power of two of DIM / 2. Programs: (groups of TOKENS, B, h)."""
    row, head = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)[:, None]
    column = tl.arange(0, 2 * PAIRS)[None, :]
    inside = (token < tokens) & (column < DIM)
    turn = tl.load(rotation + row * rotation_row + token * DIM + column, mask=inside, other=0.0)
    values = tl.load(x + row * x_row + head * x_head + token * x_token + column, mask=inside, other=0.0)
    cosines, sines = tl.split(tl.reshape(turn, (TOKENS, PAIRS, 2)))
    a, b = tl.split(tl.reshape(values.to(tl.float32), (TOKENS, PAIRS, 2)))
    turned = tl.reshape(tl.join(a * cosines - b * sines, a * sines + b * cosines), (TOKENS, 2 * PAIRS))
    target = out + row * out_row + head * out_head + token * out_token + column
    tl.store(target, turned.to(out.dtype.element_ty), mask=inside)


def rotate_into(x_BNhd: Tensor, rotation: Tensor, out_BhNd: Tensor) -> None:
    """Write x, rotated by rotation [B or 1, N, d / 2, 2] float32, to `out`. Only d must be contiguous in both.

    Raises ValueError for a layout that the kernel cannot read.
    """
    rows, tokens, heads, dim = x_BNhd.shape
    if x_BNhd.stride(3) != 1 or out_BhNd.stride(3) != 1 or not rotation[0].is_contiguous():
        raise ValueError("rotate_into: head dims, and the rotation of a row, must be contiguous")
    strides = (x_BNhd.stride(0), x_BNhd.stride(1), x_BNhd.stride(2), rotation.stride(0) * (rotation.shape[0] > 1))
    grid = (triton.cdiv(tokens, TOKENS), rows, heads)
    with torch.cuda.device_of(x_BNhd):
        rotate_kernel[grid](
            x_BNhd,
            rotation,
            out_BhNd,
            tokens,
            *strides,
            out_BhNd.stride(0),
            out_BhNd.stride(2),
            out_BhNd.stride(1),
            DIM=dim,
            PAIRS=triton.next_power_of_2(dim // 2),
            TOKENS=TOKENS,
        )
