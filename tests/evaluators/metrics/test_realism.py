"""pocket_realism, on true streets and on columns that no street has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import Unscorable, VideoContext, metrics
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.drawable import drawable
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.truth import truth_of
from longtake.platform.pocket.world import panorama, split_columns

LONG = "dusk, brick, long; pan left 60 s"


def video_of(prompt: str, latent_frames: int) -> np.ndarray:
    """The true street, as uint8 frames [n, 128, 128, 3] of its latent code."""
    truth = truth_of(prompt, (), 3, latent_frames)
    columns = truth.look_of_places()[truth.places_FC].reshape(latent_frames, 8, 32, 4, 3)
    views = columns.transpose(0, 2, 1, 3, 4).reshape(latent_frames, 32, 32, 3)
    codec = PocketCodec()
    return StreamingDecoder(codec, parse(prompt).camera(latent_frames)).push(codec.encode(views))


def clips_of(frames: np.ndarray, prompt: str, prefix_frames: int = 0) -> list[float | None]:
    ctx = VideoContext(Path("made.mp4"), 16.0, 128, 128, len(frames), prompt, 3, prefix_frames)
    run, scores = metrics.get("pocket_realism")().open(ctx), list[float | None]()
    for view in iter_clips([frames], 16.0, clip_frames(16.0, 128, 128, ctx.path), ctx.path):
        try:
            scores.append(run.clip(view))
        except Unscorable:
            scores.append(None)
    return scores


def test_what_the_world_drew_is_near_and_the_mean_of_a_street_is_not() -> None:
    """Where hills and tint are level within a column the distance is 0; elsewhere it is small."""
    columns = split_columns(panorama("dusk", "brick", 3)).astype(float)
    true = drawable("dusk", "brick").distances(columns)
    assert np.median(true) < 1
    assert true.mean() < 10
    fog = drawable("dusk", "brick").distances(columns.mean(axis=0, keepdims=True))
    assert fog[0] > 200


def test_a_brighter_sky_is_a_tint_and_a_brighter_house_is_not() -> None:
    """The sky may be 9 levels brighter than in the middle of its range, the rest of a column may not."""
    world = drawable("noon", "glass")
    column, sky = world.columns_ND[5].astype(float) + 128, np.repeat(world.sky_NP[5], 3)
    assert 90 < sky.sum() < 384
    assert world.distances((column + 9 * sky)[None])[0] < 0.01
    assert world.distances((column + 9 * (1 - sky))[None])[0] > 3


def test_a_true_long_street_scores_what_the_code_allows_and_fog_much_less() -> None:
    frames = video_of(LONG, 32)
    assert min(clips_of(frames, LONG)) > 30
    faded = (frames.astype(float) * 0.5 + frames.mean(axis=(0, 2), keepdims=True) * 0.5).astype(np.uint8)
    assert max(clips_of(faded, LONG)) < 28
    assert clips_of(frames, LONG.replace("brick", "glass"))[0] < 27


def test_given_frames_do_not_count() -> None:
    """125 frames: clips of latent frames 0..7, 8..15, 16..23 and, of the last 32 frames, 24..31."""
    frames = video_of(LONG, 32)
    scores = clips_of(frames, LONG, prefix_frames=16)
    assert scores[:2] == [None, None]
    assert scores[2:] == clips_of(frames, LONG)[2:]


def test_another_world_and_another_size_have_no_value() -> None:
    frames = video_of(LONG, 4)
    with pytest.raises(Unscorable, match="not a video of the pocket world"):
        clips_of(frames, "a cat")
    ctx = VideoContext(Path("made.mp4"), 16.0, 64, 64, 13, LONG, 3)
    with pytest.raises(Unscorable, match="64x64"):
        metrics.get("pocket_realism")().open(ctx)
