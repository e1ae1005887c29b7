"""RMS norms of queries and keys, read in place from the joint product that contains both.

torch's own norm first copies rows that are not contiguous.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit(do_not_specialize=["rows"])
def norm_rows_kernel(  # type: ignore[no-untyped-def]
    x, weight, out, rows, row_stride, part_stride, eps, DIM: tl.constexpr, WIDTH: tl.constexpr
):
    """WIDTH: the next power of two of DIM. Programs: (rows, parts)."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    inside = column < DIM
    values = tl.load(x + row * row_stride + part * part_stride + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values) / DIM + eps)
    scales = tl.load(weight + part * DIM + column, mask=inside, other=0.0).to(tl.float32)
    target = out + (part * rows + row) * DIM + column
    tl.store(target, (values * scale * scales).to(out.dtype.element_ty), mask=inside)


def norm_rows(x_MPD: Tensor, weight_PD: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x ** 2) + eps) * weight over D, in float32 -> [P, M, D]. Rows of `x` may have any stride.

    Raises ValueError if a row or the weights are not contiguous.
    """
    if x_MPD.stride(2) != 1 or not weight_PD.is_contiguous():
        raise ValueError("norm_rows: every row of x, and the weights, must be contiguous")
    rows, parts, dim = x_MPD.shape
    out = x_MPD.new_empty(parts, rows, dim)
    width = triton.next_power_of_2(dim)
    with torch.cuda.device_of(x_MPD):
        norm_rows_kernel[(rows, parts)](
            x_MPD, weight_PD, out, rows, x_MPD.stride(0), x_MPD.stride(1), eps, DIM=dim, WIDTH=width, num_warps=4
        )
    return out
