"""palette_consistency and chroma_noise: metrics of slow drift, to which VBench-Long's dimensions hardly respond.

When a long rollout drifts, its colours leave the palette of the first clip and its chroma channels become noisy, well
before the picture loses sharpness. Neither metric is a VBench dimension.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue, mean_of, metrics
from longtake.evaluators.views import ClipView

LAB_BINS = (8, 16, 16)  # coarse lightness: a change of light is not a change of palette


def palette(view: ClipView) -> NDArray[np.float64]:
    """Joint Lab histogram of the small frames of a clip; sums to 1."""
    total = np.zeros(LAB_BINS, dtype=np.float64)
    for frame in view.small_NHWC:
        lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)
        total += cv2.calcHist([lab], [0, 1, 2], None, list(LAB_BINS), [0, 256] * 3)
    return total / total.sum()


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Histogram intersection (Swain and Ballard 1991): the share of pixels with colours that both have."""
    return float(np.minimum(a, b).sum())


class _Palette(MetricRun):
    def __init__(self) -> None:
        self.first: NDArray[np.float64] | None = None

    def clip(self, view: ClipView) -> float:
        histogram = palette(view)
        if self.first is None:
            self.first = histogram
        return overlap(self.first, histogram)

    def finish(self, clips: list[float | None]) -> VideoValue:
        if len(clips) < 2:
            raise Unscorable("the video has one clip; palette consistency needs 2")
        return VideoValue(mean_of(clips[1:]), clips)


@metrics.register("palette_consistency")
class PaletteConsistency(Metric):
    """Mean histogram intersection of the colours of later clips with those of the first clip."""

    name = "palette_consistency"
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    deviations = "Not in VBench: joint Lab histogram (8 x 16 x 16 bins), frames at shorter side <= 256 px."
    still_value = 1.0
    ratio_drift = True

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Palette()


class _ChromaNoise(MetricRun):
    def clip(self, view: ClipView) -> float:
        energies = []
        for frame in view.frames:
            ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
            parts = [cv2.Laplacian(np.ascontiguousarray(ycc[..., c]), cv2.CV_16S) for c in (1, 2)]
            energies += [cv2.norm(part, cv2.NORM_L2SQR) / part.size for part in parts]
        return math.fsum(energies) / len(energies)


@metrics.register("chroma_noise")
class ChromaNoise(Metric):
    """Mean squared 4-neighbour Laplacian of Cr and Cb at full size; compare only videos of one size and encoder."""

    name = "chroma_noise"
    unit = "squared 8-bit levels"
    bounds = (0.0, math.inf)
    direction = "lower"
    deviations = "Not in VBench."
    ratio_drift = True

    def open(self, ctx: VideoContext) -> MetricRun:
        return _ChromaNoise()
