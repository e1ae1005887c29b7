"""Random weights from names and shapes alone, the same in every environment that has torch.

Used where a published network is compared with its counterpart elsewhere: the numbers need not be trained, they need to
be equal, of a sane size at every depth, and different for different pictures. Needs nothing but torch.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def seeded(shapes: Mapping[str, Sequence[int]], seed: int = 0, gain: float = 1.0) -> dict[str, Tensor]:
    """name -> float32 tensor. Matrices and kernels have the variance gain^2 / fan-in; one-dimensional tensors are near
    1 where they scale (a name in `.weight`, or a variance) and near 0 elsewhere; counters are 0."""
    return {name: one(name, tuple(shape), seed, gain) for name, shape in shapes.items()}


def one(name: str, shape: tuple[int, ...], seed: int, gain: float) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    noise = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return noise * (gain / math.sqrt(max(1, math.prod(shape[1:]))))
    scales = name.endswith((".weight", "running_var"))
    return 1 + 0.1 * noise.abs() if scales else 0.1 * noise
