"""Attends its memory on top of a full window."""

from dataclasses import dataclass

from longtake.platform.methods.base import Method, RolloutInfo, Window, methods
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.methods.rag import Rag


@methods.register("larger-budget")
@dataclass(frozen=True)
class LargerBudget(Rag):
    def window_in(self, default: Window) -> Window:
        return (
            Window(default.size + self.top_k, default.sink, default.block)
            if self.window is None
            else super().window_in(default)
        )

    def build(self, info: RolloutInfo) -> Method:
        return RetrievalMemory(info, self)
