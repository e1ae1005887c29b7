"""Calls a retrieved frame one of the window."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.random_memory import RandomMemory, RandomMemoryMethod


class Disguised(RandomMemoryMethod):
    def row(self, first, used, memory):
        row = super().row(first, used, memory)
        return tuple(replace(at, reason="sink") if at.reason == "retrieved" else at for at in row)


@methods.register("wrong-label")
@dataclass(frozen=True)
class WrongLabel(RandomMemory):
    def build(self, info: RolloutInfo) -> Method:
        return Disguised(info, self)
