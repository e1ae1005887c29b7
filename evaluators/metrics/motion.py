"""motion_smoothness and dynamic_degree: VBench's rules on DIS optical flow (Kroeger et al. 2016) at <= 256 px."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.views import ClipView, Frames

TOP_SHARE = 0.05


class _Smoothness(MetricRun):
    def clip(self, view: ClipView) -> float:
        if len(view) < 3:
            raise Unscorable(f"the clip has {len(view)} frames; motion smoothness needs 3")
        errors = [_error(view, i) for i in range(0, len(view) - 2, 2)]
        return (255.0 - math.fsum(errors) / len(errors)) / 255.0


def _error(view: ClipView, i: int) -> float:
    small = view.small_NHWC
    predicted = between(small[i], small[i + 2], view.flow(i, i + 2))
    return float(cv2.norm(small[i + 1], predicted, cv2.NORM_L1) / predicted.size)


def between(before: Frames, after: Frames, flow_HW2: NDArray[np.float32]) -> Frames:
    """The frame halfway: both neighbours warped along half the flow and averaged. uint8 [h, w, 3]."""
    height, width = flow_HW2.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    half_x, half_y = flow_HW2[..., 0] / 2, flow_HW2[..., 1] / 2
    how = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    forward = cv2.remap(before, x - half_x, y - half_y, **how)
    backward = cv2.remap(after, x + half_x, y + half_y, **how)
    return np.asarray(cv2.addWeighted(forward, 0.5, backward, 0.5, 0.0), dtype=np.uint8)


@metrics.register("motion_smoothness")
class MotionSmoothness(Metric):
    """(255 - mean |odd frame - prediction|) / 255, predicted from the even frames (0, 2), (2, 4), ..."""

    name = "motion_smoothness"
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    deviations = "Stand-in: flow warping (DIS, shorter side <= 256 px) instead of AMT-S interpolation at full size."
    still_value = 1.0

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Smoothness()


def is_dynamic(magnitudes: list[float], width: int, height: int) -> bool:
    """VBench's rule: enough sampled pairs, at least one, move faster than 6 px per 256 px of the shorter side."""
    needed = max(1, round(4 * (len(magnitudes) + 1) / 16))
    limit = 6.0 * min(width, height) / 256.0
    return sum(m > limit for m in magnitudes) >= needed


def top_magnitude(flow_HW2: NDArray[np.float32]) -> float:
    """Mean length of the fastest 5 % of the flow, in pixels."""
    lengths = np.hypot(flow_HW2[..., 0], flow_HW2[..., 1]).ravel()
    count = max(1, int(lengths.size * TOP_SHARE))
    return float(np.partition(lengths, lengths.size - count)[-count:].mean())


class _Dynamic(MetricRun):
    def clip(self, view: ClipView) -> float:
        step = max(1, round(view.fps / 8))
        sampled = range(0, len(view), step)
        if len(sampled) < 2:
            raise Unscorable(f"the clip has {len(view)} frames; two samples {step} frames apart need {step + 1}")
        height, width = view.small_NHWC.shape[1:3]
        return float(is_dynamic([top_magnitude(view.flow(i, i + step)) for i in sampled[:-1]], width, height))


@metrics.register("dynamic_degree")
class DynamicDegree(Metric):
    """Share of clips with motion; samples every k-th frame, k = max(1, round(fps / 8)), half to even."""

    name = "dynamic_degree"
    unit = "share of clips"
    bounds = (0.0, 1.0)
    direction = "higher"
    deviations = (
        "Stand-in: DIS flow (shorter side <= 256 px) instead of RAFT at full size, with VBench's thresholds; "
        "at least one pair must move, while VBench calls any two sampled frames dynamic."
    )
    still_value = 0.0

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Dynamic()
