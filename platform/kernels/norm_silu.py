"""A sum, the RMS norm over channels, a scale per channel and SiLU in one pass.

    total = x + bias + residual            (bias and residual if given; written back to x with `keep`)
    out = silu(total / |total| * weight)   (|total|: Euclidean length over the channels, at least 1e-12, in float32)

Traffic: x and the residual are read once, `out` is written once, and so is x with `keep`. Strides are arguments, so
`out` may be part of a larger buffer, and each tensor may have its own memory layout. A program handles a tile of pixels
with all channels of one frame, contiguous in memory along channels in channels-last, along pixels otherwise.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

SHORTEST = tl.constexpr(1e-12)


@triton.jit
def norm_silu_kernel(  # type: ignore[no-untyped-def]
    x,
    bias,
    residual,
    weight,
    out,
    pixels,
    x_channel,
    x_frame,
    x_pixel,
    residual_channel,
    residual_frame,
    residual_pixel,
    out_channel,
    out_frame,
    out_pixel,
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr,
    ADD_BIAS: tl.constexpr,
    ADD_RESIDUAL: tl.constexpr,
    KEEP: tl.constexpr,
):
    frame = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * BLOCK_PIXELS
    pixel = (first + tl.arange(0, BLOCK_PIXELS))[:, None]
    lane = tl.arange(0, BLOCK_CHANNELS)
    channel = lane.to(tl.int64)[None, :]
    inside = (pixel < pixels) & (lane < CHANNELS)[None, :]

    x_at = x + frame * x_frame + pixel * x_pixel + channel * x_channel
    total = tl.load(x_at, mask=inside, other=0.0).to(tl.float32)
    if ADD_BIAS:
        total += tl.load(bias + lane, mask=lane < CHANNELS, other=0.0).to(tl.float32)[None, :]
    if ADD_RESIDUAL:
        residual_at = residual + frame * residual_frame + pixel * residual_pixel + channel * residual_channel
        total += tl.load(residual_at, mask=inside, other=0.0).to(tl.float32)
    if KEEP:
        kept = total.to(x.dtype.element_ty)
        tl.store(x_at, kept, mask=inside)
        total = kept.to(tl.float32)

    length = tl.maximum(tl.sqrt(tl.sum(total * total, 1)), SHORTEST)
    scale = tl.load(weight + lane, mask=lane < CHANNELS, other=0.0)
    normed = total / length[:, None] * scale[None, :]
    silu = normed / (1.0 + tl.exp(-normed))
    out_at = out + frame * out_frame + pixel * out_pixel + channel * out_channel
    tl.store(out_at, silu.to(out.dtype.element_ty), mask=inside)


def norm_silu(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    keep: bool = False,
) -> None:
    """Write `out` [1, C, F, H, W]. With `keep`, overwrite `x`, of the same shape, with the sum.

    `residual` has the same shape; `weight` (float32) and `bias` are contiguous [C]. Tensors may have any strides with
    which the rows of a picture follow each other in memory. Launches on the current stream of x's device. Raises
    ValueError for other arguments.
    """
    check(x, weight, out, bias, residual)
    _, channels, frames, height, width = x.shape
    pixels, added = height * width, x if residual is None else residual
    tile = tile_of(channels, channels_last=x.stride(1) == 1)
    with torch.cuda.device_of(x):
        norm_silu_kernel[triton.cdiv(pixels, tile["BLOCK_PIXELS"]), frames](
            x,
            x if bias is None else bias,
            added,
            weight,
            out,
            pixels,
            *strides(x),
            *strides(added),
            *strides(out),
            CHANNELS=channels,
            **tile,
            ADD_BIAS=bias is not None,
            ADD_RESIDUAL=residual is not None,
            KEEP=keep,
        )


def tile_of(channels: int, channels_last: bool) -> dict[str, int]:
    """Launch options. A tile has all channels, so one load serves both the sum of squares and the result.

    Channels-last: 4096 values, 32 per thread. Otherwise 32 pixels, the 64 bytes of bfloat16 that a sector pair holds.
    """
    lanes = triton.next_power_of_2(channels)
    pixels = max(4096 // lanes, 1) if channels_last else 32
    return {"BLOCK_CHANNELS": lanes, "BLOCK_PIXELS": pixels, "num_warps": 4 if lanes * pixels <= 4096 else 8}


def strides(x: Tensor) -> tuple[int, int, int]:
    """The strides of channels, frames and pixels."""
    return x.stride(1), x.stride(2), x.stride(4)


def check(x: Tensor, weight: Tensor, out: Tensor, bias: Tensor | None, residual: Tensor | None) -> None:
    pictures = [x, out] if residual is None else [x, out, residual]
    for picture in pictures:
        if picture.shape != x.shape or picture.shape[0] != 1 or picture.device != x.device:
            raise ValueError(
                f"norm_silu: {tuple(picture.shape)} on {picture.device} does not match {tuple(x.shape)} on {x.device}"
            )
        if picture.shape[3] > 1 and picture.stride(3) != picture.shape[4] * picture.stride(4):
            raise ValueError(f"norm_silu: rows with strides {picture.stride()} do not follow each other in memory")
    for vector in (weight,) if bias is None else (weight, bias):
        if vector.shape != x.shape[1:2] or not vector.is_contiguous() or vector.device != x.device:
            raise ValueError(f"norm_silu: weight and bias must be contiguous vectors of {x.shape[1]} values")
    if weight.dtype != torch.float32:
        raise ValueError(f"norm_silu: weight is {weight.dtype}, not float32")
