"""Converts frames of the VAE to bytes, and moves them to the host with one wait."""

import numpy as np
import torch
from torch import Tensor

from longtake.platform.errors import LongtakeError

HALF = 127.5


@torch.inference_mode()
def to_pixels(frames_FCHW: Tensor) -> Tensor:
    """Frames [m, 3, H, W] of any float dtype -> uint8 [m, H, W, 3] on the same device.

    Pixel = (x clamped to [-1, 1] + 1) * 127.5 in float32, rounded half to even. NaN gives an arbitrary pixel; check
    `all_finite`.
    """
    levels = frames_FCHW.permute(0, 2, 3, 1).clamp(-1, 1).float()
    return levels.add_(1).mul_(HALF).round_().to(torch.uint8, memory_format=torch.contiguous_format)


@torch.inference_mode()
def to_truncated_pixels(frames_FCHW: Tensor) -> Tensor:
    """Frames [m, 3, H, W] -> uint8 [m, H, W, 3] as the published scripts write them: x clamped to [-1, 1], then
    (x / 2 + 1/2) * 255 in float32 without its fraction."""
    levels = frames_FCHW.permute(0, 2, 3, 1).float().clamp(-1, 1)
    levels = levels.mul_(0.5).add_(0.5).clamp_(0, 1).mul_(255)
    return levels.to(torch.uint8, memory_format=torch.contiguous_format)


@torch.inference_mode()
def all_finite(frames_FCHW: Tensor) -> Tensor:
    """Whether no value is NaN or infinite: bool [] on the same device, not waited for. Reads the frames once."""
    return torch.stack(frames_FCHW.aminmax()).isfinite().all()


def to_host(pixels_FHWC: Tensor, finite: Tensor) -> np.ndarray:
    """Copy the pixels to a new array. Waits for the caller's stream. Raises LongtakeError unless `finite` is true.

    From a GPU they are copied to pinned memory of torch's pool, to which it returns with the array.
    """
    if pixels_FHWC.device.type == "cuda":
        copies = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in (pixels_FHWC, finite)]
        for target, source in zip(copies, (pixels_FHWC, finite), strict=True):
            target.copy_(source, non_blocking=True)
        torch.cuda.current_stream(pixels_FHWC.device).synchronize()
        pixels_FHWC, finite = copies
    if not finite.item():
        raise LongtakeError("Wan VAE: the frames hold NaN or infinity; the take diverged, or its weights are damaged")
    return pixels_FHWC.numpy()
