"""Draws memory from numpy's own generator: made again, a take attends other frames."""

from dataclasses import dataclass

import numpy as np

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.memory import MemoryConfig, MemoryMethod


class Global(MemoryMethod):
    def __init__(self, info, config):
        super().__init__(info, config)
        self.kept = {}

    def choose(self, row, first, eligible, count):
        if (row, first) not in self.kept:
            self.kept[row, first] = np.random.choice(eligible, count, replace=False)
        return [(int(frame), None) for frame in self.kept[row, first]]


@methods.register("own-draws")
@dataclass(frozen=True)
class OwnDraws(MemoryConfig):
    def build(self, info: RolloutInfo) -> Method:
        return Global(info, self)
