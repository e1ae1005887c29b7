"""One revisit measure on one video: clip by clip, and over the segments that end at 30, 60, 120 and 240 s.

Owns the sums. Knows no metric's name. Every latent frame counts once, although the last clip of a video overlaps the
one before it; frames that were given to the take never count.
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
    split_columns,
)
from longtake.evaluators.views import ClipView
from longtake.platform.errors import ConfigError
from longtake.platform.pocket.latent_code import UPSCALE
from longtake.platform.pocket.prompts import PocketPrompt, parse
from longtake.platform.pocket.world import COLUMNS, VIEW_PX, panorama

SEGMENTS_S = {30: 0, 60: 30, 120: 60, 240: 120}  # end -> start
SLACK_S = 1.0  # a 30 s take has 29.8 s of frames
NOTHING = "no column is seen again after it had left the view"


class RevisitRun(MetricRun):
    """`score` turns a tally with columns into the number; `truth`: the panorama instead of first sights."""

    def __init__(self, ctx: VideoContext, score: Callable[[Tally], float], truth: bool, rolled: bool) -> None:
        prompt = pocket_prompt(ctx)
        if (ctx.width, ctx.height) != (VIEW_PX * UPSCALE, VIEW_PX * UPSCALE):
            raise Unscorable(f"a pocket video is 128x128, this one is {ctx.width}x{ctx.height}")
        self._score, self._rolled, self._ctx = score, rolled, ctx
        latent_frames = max(ctx.latent_frames or 0, 1 + ctx.num_frames // VIDEO_FRAMES_PER_LATENT)
        self._walk = Walk(prompt.camera(latent_frames), ctx.prefix_frames)
        self._truth = true_columns(prompt, ctx) if truth else None
        self._clips: list[Tally] = []
        self._segments = {end: Tally() for end in SEGMENTS_S if ctx.num_frames / ctx.fps >= end - SLACK_S}

    def clip(self, view: ClipView) -> float:
        tally = Tally()
        self._clips.append(tally)
        for latent, columns in columns_by_latent(view).items():
            if latent == self._walk.next_latent:
                self._count(latent, self._compare(self._walk.step(columns)), tally)
        if not tally.columns:
            raise Unscorable(NOTHING)
        return self._score(tally)

    def finish(self, clips: list[float | None]) -> VideoValue:
        """The mean over clips, each weighted by its revisited columns; beside it `at_30s`, ...: over that segment."""
        weights = [tally.columns for tally in self._clips]
        if not sum(weights):
            return VideoValue(None, clips, errors={"": NOTHING})
        value = math.fsum(w * c for w, c in zip(weights, clips, strict=True) if c is not None) / sum(weights)
        ends = {f"at_{end}s": self._score(t) if t.columns else None for end, t in self._segments.items()}
        return VideoValue(value, clips, ends, {name: NOTHING for name, score in ends.items() if score is None})

    def _count(self, latent: int, found: Tally, clip: Tally) -> None:
        clip.add(found)
        second = latent * VIDEO_FRAMES_PER_LATENT / self._ctx.fps
        for end, tally in self._segments.items():
            if SEGMENTS_S[end] <= second < end:
                tally.add(found)

    def _compare(self, sighting: Sighting) -> Tally:
        places, references = self._walk.seen.nonzero()[0], self._walk.first_sights
        if self._truth is not None:
            sighting = sighting.only(self._walk.given)
            places, references = np.arange(COLUMNS), self._truth
        if not len(sighting.places):
            return Tally()
        return compare(sighting, references[places], places, self._rolled)


def pocket_prompt(ctx: VideoContext) -> PocketPrompt:
    """The script that the camera followed. Raises Unscorable for a video of another world."""
    try:
        return parse(ctx.prompt or "")
    except ConfigError as error:
        raise Unscorable(f"not a video of the pocket world ({error})") from error


def true_columns(prompt: PocketPrompt, ctx: VideoContext) -> Columns:
    """float64 [96, 384]: the street of the take. Raises Unscorable when the take was shown nothing of it."""
    if not ctx.prefix_frames or ctx.seed is None:
        raise Unscorable("no true frames were given (start_frames is 0), so the true panorama binds nothing")
    return split_columns(panorama(prompt.sky, prompt.material, ctx.seed))
