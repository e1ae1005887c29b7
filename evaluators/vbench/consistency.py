"""VBench's consistency of a row of pictures, and VBench-Long's fusion of what happens in a clip and between clips.

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

    Half features, as CLIP's on CUDA, give cosines in half precision, as official code has them there.
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
    """Linear between the table's entries, its ends outside them (vbench2_beta_long.utils.fuse_inclip_clip2clip)."""
    return float(np.interp(clip_to_clip, *table(dimension)))


def fused(in_clip: float, mapped_clip_to_clip: float) -> float:
    return IN_CLIP_WEIGHT * in_clip + CLIP_TO_CLIP_WEIGHT * mapped_clip_to_clip


def official_order(clips: int) -> list[int]:
    """The order that official code reads clip files in: by name, '1000' before '101'."""
    return sorted(range(clips), key=lambda index: f"{index:03d}")
