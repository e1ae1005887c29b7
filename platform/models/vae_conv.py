"""Convolutions of the VAE's decoder, for one take: the weights of the VAE, a history and a memory layout of their own.

A causal convolution reads its last two input frames again. They stay at the front of a buffer [1, C, 2 + n, H, W]; what
comes before writes its n frames behind them, and the convolution pads the pictures itself: no frame is joined, padded
or cloned. Memory layout: "channels-last" is what cuDNN's bfloat16 kernels read; with "contiguous" it transposes, and
cuDNN 9.8 to 9.14 is not used at all for 3D convolutions in bfloat16 (pytorch/pytorch#166643).
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Layout = Literal["channels-last", "contiguous"]
FORMATS: dict[str, dict[int, torch.memory_format]] = {
    "channels-last": {4: torch.channels_last, 5: torch.channels_last_3d},
    "contiguous": {4: torch.contiguous_format, 5: torch.contiguous_format},
}


def default_layout(device: torch.device) -> Layout:
    return "channels-last" if device.type == "cuda" else "contiguous"


def arranged(weight: Tensor, layout: Layout) -> Tensor:
    """The weight of a convolution in this layout: itself if it has it already, else a copy."""
    return weight.detach().contiguous(memory_format=FORMATS[layout][weight.dim()])


def arrange_weights(network: torch.nn.Module, layout: Layout) -> None:
    """Put the weights of all convolutions into this layout, so that takes share them; changes no value."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            module.weight.data = arranged(module.weight, layout)


class CausalConv:
    """A causal 3D convolution with stride 1. Write to `entry`, then call it; frames before the first are zeros.

    `frames`: how many new frames a call brings at most; a take's first latent frame brings one.
    """

    def __init__(self, module: Any, layout: Layout, frames: int = 1):
        self.weight, self.bias = arranged(module.weight, layout), module.bias.detach()
        depth, height, width = self.weight.shape[2:]
        self.past, self.frames, self.padding = depth - 1, frames, (0, height // 2, width // 2)
        self.format = FORMATS[layout][5]
        self.buffer: Tensor | None = None
        self.filled = self.past

    def entry(self, like: Tensor) -> Tensor:
        """The part of the buffer for the next frames, of the shape and dtype of `like` [1, C, n, H, W]."""
        if self.buffer is None:
            shape = (1, like.shape[1], self.past + self.frames, *like.shape[3:])
            self.buffer = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self.format)
            self.buffer[:, :, : self.past].zero_()
        self.filled = self.past + like.shape[2]
        return self.buffer[:, :, self.past : self.filled]

    def __call__(self, add_bias: bool = False) -> Tensor:
        """[1, C, n, H, W] of the frames in `entry`, without the bias unless asked; they become history."""
        assert self.buffer is not None
        read = self.buffer[:, :, : self.filled]
        out = F.conv3d(read, self.weight, self.bias if add_bias else None, padding=self.padding)
        self.move_to_front(read)
        return out

    def move_to_front(self, read: Tensor) -> None:
        """The last frames of what was read, as many at a time as do not overlap the place that they go to."""
        new = read.shape[2] - self.past
        for start in range(0, self.past, new):
            end = min(start + new, self.past)
            read[:, :, start:end].copy_(read[:, :, new + start : new + end])


class PointConv:
    """A convolution with a kernel of one pixel of one frame."""

    def __init__(self, module: Any, layout: Layout):
        self.weight, self.bias = arranged(module.weight, layout), module.bias.detach()

    def __call__(self, x_BCFHW: Tensor) -> Tensor:
        return F.conv3d(x_BCFHW, self.weight, self.bias)


class PictureConv:
    """A convolution of each frame by itself, of a stack [n, C, H, W]."""

    def __init__(self, module: Any, layout: Layout):
        self.weight, self.bias = arranged(module.weight, layout), module.bias.detach()
        self.padding = module.padding

    def __call__(self, pictures_FCHW: Tensor) -> Tensor:
        """[1, C, n, H, W], without the bias."""
        return F.conv2d(pictures_FCHW, self.weight, None, padding=self.padding).transpose(0, 1)[None]


def enlarged(x_BCFHW: Tensor, times: int, layout: Layout) -> Tensor:
    """[1, times * C, n, h, w] -> [times * n, C, 2 h, 2 w]: each pixel becomes four, in one copy.

    `times` 2: the first half of the channels is a frame, the second half the frame behind it.
    """
    _, channels, frames, height, width = x_BCFHW.shape
    shape = (frames * times, channels // times, 2 * height, 2 * width)
    out = torch.empty(shape, dtype=x_BCFHW.dtype, device=x_BCFHW.device, memory_format=FORMATS[layout][4])
    source = x_BCFHW[0].unflatten(0, (times, -1)).permute(2, 0, 1, 3, 4)[:, :, :, :, None, :, None]
    parts = out.unflatten(3, (width, 2)).unflatten(2, (height, 2)).unflatten(0, (frames, times))
    parts.copy_(source.expand_as(parts))
    return out
