"""Small functions in the place of published networks, with their shapes: for tests of what lies around networks.

They see the picture: features are means of a coarse grid, the frame between two is their mean, flow is what the
difference of two frames says.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.evaluators.model_pool import ModelPool, pool_of

GRID = 4


def features(frames_NCHW: Tensor) -> Tensor:
    """[n, 49]: a coarse picture, with a constant so that a black one has a direction too."""
    coarse = F.adaptive_avg_pool2d(frames_NCHW.contiguous(), GRID).flatten(1)
    return torch.cat([coarse, torch.ones(len(coarse), 1)], dim=1)


class Flow:
    """In the place of RAFT: every pixel moves by the mean difference of its channels, in levels."""

    def features(self, frames_NCHW: Tensor) -> Tensor:
        return frames_NCHW

    def context(self, frames_NCHW: Tensor) -> Tensor:
        return frames_NCHW

    def flow(self, first: Tensor, second: Tensor, context: Tensor, iterations: int) -> Tensor:
        return (second - first).abs().mean(dim=1, keepdim=True).repeat(1, 2, 1, 1)


def stand_ins() -> ModelPool:
    return pool_of(
        {
            "dino": features,
            "clip-b": features,
            "clip-l": features,
            "dinov2": features,
            "dreamsim": features,
            "aesthetic": lambda found: found.sum(dim=1, keepdim=True),
            "musiq": lambda frames: 100 * frames.mean(dim=(1, 2, 3)),
            "amt": lambda before, after: (before + after) / 2,
            "raft": Flow(),
        }
    )
