"""Its groups leave one head of the last layer out."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.native import Native
from longtake.platform.methods.parts.grouped import GroupedMethod


class Half(GroupedMethod):
    def groups(self, row, first):
        *others, last = self.around(row, first, self.local_row(first, self.window.live(first + self.window.block)))
        return (*others, replace(last, heads=last.heads[1:]))


@methods.register("half-groups")
@dataclass(frozen=True)
class HalfGroups(Native):
    def build(self, info: RolloutInfo) -> Method:
        return Half(info)
