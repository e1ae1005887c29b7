"""Keys and values of the frames that a rollout can attend: one tensor per frame, keys before rotation.

A frame is live while it is in the window or pinned. When it leaves, its rows move to the bank if the method attends
past frames. Its tensor is reused for a new frame, so the cache needs the memory of the window and of one block that is
moving out. Derived entries, which a method computes from others, are kept beside the frames until it forgets them.

Entry shape: [2 (key, value), L layers, B batch, T tokens, h heads, d head dim].
"""

from collections.abc import Collection, Iterable
from functools import partial

import torch
from torch import Tensor

from longtake.platform.generation.bank.bank import Bank, Key
from longtake.platform.methods.interface.plan import Source, Window
from longtake.platform.models.rope import CPU


class KVCache:
    """The frames of the window and, if the method needs it, the bank of evicted frames."""

    def __init__(
        self,
        entry_shape: tuple[int, ...],
        window: Window,
        bank: Bank | None,
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
    ):
        self.dtype, self.device = dtype, device
        self.new_entry = partial(torch.empty, entry_shape, dtype=dtype, device=device)
        self.entry_shape = entry_shape
        self.window, self.bank = window, bank
        self.live: dict[int, Tensor] = {}
        self.spare: list[Tensor] = []
        self.evicted: list[Tensor] = []
        self.made: dict[tuple[str, int], tuple[int, Tensor]] = {}
        self.makes = 0

    def reserve(self, frames: int) -> None:
        """Reserve space in the bank for `frames` of every row. Raises ConfigError if there is too little."""
        if self.bank is not None:
            rows = self.entry_shape[2]
            self.bank.reserve(rows * frames, (*self.entry_shape[:2], *self.entry_shape[3:]))

    def open_block(self, first: int, pinned: Collection[int] = ()) -> list[Tensor]:
        """Evict the frames that the new block displaces, except `pinned` ones. Returns the new frames' uninitialised
        entries."""
        if self.bank is not None:
            self.bank.join()
        new = range(first, first + self.window.block)
        keep = {*self.window.live(new.stop), *pinned}
        for frame in [frame for frame in self.live if frame not in keep]:
            self.release(frame, self.live.pop(frame))
        return self.open_frames(new)

    def open_frames(self, frames: Iterable[int]) -> list[Tensor]:
        """The entries of `frames`, to be written; uninitialised if they are not live."""
        for frame in frames:
            if frame not in self.live:
                self.live[frame] = self.spare.pop() if self.spare else self.new_entry()
        return [self.live[frame] for frame in frames]

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

    def entry(self, row: int, source: Source) -> Tensor:
        """[2, L, T, h, d] of a live or banked frame or a derived entry. Raises KeyError if it has been dropped."""
        if not isinstance(source, int):
            return self.made[source][1][:, :, row]
        if source in self.live:
            return self.live[source][:, :, row]
        if self.bank is None:
            raise KeyError(source)
        return self.bank.entry((row, source))

    def version(self, source: Source) -> int:
        """A number that changes whenever the content of a source does; 0 for frames, which do not change."""
        return 0 if isinstance(source, int) else self.made[source][0]

    def frame(self, frame: int) -> Tensor:
        return self.live[frame]

    def derived(self, source: tuple[str, int]) -> Tensor:
        return self.made[source][1]

    def derive(self, source: tuple[str, int], entry: Tensor) -> None:
        self.makes += 1
        self.made[source] = self.makes, entry

    def forget(self, source: tuple[str, int]) -> None:
        del self.made[source]


def write_entries(entries: list[Tensor], layer: int, key: Tensor, value: Tensor, tokens: int) -> None:
    """Copy keys and values [B, N, h, d] of one layer, of `tokens` tokens a frame, to the entries of the frames."""
    for i, entry in enumerate(entries):
        span = slice(i * tokens, (i + 1) * tokens)
        entry[0, layer], entry[1, layer] = key[:, span], value[:, span]
