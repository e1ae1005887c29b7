"""The upper bound of memory in a world with a known camera: selects frames that show what the new block will show.

It reads the camera's true columns, and when they look as they did before, which a retrieval method must not. Only
backbones with a known camera can run it. Greedy cover: select the frame that shows the most columns of the block that
are not yet covered (the earliest of equals) and repeat; the rest of the budget goes to the earliest frames that show
any of the columns. A frame that shows one of them in another look than it has now is not selected.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.parts.memory import Choice, MemoryConfig, MemoryMethod


class OracleMethod(MemoryMethod):
    """Selects memory by the columns of the world that each frame shows."""

    def __init__(self, info: RolloutInfo, config: MemoryConfig):
        super().__init__(info, config)
        if info.columns is None:
            raise ConfigError("oracle-memory needs a world with a known camera; use it with the pocket backbones")
        worlds = np.array(info.world_columns)[:, None, None]
        columns = (info.columns[:, :, None] + np.arange(info.view_columns)) % worlds
        places = columns if info.places is None else info.places
        found, numbers = np.unique(places, return_inverse=True)
        numbers = numbers.reshape(places.shape)
        self.shows = np.zeros((*info.columns.shape, len(found)), dtype=bool)
        np.put_along_axis(self.shows, numbers, True, axis=2)
        self.column_of = np.full((len(places), len(found)), -1)
        np.put_along_axis(self.column_of, numbers.reshape(len(places), -1), columns.reshape(len(places), -1), axis=1)

    def choose(self, row: int, first: int, eligible: list[int], count: int) -> list[Choice]:
        needed = self.shows[row, first : first + self.window.block].any(axis=0)
        other_looks = np.isin(self.column_of[row], self.column_of[row, needed]) & ~needed
        eligible = [frame for frame in eligible if not (self.shows[row, frame] & other_looks).any()]
        if not eligible:
            return []
        shows = self.shows[row, eligible] & needed
        uncovered, order = needed.copy(), list[int]()
        while len(order) < count and (gain := (shows & uncovered).sum(axis=1)).max() > 0:
            order.append(int(gain.argmax()))
            uncovered &= ~shows[order[-1]]
        rest = [i for i in np.argsort(~shows.any(axis=1), kind="stable") if i not in order]
        return [(eligible[int(i)], None) for i in [*order, *rest[: count - len(order)]]]


@methods.register("oracle-memory")
@dataclass(frozen=True)
class Oracle(MemoryConfig):
    """Past frames that show the same place, by the true camera of the pocket world: an upper bound."""

    version: ClassVar[int] = 2
    needs_camera: ClassVar[bool] = True

    def build(self, info: RolloutInfo) -> Method:
        return OracleMethod(info, self)
