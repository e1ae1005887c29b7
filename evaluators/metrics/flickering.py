"""temporal_flickering: how much neighbouring frames differ, by VBench's formula."""

from __future__ import annotations

import math

import cv2

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.views import ClipView


class _Run(MetricRun):
    def clip(self, view: ClipView) -> float:
        if len(view) < 2:
            raise Unscorable("the clip has one frame; flickering needs 2")
        pairs = zip(view.frames[:-1], view.frames[1:], strict=True)
        means = [cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in pairs]
        return (255.0 - math.fsum(means) / len(means)) / 255.0


@metrics.register("temporal_flickering")
class TemporalFlickering(Metric):
    """(255 - mean over pairs of mean |f_t - f_t+1|) / 255 on uint8 frames (VBench, temporal_flickering)."""

    name = "temporal_flickering"
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    deviations = "VBench scores clips that were encoded a second time; here only the protocol `exact` does that."
    still_value = 1.0

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run()
