"""Retrieves for every take of a batch by the first take's latents."""

from dataclasses import dataclass

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.methods.rag import Rag


class FirstRow(RetrievalMemory):
    def choose(self, row, first, eligible, count):
        return super().choose(0, first, eligible, count)


@methods.register("batch-row")
@dataclass(frozen=True)
class BatchRow(Rag):
    def build(self, info: RolloutInfo) -> Method:
        return FirstRow(info, self)
