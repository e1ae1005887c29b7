"""Gives the two oldest frames of the window each other's time index, and does not say so."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.native import Native, SlidingWindow


class Swapped(SlidingWindow):
    def plan(self, first):
        plan = super().plan(first)
        if first < 12:
            return plan
        one, two = plan.rows[0][1:3]
        swapped = [replace(a, time=b.time, reason="retrieved") for a, b in ((one, two), (two, one))]
        return replace(plan, rows=tuple((row[0], *swapped, *row[3:]) for row in plan.rows))


@methods.register("wrong-order")
@dataclass(frozen=True)
class WrongOrder(Native):
    def build(self, info: RolloutInfo) -> Method:
        return Swapped(info, relative=False, recache=None)
