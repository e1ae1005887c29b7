"""The column of each frame relative to the block that attends it, in worlds with a known camera."""

import numpy as np

from longtake.platform.methods.base import RolloutInfo


class Camera:
    """Columns relative to the first frame of the block that begins at `first`; 0 in worlds without a camera."""

    def __init__(self, info: RolloutInfo, first: int):
        self.columns, self.worlds, self.first = info.columns, info.world_columns, first

    def column(self, row: int, frame: int) -> int:
        """The left edge of a frame: the shortest offset round the world."""
        return 0 if self.columns is None else int(self.offsets(row, frame))

    def lefts(self, row: int, frames: np.ndarray) -> np.ndarray:
        """The left edges of many frames."""
        return np.zeros_like(frames) if self.columns is None else self.offsets(row, frames)

    def offsets(self, row: int, frames: int | np.ndarray) -> np.ndarray:
        assert self.columns is not None
        away = self.columns[row, frames] - self.columns[row, self.first]
        world = self.worlds[row]
        return (away + world // 2) % world - world // 2
