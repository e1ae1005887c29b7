"""Makes the frames that all metrics share brighter."""

from longtake.evaluators.base import Metric, MetricRun, metrics


class Run(MetricRun):
    def clip(self, view):
        view.small_NHWC[:] += 1
        return float(view.small_NHWC.mean())


@metrics.register("changed-frames")
class Fault(Metric):
    name = "changed-frames"
    unit = "levels"
    direction = "higher"
    deviations = "a planted fault"

    def open(self, ctx):
        return Run()
