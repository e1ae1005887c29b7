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


GAINS = {
    "dino-vitb16": 1.5,
    "dinov2-vitb14": 1.5,
    "clip-vit-b-32": 1.5,
    "clip-vit-l-14": 1.5,
    "dreamsim-ensemble": 1.5,
    "amt-s": 0.4,
    "raft-things": 1.4,
}
"""The default 1 lets a class token forget the picture (cosines above .999); above 2 rounding grows through the layers.
AMT saturates at 1: .4 gives a picture with few pixels at 0 or 255."""
TUNED = {
    "aesthetic-linear": {"weight": (20.0, 0.0)},
    "musiq-spaq": {"head.weight": (40.0, 0.0), "head.bias": (1.0, 60.0)},
    "dinov2-vitb14": {".gamma": (1.0, 1.0)},
    "raft-things": {"update_block.flow_head.conv2.weight": (0.0139, 0.0), "flow_head.conv2.bias": (0.0, 0.0)},
}
"""artefact -> ending of a name -> factor and addend: scores of the published size, and flows on both sides of the
threshold of dynamic degree among the clips of tests/golden/vbench/real.mp4."""


def published(artefact: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The seeded weights of an artefact, as the golden scores were made with: seed 0, GAINS and TUNED."""
    weights = seeded(shapes, gain=GAINS.get(artefact, 1.0))
    for ending, (factor, addend) in TUNED.get(artefact, {}).items():
        weights |= {name: tensor * factor + addend for name, tensor in weights.items() if name.endswith(ending)}
    return weights
