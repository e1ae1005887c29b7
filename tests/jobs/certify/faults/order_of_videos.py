"""Compares each clip with the one before, of whatever video that was."""

from longtake.evaluators.base import Metric, MetricRun, metrics


class Run(MetricRun):
    last = [0.0]

    def clip(self, view):
        before, self.last[0] = self.last[0], float(view.frames.mean())
        return abs(self.last[0] - before)


@metrics.register("order-of-videos")
class Fault(Metric):
    name = "order-of-videos"
    unit = "levels"
    direction = "higher"
    deviations = "a planted fault"

    def open(self, ctx):
        return Run()
