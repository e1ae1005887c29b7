"""VBench's consistency of a sequence of images, and VBench-Long's fusion of in-clip and clip-to-clip scores.

Shapes: features [n, d].
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np
import torch.nn.functional as F
from torch import Tensor

IN_CLIP_WEIGHT = CLIP_TO_CLIP_WEIGHT = 0.5


def consistency(features_ND: Tensor) -> float:
    """Mean over i >= 1 of [max(0, cos(f_i-1, f_i)) + max(0, cos(f_0, f_i))] / 2 (vbench.subject_consistency).

    Half-precision features (CLIP on CUDA) give cosines in half precision, as in official code.
    """
    unit = F.normalize(features_ND, dim=-1)
    to_previous = F.cosine_similarity(unit[:-1], unit[1:]).clamp_min(0)
    to_first = F.cosine_similarity(unit[:1], unit[1:]).clamp_min(0)
    return float(((to_previous.double() + to_first.double()) / 2).mean())


@cache
def table(dimension: str) -> tuple[np.ndarray, np.ndarray]:
    """(clip-to-clip score, its score on the scale of in-clip scores), ascending; `dimension`: subject or background."""
    with files("longtake.evaluators.vbench").joinpath("mapping.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return np.array([float(row["clip2clip"]) for row in rows]), np.array([float(row[dimension]) for row in rows])


def mapped(clip_to_clip: float, dimension: str) -> float:
    """Linear interpolation in the table, clamped to its ends (vbench2_beta_long.utils.fuse_inclip_clip2clip)."""
    return float(np.interp(clip_to_clip, *table(dimension)))


def fused(in_clip: float, mapped_clip_to_clip: float) -> float:
    return IN_CLIP_WEIGHT * in_clip + CLIP_TO_CLIP_WEIGHT * mapped_clip_to_clip


def official_order(clips: int) -> list[int]:
    """The order in which official code reads clip files: by name, '1000' before '101'."""
    return sorted(range(clips), key=lambda index: f"{index:03d}")
