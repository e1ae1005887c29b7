"""How an entry of the bank is stored: as it is, in another float, or in 8 bits with a scale per head.

8 bits (e4m3: 3 bits of mantissa, largest 448): each (key or value, layer, head) of a frame has a scale of its own, the
largest magnitude over 448, since heads differ far more from each other than the numbers of one head do.

Entry shape: [2 (key, value), L layers, T tokens, h heads, d head dim]; scales [2, L, 1, h, 1] float32.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max


@dataclass(frozen=True)
class Packed:
    """A stored entry; `scale` only with 8 bits."""

    data: Tensor
    scale: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        return [self.data] if self.scale is None else [self.data, self.scale]

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def laid_out(self, buffer: Tensor) -> "Packed":
        """An entry of the same form in `buffer` [num_bytes] uint8, with the scale after the data, so that one copy
        moves all of it and no small tensor stays on the heap."""
        parts = buffer.split([tensor.nbytes for tensor in self.tensors])
        return Packed(*(part.view(like.dtype).view(like.shape) for part, like in zip(parts, self.tensors, strict=True)))


def pack(entry: Tensor, dtype: torch.dtype) -> Packed:
    """`entry` in `dtype`; the same tensor where nothing changes."""
    if dtype != FP8:
        return Packed(entry.to(dtype))
    largest = torch.linalg.vector_norm(entry, math.inf, dim=(2, 4), keepdim=True, dtype=torch.float32)
    scale = (largest / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    return Packed((entry / scale).to(FP8), scale)


def packed_bytes(shape: Sequence[int], entry_dtype: torch.dtype, dtype: torch.dtype) -> int:
    """Bytes of an entry [2, L, T, h, d] of dtype `entry_dtype` when packed to `dtype`, computed from shapes."""
    with torch.device("meta"):
        return pack(torch.empty(shape, dtype=entry_dtype), dtype).num_bytes


def unpack(packed: Packed, dtype: torch.dtype) -> Tensor:
    """The entry in `dtype`."""
    if packed.scale is None:
        return packed.data.to(dtype)
    return packed.data.float().mul_(packed.scale).to(dtype)
