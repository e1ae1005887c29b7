"""Number formats by name. Specs, sweep files and records name them, so that a plan needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BYTES = {"float32": 4, "float16": 2, "bf16": 2, "fp8": 1}
"""Bytes of a number in each format; fp8 is e4m3."""
TORCH_NAMES = {"bf16": "bfloat16", "fp8": "float8_e4m3fn"}
"""Where torch has another name."""


def torch_dtype(name: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES.get(name, name))
    return dtype
