"""The control for retrieval: the same budget and layout as `rag`, with frames drawn at random."""

from dataclasses import dataclass

import numpy as np

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.memory import Choice, MemoryConfig, MemoryMethod


class RandomMemoryMethod(MemoryMethod):
    """Draws from a generator keyed by (take, block), so that resuming a take changes no draw."""

    def choose(self, row: int, first: int, eligible: list[int], count: int) -> list[Choice]:
        key = np.array([self.info.seeds[row], first], np.uint64)
        indices = np.random.Generator(np.random.Philox(key=key)).choice(len(eligible), size=count, replace=False)
        return [(eligible[int(i)], None) for i in indices]


@methods.register("random-memory")
@dataclass(frozen=True)
class RandomMemory(MemoryConfig):
    """Past frames drawn at random: the control for retrieval, with the same budget."""

    def build(self, info: RolloutInfo) -> Method:
        return RandomMemoryMethod(info, self)
