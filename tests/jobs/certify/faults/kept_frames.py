"""Compares each clip with the first one, of which it keeps the lent frames."""

from longtake.evaluators.base import Metric, MetricRun, metrics


class Run(MetricRun):
    first = None

    def clip(self, view):
        self.first = view.frames if self.first is None else self.first
        return float(abs(view.frames[0].astype(float) - self.first[0]).mean())


@metrics.register("kept-frames")
class Fault(Metric):
    name = "kept-frames"
    unit = "levels"
    direction = "higher"
    deviations = "a planted fault"

    def open(self, ctx):
        return Run()
