"""Values of frames, or of pairs of frames, that two neighbouring clips share are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from longtake.evaluators.views import ClipView

V = TypeVar("V")


class Known(Generic[V]):
    """Values by place in the video, kept for the clip that was seen last. A value must depend on the pixels alone: of a
    pair, the place is that of the first frame, and the distance of the second is always the same."""

    def __init__(self) -> None:
        self.values: dict[int, V] = {}
        self.start = -1

    def of(self, view: ClipView, places: Sequence[int], compute: Callable[[list[int]], Sequence[V]]) -> list[V]:
        """A value for each of `places`, which are places in the view; `compute` is given those that are not known."""
        start = view.start_frame
        if start != self.start:
            self.values = {at: value for at, value in self.values.items() if at >= start and view.shared}
            self.start = start
        missing = [place for place in places if start + place not in self.values]
        if missing:
            self.values |= {start + place: value for place, value in zip(missing, compute(missing), strict=True)}
        return [self.values[start + place] for place in places]
