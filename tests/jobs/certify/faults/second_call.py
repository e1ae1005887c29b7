"""Draws memory from a generator that every call of plan moves on."""

from dataclasses import dataclass

import numpy as np

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.memory import MemoryConfig, MemoryMethod


class OneStream(MemoryMethod):
    def __init__(self, info, config):
        super().__init__(info, config)
        self.streams = [np.random.default_rng(seed) for seed in info.seeds]

    def choose(self, row, first, eligible, count):
        return [(int(frame), None) for frame in self.streams[row].choice(eligible, count, replace=False)]


@methods.register("second-call")
@dataclass(frozen=True)
class SecondCall(MemoryConfig):
    def build(self, info: RolloutInfo) -> Method:
        return OneStream(info, self)
