"""States an ideal that its formula does not have."""

from longtake.evaluators.base import Metric, MetricRun, metrics


class Run(MetricRun):
    def clip(self, view):
        return 255.0 - float(view.frames.std())


@metrics.register("wrong-ideal")
class Fault(Metric):
    name = "wrong-ideal"
    unit = "levels"
    direction = "higher"
    deviations = "a planted fault"
    still_value = 255.0

    def open(self, ctx):
        return Run()
