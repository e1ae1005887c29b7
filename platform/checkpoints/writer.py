"""Writes tensors to a safetensors file one by one, so that 11 GB need the memory of one tensor.

The format: a little-endian length of 8 bytes, a JSON header padded to 8 bytes, then the numbers of every tensor without
gaps. The same tensors give the same bytes.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from longtake.platform.errors import WeightsError

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(weights: dict[str, Tensor], path: Path) -> None:
    """Write and sync `path`. Tensors may be mapped, strided or tied. Raises WeightsError for an unsupported dtype."""
    unsupported = {name: value.dtype for name, value in weights.items() if value.dtype not in CODES}
    for name, dtype in unsupported.items():
        raise WeightsError(f"{path.name}: {name} is {dtype}, which safetensors does not support; use another file")
    names = sorted(weights, key=lambda name: (-weights[name].itemsize, name))  # wide types first keeps them aligned
    with path.open("wb") as file:
        file.write(header(weights, names))
        for name in names:
            file.write(weights[name].detach().contiguous().flatten().view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def header(weights: dict[str, Tensor], names: list[str]) -> bytes:
    table, start = {}, 0
    for name in names:
        value = weights[name]
        end = start + value.numel() * value.itemsize
        table[name] = {"dtype": CODES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
