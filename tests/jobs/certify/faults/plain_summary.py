"""Calls a frame of the window a summary."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.native import Native, SlidingWindow


class Renamed(SlidingWindow):
    def plan(self, first):
        plan = super().plan(first)
        rows = tuple(
            tuple(replace(at, reason="summary") if at.reason == "window" else at for at in row) for row in plan.rows
        )
        return replace(plan, rows=rows)


@methods.register("plain-summary")
@dataclass(frozen=True)
class PlainSummary(Native):
    def build(self, info: RolloutInfo) -> Method:
        return Renamed(info, relative=False, recache=None)
