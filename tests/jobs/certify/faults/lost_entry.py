"""Attends an average that it never derived."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.native import Native, SlidingWindow


class Lost(SlidingWindow):
    def plan(self, first):
        plan = super().plan(first)
        if first < 12:
            return plan
        rows = tuple((replace(row[0], reason="summary", entry="mean"), *row[1:]) for row in plan.rows)
        return replace(plan, rows=rows)


@methods.register("lost-entry")
@dataclass(frozen=True)
class LostEntry(Native):
    def build(self, info: RolloutInfo) -> Method:
        return Lost(info, relative=False, recache=None)
