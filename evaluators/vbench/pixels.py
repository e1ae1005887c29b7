"""VBench's resizes and normalisations of frames, on float32 pixels, on the device of the frames.

Resizes interpolate without antialiasing by default. They never round or clamp, so bicubic interpolation may
overshoot, as in VBench. No step uses PIL or rounds to whole levels.
Shapes: frames uint8 [n, H, W, 3]; pixels float32 [n, 3, h, w].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.evaluators.vbench.metric import split_batches

if TYPE_CHECKING:
    from longtake.evaluators.clip_frames import ClipFrames
    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIDE_PX = 224
DINOV2_SIDE_PX = 256
IMAGING_LONG_PX = 512


def each(prepare: Callable[[Tensor], Tensor], frames: ClipFrames, indices: Sequence[int]) -> Tensor:
    """The prepared frames at `indices` of a clip, `frames.chunk` of them at a time."""
    return torch.cat([prepare(frames.at(part)) for part in split_batches(indices, frames.chunk)])


def inputs_of(
    model_pool: ModelPool, view: ClipView, indices: list[int], name: str, prepare: Callable[[Tensor], Tensor]
) -> Tensor:
    """The prepared frames at `indices` of a clip. New frames are prepared once for all metrics that use `name`."""
    frames = model_pool.frames(view)
    if min(indices) < view.shared:
        return each(prepare, frames, indices)
    new = view.product(name, lambda: each(prepare, frames, range(view.shared, len(view))))
    return new[[index - view.shared for index in indices]]


def raw(frames: Tensor) -> Tensor:
    """Pixels 0..255: on a CPU in the memory layout of the frames, on a GPU in contiguous planes."""
    planes = frames.permute(0, 3, 1, 2)
    return (planes.contiguous() if frames.is_cuda else planes).float()


def for_dino(frames: Tensor) -> Tensor:
    """Shorter side 224, bilinear, no crop (vbench.utils.dino_transform)."""
    return normalised(resize_short(raw(frames), SIDE_PX, "bilinear") / 255.0, IMAGENET)


def for_clip(frames: Tensor) -> Tensor:
    """Shorter side 224, bicubic, centre crop (vbench.utils.clip_transform)."""
    return normalised(centre_crop(resize_short(raw(frames), SIDE_PX, "bicubic"), SIDE_PX) / 255.0, CLIP)


def for_musiq(frames: Tensor) -> Tensor:
    """Longer side at most 512, bilinear, sizes truncated to pixels; 0..1 (vbench.imaging_quality, mode 'longer')."""
    pixels = raw(frames)
    height, width = pixels.shape[-2:]
    if max(height, width) > IMAGING_LONG_PX:
        scale = IMAGING_LONG_PX / max(height, width)
        pixels = resize(pixels, (int(scale * height), int(scale * width)), "bilinear")
    return pixels / 255.0


def for_dinov2(frames: Tensor, antialias: bool) -> Tensor:
    """Shorter side 256, bicubic, centre crop 224 (vbench2_beta_long.utils.dinov2_transform)."""
    pixels = resize_short(raw(frames), DINOV2_SIDE_PX, "bicubic", antialias)
    return normalised(centre_crop(pixels, SIDE_PX) / 255.0, IMAGENET)


def for_dreamsim(frames: Tensor, antialias: bool) -> Tensor:
    """224x224 for any aspect ratio, bicubic; 0..1 (vbench2_beta_long.utils.dreamsim_transform)."""
    return resize(raw(frames), (SIDE_PX, SIDE_PX), "bicubic", antialias) / 255.0


def resize_short(pixels: Tensor, side: int, mode: str, antialias: bool = False) -> Tensor:
    """Resize the shorter side to `side` and keep the aspect ratio, truncated to pixels (torchvision's rule)."""
    height, width = pixels.shape[-2:]
    longer = int(side * max(height, width) / min(height, width))
    return resize(pixels, (side, longer) if height <= width else (longer, side), mode, antialias)


def resize(pixels: Tensor, size: tuple[int, int], mode: str, antialias: bool = False) -> Tensor:
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return F.interpolate(pixels, size, mode=mode, align_corners=False, antialias=antialias)


def centre_crop(pixels: Tensor, side: int) -> Tensor:
    """Offsets of half a pixel round to even, as in torchvision."""
    top, left = (round((length - side) / 2) for length in pixels.shape[-2:])
    return pixels[..., top : top + side, left : left + side]


def normalised(pixels: Tensor, statistics: Statistics) -> Tensor:
    mean, std = per_channel(statistics, pixels.device)
    return (pixels - mean) / std


@cache
def per_channel(statistics: Statistics, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation, [3, 1, 1] each. Cached, because copying them to a GPU waits for all work there."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in statistics)
    return mean, std


def pad_to(pixels: Tensor, multiple: int) -> tuple[Tensor, tuple[slice, slice]]:
    """Pad by edge pixels, half on each side, to multiples of `multiple`; also returns the slices of the picture."""
    height, width = pixels.shape[-2:]
    more_h, more_w = -height % multiple, -width % multiple
    top, left = more_h // 2, more_w // 2
    if not (more_h or more_w):
        return pixels, (slice(0, height), slice(0, width))
    padded = F.pad(pixels, [left, more_w - left, top, more_h - top], mode="replicate")
    return padded, (slice(top, top + height), slice(left, left + width))
