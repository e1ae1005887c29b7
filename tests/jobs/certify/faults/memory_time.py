"""Gives memory the time indices of slots, not index 0."""

from dataclasses import dataclass, replace

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.methods.rag import Rag


class AtSlots(RetrievalMemory):
    def row(self, first, used, memory):
        row = super().row(first, used, sorted(memory))
        return tuple(replace(at, time=slot) if at.reason == "retrieved" else at for slot, at in enumerate(row))


@methods.register("memory-time")
@dataclass(frozen=True)
class MemoryTime(Rag):
    def build(self, info: RolloutInfo) -> Method:
        return AtSlots(info, self)
