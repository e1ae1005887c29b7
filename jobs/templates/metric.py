"""my-metric: how steady the colours of a clip are.

A metric sees a video as clips of 2 s, in order. Frames are lent: keep numbers, never frames.
"""

import numpy as np

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.views import ClipView


@metrics.register("my-metric")
class MyMetric(Metric):
    """1 - mean over pairs of neighbouring frames of |difference of their mean colours| / 255."""

    name = "my-metric"
    unit = "0..1"
    bounds = (0.0, 1.0)  # where intervals end; leave it out for a value without limits
    direction = "higher"  # or "lower": which way is better
    deviations = "none: there is no published source"
    still_value = 1.0  # the score of a video that does not move; leave it out where the formula does not fix it

    def open(self, ctx: VideoContext) -> MetricRun:
        return MyMetricRun()


class MyMetricRun(MetricRun):
    """One video. What is kept from clip to clip lives here."""

    def clip(self, view: ClipView) -> float:
        if len(view) < 2:
            raise Unscorable("one frame has no neighbour")  # no value is a reason, never 0 and never NaN
        colours = view.frames.mean(axis=(1, 2))  # uint8 [n, H, W, 3] -> [n, 3]
        return 1.0 - float(np.abs(np.diff(colours, axis=0)).mean()) / 255.0
