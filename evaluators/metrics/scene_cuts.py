"""scene_cuts: the number of abrupt changes of the picture. Reported, not ranked.

A cut lowers consistency without any drift, so tables of long videos report cuts as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue, metrics

if TYPE_CHECKING:
    from longtake.evaluators.views import ClipView, Frames

THRESHOLD = 35.0
SHORTEST_SCENE_SECONDS = 0.6
WIDTH_PX = 256


class _Run(MetricRun):
    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.last: Frames | None = None
        self.cuts: list[int] = []

    def clip(self, view: ClipView) -> float:
        before = len(self.cuts)
        for place in range(view.shared, len(view)):
            self.add(view.frames[place], view.start_frame + place)
        return float(len(self.cuts) - before)

    def add(self, frame: Frames, index: int) -> None:
        small = hue_saturation_value(frame)
        since = index - (self.cuts[-1] if self.cuts else 0)
        if self.last is not None and since >= SHORTEST_SCENE_SECONDS * self.fps:
            change = cv2.norm(small, self.last, cv2.NORM_L1) / small.size
            if change >= THRESHOLD:
                self.cuts.append(index)
        self.last = small

    def finish(self, clips: list[float | None]) -> VideoValue:
        if None in clips:
            raise Unscorable("a clip could not be read, so cuts may be missing")
        seconds = {f"at_s.{number}": cut / self.fps for number, cut in enumerate(self.cuts, 1)}
        return VideoValue(float(len(self.cuts)), clips, dict(seconds))


def hue_saturation_value(frame: Frames) -> Frames:
    """uint8 [h, w, 3], about 256 px wide: the picture that neighbouring frames are compared in."""
    height, width = frame.shape[:2]
    scale = min(1.0, WIDTH_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2HSV))


@metrics.register("scene_cuts")
class SceneCuts(Metric):
    """Frames whose hue, saturation and value differ from the last frame by 35 levels on average, at least .6 s apart
    (PySceneDetect's content detector with VBench-Long's threshold)."""

    name = "scene_cuts"
    unit = "cuts"
    bounds = (0.0, math.inf)
    direction = "lower"
    deviations = "PySceneDetect counts the cuts of a file; here each clip counts the cuts in its new frames."
    ranked = False
    counts_events = True
    sees_source = True
    still_value = 0.0

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.fps)
