"""The difference between the decoded frames of two videos."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from longtake.platform.video.reading import read_frames


@dataclass(frozen=True)
class Difference:
    """`frames`: how many differ, out of `total`; a frame that only one of the videos has differs.

    largest: the largest difference of a value, 0 to 255. psnr: over the frames of both, in dB; infinite if equal."""

    frames: int
    total: int
    largest: int
    psnr: float

    @property
    def is_none(self) -> bool:
        return self.frames == 0


def difference(one: Path, other: Path) -> Difference:
    """Compares two videos frame by frame. Raises VideoError."""
    frames = total = largest = values = 0
    squares = 0.0
    pairs = zip_longest(frames_of(one), frames_of(other))
    for a, b in pairs:
        total += 1
        if a is None or b is None or a.shape != b.shape:
            frames += 1
            continue
        gap = np.abs(a.astype(np.int16) - b)
        frames += bool(gap.any())
        largest = max(largest, int(gap.max()))
        squares += float(np.square(gap, dtype=np.int64).sum())
        values += gap.size
    psnr = 10 * math.log10(255**2 * values / squares) if squares else math.inf
    return Difference(frames, total, largest, psnr)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    for batch_NHWC in read_frames(path):
        yield from batch_NHWC
