"""Frames of the VAE as bytes, and as bytes on the host, with one wait."""

import numpy as np
import torch
from torch import Tensor

from longtake.platform.errors import LongtakeError

HALF = 127.5


@torch.inference_mode()
def to_pixels(frames_FCHW: Tensor) -> Tensor:
    """[m, 3, H, W], meant for [-1, 1] -> uint8 [m, H, W, 3] on the same device; any float dtype, rounded in float32.

    Pixel = (clamped x + 1) * 127.5, rounded half to even. NaN becomes any pixel: ask `all_finite`.
    """
    levels = frames_FCHW.permute(0, 2, 3, 1).clamp(-1, 1).float()
    return levels.add_(1).mul_(HALF).round_().to(torch.uint8, memory_format=torch.contiguous_format)


@torch.inference_mode()
def all_finite(frames_FCHW: Tensor) -> Tensor:
    """Whether no value is NaN or infinite: bool [], on the same device, without waiting for it. One read."""
    return torch.stack(frames_FCHW.aminmax()).isfinite().all()


def to_host(pixels_FHWC: Tensor, finite: Tensor) -> np.ndarray:
    """The pixels as an array of its own; waits for the caller's stream. Raises LongtakeError unless `finite` is true.

    From a GPU they come into pinned memory of torch's pool, which goes back to the pool with the array.
    """
    if pixels_FHWC.device.type == "cuda":
        landed = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in (pixels_FHWC, finite)]
        for target, source in zip(landed, (pixels_FHWC, finite), strict=True):
            target.copy_(source, non_blocking=True)
        torch.cuda.current_stream(pixels_FHWC.device).synchronize()
        pixels_FHWC, finite = landed
    if not finite.item():
        raise LongtakeError("Wan VAE: the frames hold NaN or infinity; the take diverged, or its weights are damaged")
    return pixels_FHWC.numpy()
