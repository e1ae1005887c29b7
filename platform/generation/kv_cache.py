"""Keys and values of the frames that a rollout can attend: one tensor per frame, keys before rotation.

A frame is live while it is in the window. When it leaves, its rows move to the bank if the method attends past frames.
Its tensor is reused for a new frame, so the cache needs the memory of the window and of one block that is moving out.

Entry shape: [2 (key, value), L layers, B batch, T tokens, h heads, d head dim].
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from longtake.platform.generation.bank.bank import Bank, Key
from longtake.platform.methods.base import Window


class KVCache:
    """The frames of the window and, if the method needs it, the bank of evicted frames."""

    def __init__(
        self,
        entry_shape: tuple[int, ...],
        window: Window,
        bank: Bank | None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ):
        self.new_entry = partial(torch.empty, entry_shape, dtype=dtype, device=device)
        self.entry_shape = entry_shape
        self.window, self.bank = window, bank
        self.live: dict[int, Tensor] = {}
        self.spare: list[Tensor] = []
        self.evicted: list[Tensor] = []

    def reserve(self, frames: int) -> None:
        """Reserve space in the bank for `frames` of every row. Raises ConfigError if there is too little."""
        if self.bank is not None:
            rows = self.entry_shape[2]
            self.bank.reserve(rows * frames, (*self.entry_shape[:2], *self.entry_shape[3:]))

    def open_block(self, first: int) -> list[Tensor]:
        """Evict the frames that the new block displaces. Returns the new frames' uninitialised entries."""
        if self.bank is not None:
            self.bank.join()
        new = range(first, first + self.window.block)
        keep = set(self.window.live(new.stop))
        for frame in [frame for frame in self.live if frame not in keep]:
            self.release(frame, self.live.pop(frame))
        for frame in new:
            self.live[frame] = self.spare.pop() if self.spare else self.new_entry()
        return [self.live[frame] for frame in new]

    def release(self, frame: int, entry: Tensor) -> None:
        if self.bank is None:
            self.spare.append(entry)
            return
        for row in range(entry.shape[2]):
            self.bank.put((row, frame), entry[:, :, row])
        self.evicted.append(entry)

    def flush(self) -> None:
        """Move the evicted entries to the bank's tiers. Their tensors can be reused in the next block."""
        if self.bank is not None:
            self.bank.flush()
            self.spare += self.evicted
            self.evicted.clear()

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Start to fetch the evicted entries that the next block will attend."""
        if self.bank is not None:
            self.bank.prefetch(keys)

    def drop(self, keys: Iterable[Key]) -> None:
        """Delete entries, after the block's context is loaded: moves to the bank begin after its reads.
        Raises KeyError without a bank."""
        for key in keys:
            if self.bank is None:
                raise KeyError(key)
            self.bank.drop(key)
        if self.bank is not None:
            self.bank.mark()

    def entry(self, row: int, frame: int) -> Tensor:
        """[2, L, T, h, d] of a live or banked frame. Raises KeyError if the rollout has dropped it."""
        if frame in self.live:
            return self.live[frame][:, :, row]
        if self.bank is None:
            raise KeyError(frame)
        return self.bank.entry((row, frame))
