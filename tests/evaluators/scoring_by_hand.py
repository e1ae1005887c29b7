"""Scores frames by one metric, clip by clip, without a store or a video file."""

import numpy as np

from longtake.evaluators.base import Unscorable, VideoContext, VideoValue, metrics
from longtake.evaluators.clips import clip_frames, iter_clips


def score_frames(name: str, frames_NHWC: np.ndarray, ctx: VideoContext) -> VideoValue:
    """A clip without a value counts as None, as in the scorer."""
    run, clips = metrics.get(name)().open(ctx), list[float | None]()
    length = clip_frames(ctx.fps, ctx.width, ctx.height, ctx.path)
    for view in iter_clips([frames_NHWC], ctx.fps, length, ctx.path):
        try:
            clips.append(run.clip(view))
        except Unscorable:
            clips.append(None)
    return run.finish(clips)
