"""Gives a retrieved frame a reason of its own."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.random_memory import RandomMemory, RandomMemoryMethod


class Renamed(RandomMemoryMethod):
    def row(self, first, used, memory):
        row = super().row(first, used, memory)
        return tuple(replace(at, reason="memory") if at.reason == "retrieved" else at for at in row)


@methods.register("free-reason")
@dataclass(frozen=True)
class FreeReason(RandomMemory):
    def build(self, info: RolloutInfo) -> Method:
        return Renamed(info, self)
