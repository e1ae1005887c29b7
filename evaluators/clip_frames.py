"""The frames of a clip on the device of its networks, as uint8 tensors.

On a CPU the frames stay in the decoder's memory, and the requested ones are copied. A clip is copied to a GPU once, as
uint8 and through pinned memory; every metric takes its frames from that copy, and resizes and normalises them on the
GPU. Shapes: frames uint8 [n, H, W, 3].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longtake.evaluators.views import Frames

PREPARED_BYTES = 256 << 20
FLOAT_RGB_BYTES = 12


class ClipFrames(Protocol):
    """Frames of one clip. `chunk`: number of frames to prepare at a time."""

    @property
    def chunk(self) -> int: ...

    def at(self, indices: Sequence[int]) -> Tensor:
        """A copy of the frames at `indices` in the clip, uint8 [len(indices), H, W, 3]."""


class OnHost:
    """Frames in the clip's own memory, prepared one at a time, so that the float32 pixels of a frame fit in the CPU
    cache."""

    chunk = 1

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def at(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.frames[list(indices)])


class OnDevice:
    """Frames on a device, prepared in chunks of PREPARED_BYTES in float32."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    @property
    def chunk(self) -> int:
        height, width = self.frames.shape[1:3]
        return max(1, PREPARED_BYTES // (FLOAT_RGB_BYTES * height * width))

    def at(self, indices: Sequence[int]) -> Tensor:
        # frames[indices] would copy the list to the GPU and wait for all work there.
        return torch.stack([self.frames[index] for index in indices])


class Upload:
    """Copies clips to a device through one pinned buffer, which grows to the largest clip. Not thread-safe."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.copied: torch.cuda.Event | None = None

    def __call__(self, frames: Frames) -> OnDevice:
        """Queue the copy on the device's current stream, without waiting for it."""
        buffer = self.pinned(frames.size)
        np.copyto(buffer.numpy().reshape(frames.shape), frames)
        moved = buffer.view(frames.shape).to(self.device, non_blocking=True, copy=True)
        if self.device.type == "cuda":
            self.copied = torch.cuda.Event()
            self.copied.record(torch.cuda.current_stream(self.device))
        return OnDevice(moved)

    def pinned(self, size: int) -> Tensor:
        """The first `size` bytes of the buffer, once the last copy from it is done."""
        if self.copied is not None:
            self.copied.synchronize()
        if len(self.buffer) < size:
            self.buffer = torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return self.buffer[:size]
