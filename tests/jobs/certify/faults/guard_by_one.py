"""Lets in the newest of the frames that the recency guard keeps out."""

from dataclasses import dataclass

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.methods.rag import Rag


class OneMore(RetrievalMemory):
    def eligible(self, row, first):
        evicted = self.window.evicted(first)
        return [frame for frame in evicted if frame <= evicted.stop - self.recency_guard]


@methods.register("guard-by-one")
@dataclass(frozen=True)
class GuardByOne(Rag):
    def build(self, info: RolloutInfo) -> Method:
        return OneMore(info, self)
