"""Host memory for a bank, pinned in advance by a helper thread.

Pinning an entry of 288 MB in small pages is estimated to take 0.1 s or more, too long for the thread that launches the
network. So a helper thread pins pieces of an entry and keeps some ready: no more than the capacity allows and, once
a take has reserved its bank, no more than it needs. The launching thread waits only when the helper is too slow
(`waited_seconds`). Pieces stay pinned between takes and are divided again for entries of another size.

An error in the helper is raised once, by the next `take`. If the take ends first, the error is dropped.
"""

import time
from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.platform.generation.bank.background import Background
from longtake.platform.generation.bank.packing import Packed
from longtake.platform.generation.bank.pages import HUGE_PAGE, PinnedPages, Pinning
from longtake.platform.generation.bank.streams import Event, Streams
from longtake.platform.generation.bank.tier import ALIGNED, Fetched, Stored, Tier

PIECE_ENTRIES, READY_ENTRIES = 1, 8
"""Entries that are pinned at a time, few because other threads cannot launch while the driver registers memory, and
entries that are kept ready. A block evicts three per row."""


@dataclass(frozen=True)
class Copied(Fetched):
    """An entry that was copied to its own device memory."""

    packed: Packed
    event: Event

    def arrived(self) -> Event:
        return self.event

    def cancel(self) -> None:
        pass


@dataclass(frozen=True)
class StoredPinned(Stored):
    """An entry in pinned host memory, which a copy on `into` brings back."""

    packed: Packed
    buffer: Tensor
    tier: "PinnedTier"
    written: Event

    def fetch(self, streams: Streams) -> Fetched:
        with streams.into.opened():
            target = torch.empty_like(self.buffer, device=self.tier.device)
        streams.into.wait(self.written)  # rule 1: the copy to the host may still be running
        streams.into.copy(target, self.buffer)
        return Copied(self.packed.laid_out(target), streams.into.record())


class PinnedTier(Tier):
    """Host memory for the entries of `device`."""

    name = "host"

    def __init__(self, device: torch.device, max_bytes: float, pinning: Pinning):
        super().__init__(max_bytes)
        self.device = device
        self.pages = PinnedPages(pinning)
        self.thread = Background("bank-pinning", pinning.prepare)
        self.growing: Future[None] | None = None
        self.ready: dict[int, deque[Tensor]] = {}
        self.cut: dict[int, int] = {}
        self.charged = 0

    def take(self, num_bytes: int) -> Tensor | None:
        self.raise_failure()
        buffer = super().take(num_bytes)
        if buffer is not None:
            self.pin_ahead(num_bytes)
        return buffer

    def make(self, num_bytes: int) -> Tensor:
        ready, started = self.ready.setdefault(num_bytes, deque()), time.perf_counter()
        while not ready:
            growing, self.growing = self.growing or self.thread.submit(self.grow, num_bytes, 1), None
            growing.result()
        self.waited_seconds += time.perf_counter() - started
        return ready.popleft()

    def reserve(self, entries: int, num_bytes: int) -> None:
        if entries <= 0:
            super().reserve(entries, num_bytes)
            return
        resizes = self.resizes(num_bytes)
        if resizes:
            self.end_growing()
        super().reserve(entries, num_bytes)
        if resizes:
            self.clear(num_bytes)
        self.pin_ahead(num_bytes)

    def finish(self) -> None:
        """Wait for the helper and drop its error, which must not reach the next take."""
        growing, self.growing = self.growing, None
        if growing is not None:
            wait([growing])

    def pin_ahead(self, num_bytes: int) -> None:
        """Start the helper if it is idle and too little is ready. If it has failed, `take` raises the error first."""
        self.ready.setdefault(num_bytes, deque())
        if self.growing is not None and self.growing.done() and self.growing.exception() is None:
            self.growing = None
        if self.growing is None and self.to_pin(num_bytes):
            self.growing = self.thread.submit(self.grow, num_bytes, 0)

    def to_pin(self, num_bytes: int) -> int:
        """Entries of the next piece; 0 when enough are ready, the take has all it needs, or the tier is full."""
        if len(self.ready[num_bytes]) >= READY_ENTRIES:
            return 0
        left = int((self.max_bytes - self.charged) // num_bytes)
        if self.reserved:
            left = min(left, self.reserved // num_bytes - self.cut.get(num_bytes, 0))
        return max(0, min(left, max(PIECE_ENTRIES, HUGE_PAGE // num_bytes)))

    def fill(self, num_bytes: int) -> None:
        self.end_growing()
        while (missing := self.reserved // num_bytes - self.cut.get(num_bytes, 0)) > 0:
            self.thread.submit(self.grow, num_bytes, min(missing, PIECE_ENTRIES)).result()

    def grow(self, num_bytes: int, at_least: int) -> None:
        """In the helper thread: pin `at_least` entries, then more until enough are ready."""
        while count := max(self.to_pin(num_bytes), at_least):
            piece = self.pages.allocate(count * slot_bytes(num_bytes))
            self.charged += count * num_bytes
            self.cut[num_bytes] = self.cut.get(num_bytes, 0) + count
            self.ready[num_bytes].extend(cut(piece, num_bytes)[:count])
            at_least = 0

    def raise_failure(self) -> None:
        if self.growing is not None and self.growing.done():
            ended, self.growing = self.growing, None
            ended.result()

    def end_growing(self) -> None:
        growing, self.growing = self.growing, None
        if growing is not None:
            growing.result()

    def clear(self, num_bytes: int) -> None:
        """Divide pinned pieces into buffers of `num_bytes`, or unpin them if too few buffers fit that way."""
        self.end_growing()
        super().clear(num_bytes)
        most = int(self.max_bytes // num_bytes)
        wanted = min(most, self.reserved // num_bytes) if self.reserved else most
        buffers = [buffer for piece in self.pages.pieces for buffer in cut(piece, num_bytes)][:most]
        if len(buffers) + int((self.max_bytes - self.charged) // num_bytes) < wanted:
            buffers.clear()
            self.ready.clear()
            self.pages.release()
            self.charged = 0
        self.ready = {num_bytes: deque(buffers)}
        self.cut = {num_bytes: len(buffers)}
        self.spare[num_bytes] = []

    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        copy = packed.laid_out(buffer)
        for target, source in zip(copy.tensors, packed.tensors, strict=True):
            streams.out.copy(target, source)
        return StoredPinned(copy, buffer, self, streams.out.record())


def slot_bytes(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNED) * ALIGNED


def cut(piece: Tensor, num_bytes: int) -> list[Tensor]:
    """Divide a piece of memory into buffers of `num_bytes`."""
    step = slot_bytes(num_bytes)
    return [piece[at : at + num_bytes] for at in range(0, len(piece) - num_bytes + 1, step)]
