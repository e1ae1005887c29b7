"""Weights in a byte each: the matrices of a small network as int8, with one scale per row.

Of a row, the number of largest size becomes +-127; a stored number is off by half a step, 1/254 of that, at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 127
SCALE = ".scale"
"""Ends the name of the scales [R] of the tensor [R, ..] of that name."""


def pack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of several rows as int8 and their scales in float32, all others as float16."""
    packed: dict[str, Tensor] = {}
    for key, value in weights.items():
        if value.ndim < 2 or len(value) == 1:
            packed[key] = value.half().contiguous()
            continue
        rows = value.detach().float().flatten(1)
        scale = (rows.abs().amax(1) / LARGEST).clamp_min(1e-30)
        packed[key] = (rows / scale[:, None]).round().char().view(value.shape).contiguous()
        packed[key + SCALE] = scale
    return packed


def unpack(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float32, packed or not."""
    weights = {}
    for key, value in stored.items():
        if key + SCALE in stored:
            weights[key] = value.float() * stored[key + SCALE].view(-1, *[1] * (value.ndim - 1))
        elif not key.endswith(SCALE):
            weights[key] = value.float()
    return weights
