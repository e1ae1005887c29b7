"""Attends the first frame of the next block."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.native import Native, SlidingWindow


class LooksAhead(SlidingWindow):
    def plan(self, first):
        plan = super().plan(first)
        rows = tuple((*row[:-3], replace(row[-1], frame=first + 3), *row[-2:]) for row in plan.rows)
        return replace(plan, rows=rows)


@methods.register("future-frame")
@dataclass(frozen=True)
class FutureFrame(Native):
    def build(self, info: RolloutInfo) -> Method:
        return LooksAhead(info, relative=True)
