"""palette_consistency and chroma_noise: two that see slow drift, which VBench-Long's six dimensions hardly do.

When a long rollout drifts, colours leave the first clip's palette and the colour-difference channels fill with fine
grain, well before the picture loses sharpness. Neither is a VBench dimension.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue, mean_of, metrics
from longtake.evaluators.views import ClipView

LAB_BINS = (8, 16, 16)  # lightness is coarse: a change of light is not a change of palette


def palette(view: ClipView) -> NDArray[np.float64]:
    """Joint Lab histogram of a clip (small frames), sums to 1."""
    total = np.zeros(LAB_BINS, dtype=np.float64)
    for frame in view.small_NHWC:
        lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)
        total += cv2.calcHist([lab], [0, 1, 2], None, list(LAB_BINS), [0, 256] * 3)
    return total / total.sum()


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Histogram intersection (Swain and Ballard 1991): the share of pixels whose colours both have."""
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
            raise Unscorable("one clip: there is no later clip to compare with the first")
        return VideoValue(mean_of(clips[1:]), clips)


@metrics.register("palette_consistency")
class PaletteConsistency(Metric):
    """Histogram intersection of a clip's colours with the first clip's; the first (1 by definition) is not averaged."""

    name = "palette_consistency"
    unit = "0..1"
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
    direction = "lower"
    deviations = "Not in VBench."
    ratio_drift = True

    def open(self, ctx: VideoContext) -> MetricRun:
        return _ChromaNoise()
