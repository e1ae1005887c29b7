"""subject_consistency and background_consistency: does the picture keep its content within and between clips?

VBench-Long's formula on a classical descriptor (descriptors.py). VBench's mapping of clip-to-clip scores is fitted to
DINOv2 and DreamSim features and is not applied. Values are comparable with each other, not with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue, mean_of, metrics
from longtake.evaluators.descriptors import background_features, subject_features
from longtake.evaluators.views import ClipView, Frames

IN_CLIP_WEIGHT = 0.5


def consistency(features_ND: NDArray[np.float32]) -> float:
    """Mean over i >= 1 of [max(0, cos(f_i-1, f_i)) + max(0, cos(f_0, f_i))] / 2, for unit vectors."""
    f = features_ND.astype(np.float64)
    to_previous = np.clip((f[:-1] * f[1:]).sum(axis=1), 0.0, 1.0)
    to_first = np.clip((f[:1] * f[1:]).sum(axis=1), 0.0, 1.0)
    return float(((to_previous + to_first) / 2).mean())


class _Run(MetricRun):
    def __init__(self, describe: Callable[[Frames], NDArray[np.float32]]) -> None:
        self.describe = describe
        self.first_frames: list[NDArray[np.float32]] = []

    def clip(self, view: ClipView) -> float:
        features = self.describe(view.thumbs_NHWC)
        if not view.overlaps:
            self.first_frames.append(features[0].copy())  # a NumPy view would keep the whole clip in memory
        if len(view) < 2:
            raise Unscorable("the clip has one frame; consistency needs 2")
        return consistency(features)

    def finish(self, clips: list[float | None]) -> VideoValue:
        in_clip = mean_of(clips)
        if len(self.first_frames) < 2:
            extra = {"in_clip": in_clip, "clip_to_clip": None}
            why = "fewer than two clips without overlap, so the value is the in-clip part alone"
            return VideoValue(in_clip, clips, extra, {"clip_to_clip": why})
        between = consistency(np.stack(self.first_frames))
        value = None if in_clip is None else IN_CLIP_WEIGHT * in_clip + (1 - IN_CLIP_WEIGHT) * between
        return VideoValue(value, clips, {"in_clip": in_clip, "clip_to_clip": between})


class _Consistency(Metric):
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    still_value = 1.0
    deviations = (
        "Stand-in: edge directions and colour layout instead of {}; the clip-to-clip part is not mapped "
        "and leaves out the overlapping last clip. In-clip and clip-to-clip parts have weight .5 each."
    )


@metrics.register("subject_consistency")
class SubjectConsistency(_Consistency):
    """Consistency of the central quarter of the picture, within and between clips."""

    name = "subject_consistency"
    deviations = _Consistency.deviations.format("DINO (in clip) and DINOv2 (clip to clip), on the central quarter")

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(subject_features)


@metrics.register("background_consistency")
class BackgroundConsistency(_Consistency):
    """Consistency of the picture without its central quarter, within and between clips."""

    name = "background_consistency"
    deviations = _Consistency.deviations.format(
        "CLIP (in clip) and DreamSim (clip to clip), without the central quarter"
    )

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(background_features)
