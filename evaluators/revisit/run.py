"""A revisit metric on one video, by clip and over the segments that end at 30, 60, 120 and 240 s.

Owns the sums and knows no metric by name. Every latent frame counts once, although the last clip of a video overlaps
the one before it. Prefix frames do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, VideoValue
from longtake.evaluators.revisit.walk import (
    VIDEO_FRAMES_PER_LATENT,
    Columns,
    Sighting,
    Tally,
    Walk,
    columns_by_latent,
    compare,
)
from longtake.evaluators.views import ClipView
from longtake.platform.errors import ConfigError
from longtake.platform.pocket.latent_code import UPSCALE
from longtake.platform.pocket.truth import Truth, truth_of
from longtake.platform.pocket.world import VIEW_PX

SEGMENTS_S = {30: 0, 60: 30, 120: 60, 240: 120}  # end -> start
SLACK_S = 1.0  # a take of 30 s has 29.8 s of frames
NO_REVISIT = "no column is seen again after it left the view"
NEVER_RETURNS = "no revisit: the camera goes along a long street and never comes back to a place"


class RevisitRun(MetricRun):
    """`score`: the score of a non-empty tally; `ground_truth`: compare with the panorama, not with first sights."""

    def __init__(self, ctx: VideoContext, score: Callable[[Tally], float], ground_truth: bool, rolled: bool) -> None:
        latent_frames = max(ctx.latent_frames or 0, 1 + ctx.num_frames // VIDEO_FRAMES_PER_LATENT)
        truth = pocket_truth(ctx, latent_frames)
        check_size(ctx)
        self._score, self._rolled, self._ctx = score, rolled, ctx
        self._ground_truth = true_columns(truth, ctx) if ground_truth else None
        if truth.never_returns:
            raise Unscorable(NEVER_RETURNS)
        self._walk = Walk(truth.as_shown(ctx.prefix_frames), truth.places, ctx.prefix_frames)
        self._clips: list[Tally] = []
        self._segments = {end: Tally() for end in SEGMENTS_S if ctx.num_frames / ctx.fps >= end - SLACK_S}

    def clip(self, view: ClipView) -> float:
        tally = Tally()
        self._clips.append(tally)
        for latent, columns in columns_by_latent(view).items():
            if latent == self._walk.next_latent:
                self._count(latent, self._compare(self._walk.step(columns)), tally)
        if not tally.columns:
            raise Unscorable(NO_REVISIT)
        return self._score(tally)

    def finish(self, clips: list[float | None]) -> VideoValue:
        """The mean over clips, weighted by their revisited columns; `at_30s`, ...: the same over one segment."""
        weights = [tally.columns for tally in self._clips]
        if not sum(weights):
            return VideoValue(None, clips, errors={"": NO_REVISIT})
        value = math.fsum(w * c for w, c in zip(weights, clips, strict=True) if c is not None) / sum(weights)
        ends = {f"at_{end}s": self._score(t) if t.columns else None for end, t in self._segments.items()}
        return VideoValue(value, clips, ends, {name: NO_REVISIT for name, score in ends.items() if score is None})

    def _count(self, latent: int, tally: Tally, clip: Tally) -> None:
        clip.add(tally)
        second = latent * VIDEO_FRAMES_PER_LATENT / self._ctx.fps
        for end, segment in self._segments.items():
            if SEGMENTS_S[end] <= second < end:
                segment.add(tally)

    def _compare(self, sighting: Sighting) -> Tally:
        places, references = self._walk.seen.nonzero()[0], self._walk.first_sights
        if self._ground_truth is not None:
            sighting = sighting.only(self._walk.given)
            places, references = np.arange(len(self._ground_truth)), self._ground_truth
        if not len(sighting.places):
            return Tally()
        return compare(sighting, references[places], places, self._rolled)


def check_size(ctx: VideoContext) -> None:
    """Raises Unscorable for a video that has not the size of the pocket world."""
    if (ctx.width, ctx.height) != (VIEW_PX * UPSCALE, VIEW_PX * UPSCALE):
        raise Unscorable(f"the video is {ctx.width}x{ctx.height}; a pocket video is 128x128")


def pocket_truth(ctx: VideoContext, latent_frames: int) -> Truth:
    """What the camera of the video sees. Raises Unscorable for a video of another world."""
    try:
        return truth_of(ctx.prompt or "", ctx.switches, ctx.seed or 0, latent_frames)
    except ConfigError as error:
        raise Unscorable(f"not a video of the pocket world ({error})") from error


def true_columns(truth: Truth, ctx: VideoContext) -> Columns:
    """float64 [N, 384]: the true look of every place. Raises Unscorable for a take without a prefix."""
    if not ctx.prefix_frames or ctx.seed is None:
        raise Unscorable("the take has no prefix (prefix_frames is 0), so the true panorama does not apply")
    return truth.look_of_places().astype(np.float64)
