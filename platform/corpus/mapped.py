"""A memory-mapped safetensors file; reading rows of a tensor costs only the bytes of these rows.

By default the kernel reads ahead, up to megabytes around a page, so a few rows of a long file would cost the whole
file. This module turns read-ahead off for the mapping, and requests each range as a whole before it reads it.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import torch
from torch import Tensor

from longtake.platform.checkpoints.writer import CODES

KINDS = {code: kind for kind, code in CODES.items()}
LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000


class MappedTensors:
    """A read-only file. Raises OSError, and ValueError if it is not a safetensors file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            self.memory.madvise(mmap.MADV_RANDOM)
        length = int.from_bytes(self.memory[:LENGTH_BYTES], "little")
        if length > min(MOST_HEADER_BYTES, len(self.memory) - LENGTH_BYTES):
            raise ValueError("its header is cut short")
        self.start = LENGTH_BYTES + length
        table = json.loads(self.memory[LENGTH_BYTES : self.start])
        self.table = {name: row for name, row in table.items() if name != "__metadata__"}

    def rows(self, key: str, first: int, count: int) -> Tensor:
        """A copy of rows first .. first + count - 1 of a tensor. Raises ValueError if the file does not have them."""
        try:
            kind, shape, (begin, end) = (self.table[key][name] for name in ("dtype", "shape", "data_offsets"))
            size = (end - begin) // shape[0]
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            raise ValueError(f"{key} is not in it") from error
        offset = self.start + begin + first * size
        if first < 0 or count < 1 or first + count > shape[0] or offset + count * size > len(self.memory):
            raise ValueError(f"{key} does not have rows {first} to {first + count - 1}")
        self.fetch(offset, count * size)
        raw = torch.frombuffer(bytearray(memoryview(self.memory)[offset : offset + count * size]), dtype=torch.uint8)
        return raw.view(KINDS[kind]).view(count, *shape[1:])

    def fetch(self, offset: int, size: int) -> None:
        """Requests these bytes at once; page by page, a cold disk would get hundreds of requests."""
        if hasattr(mmap, "MADV_WILLNEED"):
            begin = offset - offset % mmap.PAGESIZE
            self.memory.madvise(mmap.MADV_WILLNEED, begin, offset + size - begin)
