"""Computes the values of frames (or pairs of frames) once that two neighbouring clips share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from longtake.evaluators.views import ClipView

V = TypeVar("V")


class FrameCache(Generic[V]):
    """Values by frame index, kept for the latest clip. A value must depend on pixels only. A pair has the index of its
    first frame; the distance to its second frame must be constant."""

    def __init__(self) -> None:
        self.values: dict[int, V] = {}
        self.start = -1

    def of(self, view: ClipView, indices: Sequence[int], compute: Callable[[list[int]], Sequence[V]]) -> list[V]:
        """The values at `indices` of the view; calls `compute` with the indices that are not cached."""
        start = view.start_frame
        if start != self.start:
            self.values = {frame: value for frame, value in self.values.items() if frame >= start and view.shared}
            self.start = start
        missing = [index for index in indices if start + index not in self.values]
        if missing:
            self.values |= {start + index: value for index, value in zip(missing, compute(missing), strict=True)}
        return [self.values[start + index] for index in indices]
