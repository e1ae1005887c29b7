"""Convolutions of the VAE's decoder for one take: the VAE's weights, with a history per take and a memory layout.

A causal convolution also reads its previous two input frames. They are at the front of a buffer [1, C, 2 + n, H, W];
the preceding operation writes its n frames after them, and the convolution pads the pictures itself, so no frame is
joined, padded or cloned. cuDNN's bfloat16 kernels read the memory layout "channels-last". With "contiguous" cuDNN
transposes, and torch does not use cuDNN 9.8 to 9.14 for 3D convolutions in bfloat16 (pytorch/pytorch#166643).
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
    """The weight of a convolution in this layout, copied only if it has another one."""
    return weight.detach().contiguous(memory_format=FORMATS[layout][weight.dim()])


def arrange_weights(network: torch.nn.Module, layout: Layout) -> None:
    """Put the weights of all convolutions in this layout, so that takes share them. Changes no value."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            module.weight.data = arranged(module.weight, layout)


class CausalConv:
    """A causal 3D convolution with stride 1. Write to `entry`, then call it; frames before the first are zeros.

    `frames`: the most new frames per call. The first latent frame of a take brings one.
    """

    def __init__(self, module: Any, layout: Layout, frames: int = 1):
        self.weight, self.bias = arranged(module.weight, layout), module.bias.detach()
        depth, height, width = self.weight.shape[2:]
        self.past, self.frames, self.padding = depth - 1, frames, (0, height // 2, width // 2)
        self.format = FORMATS[layout][5]
        self.buffer: Tensor | None = None
        self.filled = self.past

    def entry(self, like: Tensor) -> Tensor:
        """The part of the buffer for the next frames, with the shape and dtype of `like` [1, C, n, H, W]."""
        if self.buffer is None:
            shape = (1, like.shape[1], self.past + self.frames, *like.shape[3:])
            self.buffer = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self.format)
            self.buffer[:, :, : self.past].zero_()
        self.filled = self.past + like.shape[2]
        return self.buffer[:, :, self.past : self.filled]

    def __call__(self, add_bias: bool = False) -> Tensor:
        """Convolve the frames in `entry` to [1, C, n, H, W], with the bias if asked. They become history."""
        assert self.buffer is not None
        read = self.buffer[:, :, : self.filled]
        out = F.conv3d(read, self.weight, self.bias if add_bias else None, padding=self.padding)
        self.move_to_front(read)
        return out

    def move_to_front(self, read: Tensor) -> None:
        """Move the last frames read to the front, in parts whose source and destination do not overlap."""
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
    """A 2D convolution of each frame in a stack [n, C, H, W]."""

    def __init__(self, module: Any, layout: Layout):
        self.weight, self.bias = arranged(module.weight, layout), module.bias.detach()
        self.padding = module.padding

    def __call__(self, pictures_FCHW: Tensor) -> Tensor:
        """[1, C, n, H, W], without the bias."""
        return F.conv2d(pictures_FCHW, self.weight, None, padding=self.padding).transpose(0, 1)[None]


def enlarged(x_BCFHW: Tensor, times: int, layout: Layout) -> Tensor:
    """[1, times * C, n, h, w] -> [times * n, C, 2 h, 2 w]: each pixel becomes four, in one copy.

    With `times` 2, the first half of the channels is one frame and the second half the next.
    """
    _, channels, frames, height, width = x_BCFHW.shape
    shape = (frames * times, channels // times, 2 * height, 2 * width)
    out = torch.empty(shape, dtype=x_BCFHW.dtype, device=x_BCFHW.device, memory_format=FORMATS[layout][4])
    source = x_BCFHW[0].unflatten(0, (times, -1)).permute(2, 0, 1, 3, 4)[:, :, :, :, None, :, None]
    parts = out.unflatten(3, (width, 2)).unflatten(2, (height, 2)).unflatten(0, (frames, times))
    parts.copy_(source.expand_as(parts))
    return out
