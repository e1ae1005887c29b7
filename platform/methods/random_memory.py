"""The control that every claim of retrieval needs: the same budget and layout as `rag`, frames drawn at random."""

from dataclasses import dataclass

import numpy as np

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.memory import Choice, MemoryConfig, MemoryMethod


class RandomMemoryMethod(MemoryMethod):
    """Draws from a generator keyed by (the take's key, block), so that resuming changes no draw."""

    def choose(self, first: int, eligible: range, count: int) -> list[list[Choice]]:
        return [self.draw(seed, first, eligible, count) for seed in self.info.seeds]

    def draw(self, seed: int, first: int, eligible: range, count: int) -> list[Choice]:
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, first], np.uint64)))
        picked = generator.choice(len(eligible), size=count, replace=False)
        return [(eligible.start + int(i), None) for i in picked]


@methods.register("random-memory")
@dataclass(frozen=True)
class RandomMemory(MemoryConfig):
    """Memory frames without any retrieval."""

    def build(self, info: RolloutInfo) -> Method:
        return RandomMemoryMethod(info, self)
