"""Frames that have left the window, packed, on the shelves with room: the only thing that grows with a video.

Moves happen once per block, while the block's last pass runs: what was evicted goes to a shelf, what the next block
will attend comes back. On CUDA both are copies on a stream of their own; on a CPU they are plain copies. An entry on
its way is readable at every moment.

Entry shape: [2 (key, value), L layers, T tokens, h heads, d head dim]; one per (batch row, frame).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from longtake.platform.generation.packing import Packed, pack, unpack
from longtake.platform.generation.shelves import Shelf, place

Key = tuple[int, int]
"""Batch row and frame."""


@cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all banks of a device: what torch's allocator keeps of a stream serves no other."""
    return torch.cuda.Stream(device)


class SideStream:
    """Copies beside the computing stream of a CUDA device; on a CPU, in its turn."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = copying_stream(device) if device.type == "cuda" else None
        self.ready: torch.cuda.Event | None = None

    def mark(self) -> None:
        """What was computed up to here has to be done before copies begin; later work need not be waited for."""
        if self.stream is not None:
            self.ready = torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def running(self) -> Iterator[None]:
        if self.stream is None:
            yield
            return
        if self.ready is not None:
            self.stream.wait_event(self.ready)
        with torch.cuda.stream(self.stream):
            yield

    def join(self) -> None:
        """The computing stream waits for all copies so far; the host does not."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def wait(self) -> None:
        if self.stream is not None:
            self.stream.synchronize()


@dataclass(frozen=True)
class Stored:
    """A packed entry whose data lies in `buffer` of `shelf`."""

    packed: Packed
    buffer: Tensor
    shelf: Shelf


class Bank:
    """Evicted entries of one rollout by (row, frame). `dtype` is that of storage, `compute` that of attention."""

    def __init__(self, shelves: list[Shelf], dtype: torch.dtype, compute: torch.dtype, device: torch.device):
        self.shelves, self.dtype, self.compute, self.device = shelves, dtype, compute, device
        self.side = SideStream(device)
        self.stored: dict[Key, Stored] = {}
        self.leaving: dict[Key, Tensor] = {}
        self.staged: dict[Key, Packed] = {}
        self.touched: list[Stored] = []
        self.num_bytes = self.peak_bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self.stored or key in self.leaving

    def __len__(self) -> int:
        return len(self.stored) + len(self.leaving)

    def put(self, key: Key, entry: Tensor) -> None:
        """Take an entry over; `entry` must stay as it is until the `side.join` that follows `settle`."""
        self.leaving[key] = entry

    def settle(self) -> None:
        """Move what was put to the shelves."""
        for stored in self.touched:
            stored.shelf.settled(stored.buffer)
        self.touched.clear()
        with self.side.running():
            for key, entry in self.leaving.items():
                self.stored[key] = self.store(pack(entry, self.dtype))
        self.leaving.clear()
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)

    def store(self, packed: Packed) -> Stored:
        shelf, buffer = place(self.shelves, packed.num_bytes)
        self.num_bytes += packed.num_bytes
        self.touched.append(stored := Stored(packed.copied_into(buffer), buffer, shelf))
        return stored

    def drop(self, key: Key) -> None:
        """Forget an entry; its buffer is written again at the earliest by the `settle` after the next `side.mark`.
        KeyError if it is not there."""
        if key in self.leaving:
            del self.leaving[key]
            return
        stored = self.stored.pop(key)
        self.num_bytes -= stored.packed.num_bytes
        stored.shelf.give_back(stored.buffer)

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Start to bring to the device what lies elsewhere."""
        if self.device.type == "cpu":
            return
        with self.side.running():
            for key in self.stored.keys() & set(keys):
                self.staged[key] = self.stored[key].packed.to(self.device)

    def entry(self, key: Key) -> Tensor:
        """The entry on the device, in the compute dtype. KeyError if the bank does not hold it."""
        if key in self.leaving:
            return unpack(pack(self.leaving[key], self.dtype), self.compute)
        stored = self.stored[key]
        packed = self.staged.pop(key, None) or stored.packed.to(self.device)
        self.touched.append(stored)
        if self.device.type == "cuda":
            used_by = torch.cuda.current_stream(self.device)
            for tensor in packed.tensors:
                tensor.record_stream(used_by)
        return unpack(packed, self.compute)

    def close(self) -> None:
        """Give all buffers back to the shelves."""
        self.side.wait()
        for held in (self.leaving, self.staged, self.touched):
            held.clear()
        for key in list(self.stored):
            self.drop(key)
