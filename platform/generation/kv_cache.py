"""Keys and values of the frames that a rollout may attend: one tensor per frame, keys before rotation.

A frame is live while it is in the window. When it leaves, its tensor goes to the bank, or, if the method never looks
back, is used again for a new frame, so that memory without a bank is that of the window. The bank holds nothing but
those tensors, in the dtype that the rollout asks for: its bytes are the only thing that grows with the video.

Entry shape: [2 (key, value), L layers, B batch, T tokens, h heads, d head dim].
"""

import torch
from torch import Tensor

from longtake.platform.methods.base import Window


class Bank:
    """Frames that have left the window, by frame index; never pruned."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self.entries: dict[int, Tensor] = {}
        self.num_bytes = 0

    def put(self, frame: int, entry: Tensor) -> None:
        kept = entry.to(self.dtype)
        self.entries[frame] = kept
        self.num_bytes += kept.nbytes


class KVCache:
    """The window's frames and, where the method needs it, the bank behind it."""

    def __init__(self, entry_shape: tuple[int, ...], window: Window, bank: Bank | None):
        self.entry_shape, self.window, self.bank = entry_shape, window, bank
        self.live: dict[int, Tensor] = {}
        self.spare: list[Tensor] = []

    def open_block(self, first: int) -> list[Tensor]:
        """Evict what the new block pushes out of the window, and give the new frames' (unwritten) entries."""
        new = range(first, first + self.window.block)
        keep = set(self.window.live(new.stop))
        for frame in [frame for frame in self.live if frame not in keep]:
            self.release(frame, self.live.pop(frame))
        for frame in new:
            self.live[frame] = self.spare.pop() if self.spare else torch.empty(self.entry_shape)
        return [self.live[frame] for frame in new]

    def release(self, frame: int, entry: Tensor) -> None:
        if self.bank is not None:
            self.bank.put(frame, entry)
        if self.bank is None or self.bank.dtype != entry.dtype:
            self.spare.append(entry)

    def entry(self, frame: int) -> Tensor:
        """The entry of a live or banked frame; KeyError if the rollout has let it go."""
        if frame in self.live:
            return self.live[frame]
        if self.bank is None:
            raise KeyError(frame)
        return self.bank.entries[frame]
