"""The frames of a clip where its networks run, as uint8 tensors.

On a CPU the frames stay where the decoder left them, and those that are asked for are copied. To a GPU a clip moves
once, as uint8 and through pinned memory; every metric then takes its frames from there, and resizes and normalises
them there. Shapes: frames uint8 [n, H, W, 3].
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
    """`chunk`: how many frames are best prepared at a time."""

    @property
    def chunk(self) -> int: ...

    def at(self, places: Sequence[int]) -> Tensor:
        """The frames at these places of the clip, uint8 [len(places), H, W, 3]; a copy."""


class OnHost:
    """Frames that stay in the clip's own memory. One is prepared at a time, so that its large float32 pixels stay in
    the processor's cache."""

    chunk = 1

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def at(self, places: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.frames[list(places)])


class OnDevice:
    """Frames on a device. As many are prepared at a time as take PREPARED_BYTES in float32."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    @property
    def chunk(self) -> int:
        height, width = self.frames.shape[1:3]
        return max(1, PREPARED_BYTES // (FLOAT_RGB_BYTES * height * width))

    def at(self, places: Sequence[int]) -> Tensor:
        # Not frames[places]: PyTorch copies a list of places to the GPU and waits for all that runs there.
        return torch.stack([self.frames[place] for place in places])


class Upload:
    """Moves clips to a device through one pinned buffer, which grows to the largest clip. Not for several threads."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.copied: torch.cuda.Event | None = None

    def __call__(self, frames: Frames) -> OnDevice:
        """The copy is queued on the device's current stream, and the host does not wait for it."""
        room = self.room(frames.size)
        np.copyto(room.numpy().reshape(frames.shape), frames)
        moved = room.view(frames.shape).to(self.device, non_blocking=True, copy=True)
        if self.device.type == "cuda":
            self.copied = torch.cuda.Event()
            self.copied.record(torch.cuda.current_stream(self.device))
        return OnDevice(moved)

    def room(self, size: int) -> Tensor:
        """`size` bytes of the buffer, once the last copy out of it is done."""
        if self.copied is not None:
            self.copied.synchronize()
        if len(self.buffer) < size:
            self.buffer = torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return self.buffer[:size]
