"""Its groups leave one head of the last layer out."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.interface.groups import every_head, summed_up
from longtake.platform.methods.native import Native, SlidingWindow


class Half(SlidingWindow):
    grouped = True

    def plan(self, first):
        plan, spec = super().plan(first), self.info.network
        groups = [every_head(row, spec) for row in plan.rows]
        groups = [(*row[:-1], replace(row[-1], heads=row[-1].heads[1:])) for row in groups]
        return summed_up(groups, plan.query_times, spec)


@methods.register("half-groups")
@dataclass(frozen=True)
class HalfGroups(Native):
    def build(self, info: RolloutInfo) -> Method:
        return Half(info, relative=False, recache=None)
