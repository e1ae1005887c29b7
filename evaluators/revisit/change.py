"""Which look of a place that changed a video shows: its newest, its former one, or neither.

Counts the columns that come back in generated frames, of places that the prefix showed both before and after their
change. The look is that of the nearest true column: of all places of the street, and of the changed ones in both looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, VideoValue
from longtake.evaluators.revisit.run import check_size, pocket_truth
from longtake.evaluators.revisit.walk import VIDEO_FRAMES_PER_LATENT, Sighting, Walk, columns_by_latent, mean_squares
from longtake.evaluators.views import ClipView

Look = Literal["newest", "former", "neither"]
NOT_BACK = "no changed column is seen again after it left the view"
NOT_SHOWN = "the prefix does not show a place before and after its change; raise prefix_s"


@dataclass
class Looks:
    """Counts of columns by their look."""

    newest: int = 0
    former: int = 0
    columns: int = 0

    def add(self, other: Looks) -> None:
        self.newest += other.newest
        self.former += other.former
        self.columns += other.columns

    def share(self, look: Look) -> float:
        shown = {"newest": self.newest, "former": self.former, "neither": self.columns - self.newest - self.former}
        return shown[look] / self.columns


class ChangeRun(MetricRun):
    """The share of changed columns with one look, by clip and over the video."""

    def __init__(self, ctx: VideoContext, look: Look) -> None:
        truth = pocket_truth(ctx, max(ctx.latent_frames or 0, 1 + ctx.num_frames // VIDEO_FRAMES_PER_LATENT))
        check_size(ctx)
        before, after = truth.versions
        given = truth.places_FC[: ctx.prefix_frames]
        both = np.isin(before, given) & np.isin(after, given)
        if not len(before):
            raise Unscorable("no house of the street changes")
        if not both.any():
            raise Unscorable(NOT_SHOWN)
        self._look, self._total = look, Looks()
        self._former = dict(zip(after[both].tolist(), before[both].tolist(), strict=True))
        self._true = truth.look_of_places().astype(np.float64)
        self._walk = Walk(truth.as_shown(ctx.prefix_frames), truth.places, ctx.prefix_frames)

    def clip(self, view: ClipView) -> float:
        looks = Looks()
        for latent, columns in columns_by_latent(view).items():
            if latent == self._walk.next_latent:
                self._count(self._walk.step(columns), looks)
        if not looks.columns:
            raise Unscorable(NOT_BACK)
        self._total.add(looks)
        return looks.share(self._look)

    def finish(self, clips: list[float | None]) -> VideoValue:
        """The share over all changed columns of the video."""
        if not self._total.columns:
            return VideoValue(None, clips, errors={"": NOT_BACK})
        return VideoValue(self._total.share(self._look), clips)

    def _count(self, sighting: Sighting, looks: Looks) -> None:
        is_changed = np.isin(sighting.places, list(self._former))
        if not is_changed.any():
            return
        nearest = mean_squares(sighting.columns[is_changed], self._true).argmin(axis=1)
        for place, shown in zip(sighting.places[is_changed].tolist(), nearest.tolist(), strict=True):
            looks.newest += shown == place
            looks.former += shown == self._former[place]
            looks.columns += 1
