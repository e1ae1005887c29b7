"""imaging_quality: sharpness, noise and exposure, by a formula instead of a trained network.

Per frame, on luma Y (8 bit), shrunk to a longer side of at most 512 px:
    gradient = mean Sobel gradient length / 8           sharpness = gradient / (gradient + 8)
    sigma    = Immerkaer's noise estimate (1996)        cleanness = 1 / (1 + (sigma / 12)^2)
    clipped  = share of pixels with Y <= 4 or >= 251    exposure  = (1 - clipped) * (1 - (mean / 127.5 - 1)^4)
    quality  = (sharpness * cleanness * exposure)^(1/3)
The constants give a score of 0.5 to soft video (8 grey levels per pixel) and to visibly noisy video (12 levels).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.views import ClipView, Frames, shrink, size_within

LONG_SIDE_PX = 512
HALF_SHARP_GRADIENT = 8.0
HALF_CLEAN_SIGMA = 12.0
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def sharpness(luma: Frames) -> float:
    dx, dy = (part.astype(np.float32) for part in cv2.spatialGradient(luma))
    # Not cv2.magnitude: its last bit depends on the alignment of the arrays.
    gradient = float(np.sqrt(dx * dx + dy * dy).mean(dtype=np.float64)) / 8.0
    return gradient / (gradient + HALF_SHARP_GRADIENT)


def cleanness(luma: Frames) -> float:
    response = cv2.filter2D(luma, cv2.CV_16S, _IMMERKAER)[1:-1, 1:-1]
    sigma = math.sqrt(math.pi / 2) / 6.0 * float(np.abs(response).mean())
    return 1.0 / (1.0 + (sigma / HALF_CLEAN_SIGMA) ** 2)


def exposure(luma: Frames) -> float:
    counts = np.bincount(luma.ravel(), minlength=256)
    clipped = float(counts[:5].sum() + counts[251:].sum()) / luma.size
    offset = float(luma.mean()) / 127.5 - 1.0
    return (1.0 - clipped) * (1.0 - offset**4)


def quality(luma: Frames) -> float:
    """0..1 of one uint8 [h, w] luma picture."""
    return float(max(0.0, sharpness(luma) * cleanness(luma) * exposure(luma)) ** (1 / 3))


class _Run(MetricRun):
    def clip(self, view: ClipView) -> float:
        height, width = view.frames.shape[1:3]
        if min(height, width) < 3:
            raise Unscorable(f"the video is {width}x{height} pixels; the noise estimate needs 3x3")
        size = size_within(width, height, long_px=LONG_SIDE_PX)
        scores = [quality(shrink(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), *size)) for f in view.frames]
        return math.fsum(scores) / len(scores)


@metrics.register("imaging_quality")
class ImagingQuality(Metric):
    """Geometric mean of sharpness, cleanness and exposure, mean over frames (formula above)."""

    name = "imaging_quality"
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    deviations = "Stand-in: sharpness, noise and exposure instead of MUSIQ; a formula agrees less with human ratings."

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run()
