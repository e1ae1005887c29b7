"""Divides by the motion of a clip, which a flat one does not have."""

from longtake.evaluators.base import Metric, MetricRun, metrics


class Run(MetricRun):
    def clip(self, view):
        moved = abs(view.frames[1:].astype(float) - view.frames[:-1]).mean()
        return float(moved / moved if moved else "nan")


@metrics.register("not-a-number")
class Fault(Metric):
    name = "not-a-number"
    unit = "levels"
    direction = "higher"
    deviations = "a planted fault"

    def open(self, ctx):
        return Run()
