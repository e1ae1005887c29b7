"""Which look of a changed place is recalled, on videos made of true columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import Unscorable, VideoContext, VideoValue, metrics
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.truth import truth_of
from tests.evaluators.scoring_by_hand import score_frames

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat; houses 18 to 26 change at 12 s"
PLAIN = "dusk, brick; pan right 6 s, left 6 s, repeat"
PREFIX, LATENTS, SEED = 96, 144, 0
"""After 24 s the camera passes the changed columns 19..26 once more, to the right and back."""
NAMES = ["change_newest", "change_former", "change_neither"]


def views(prompt: str) -> np.ndarray:
    """uint8 [F, 32, 32, 3]: what the camera of this prompt truly sees."""
    truth = truth_of(prompt, (), SEED, LATENTS)
    columns = truth.look_of_places()[truth.places_FC].reshape(LATENTS, 8, 32, 4, 3)
    return columns.transpose(0, 2, 1, 3, 4).reshape(LATENTS, 32, 32, 3)


def scores(generated: np.ndarray, prefix: int = PREFIX) -> list[VideoValue]:
    """The true start, then the generated views."""
    codec = PocketCodec()
    made = np.concatenate([views(PROMPT)[:PREFIX], generated[PREFIX:]])
    frames = StreamingDecoder(codec, parse(PROMPT).camera(LATENTS)).push(codec.encode(made))
    return [value(name, frames, prefix) for name in NAMES]


def value(name: str, frames: np.ndarray, prefix: int) -> VideoValue:
    ctx = VideoContext(Path("made.mp4"), 16.0, 128, 128, len(frames), PROMPT, SEED, prefix)
    return score_frames(name, frames, ctx)


def test_the_newest_look_the_former_one_and_fog() -> None:
    fog = np.broadcast_to(views(PROMPT).mean(axis=(0, 2), keepdims=True), views(PROMPT).shape).astype(np.uint8)
    assert [one.value for one in scores(views(PROMPT))] == [1, 0, 0]
    assert [one.value for one in scores(views(PLAIN))] == [0, 1, 0]
    newest, former, neither = (one.value for one in scores(fog))
    assert neither > 0.8
    assert newest + former + neither == pytest.approx(1)


def test_half_of_each_is_half_of_each() -> None:
    """Frames 96..143 go right to column 23 and back. On the way right (to frame 119) the houses look as after the
    change, on the way back as before. Columns 19..26 are in view in 12 + 1 - .. frames each way, so count them."""
    mixed = views(PROMPT).copy()
    mixed[120:] = views(PLAIN)[120:]
    places = truth_of(PROMPT, (), SEED, LATENTS).places_FC >= 96
    expected = places[96:120].sum() / places[96:].sum()
    newest, former, neither = (one.value for one in scores(mixed))
    assert (newest, former, neither) == (pytest.approx(expected), pytest.approx(1 - expected), 0)


def test_clips_without_changed_columns_have_no_score() -> None:
    """Clip k holds latent frames 8 k .. 8 k + 7. From frame 96 on the camera is at 0, 1, ..: column 19 comes into view
    at frame 108, in clip 13."""
    clips = scores(views(PROMPT))[0].clips
    assert clips[:13] == [None] * 13
    assert clips[13] == 1


def test_reasons() -> None:
    with pytest.raises(Unscorable, match="does not show a place before and after its change; raise prefix_s"):
        scores(views(PROMPT), prefix=48)
    for name in NAMES:
        ctx = VideoContext(Path("made.mp4"), 16.0, 128, 128, 100, PLAIN, SEED, PREFIX)
        assert not metrics.get(name).applies(ctx)
        with pytest.raises(Unscorable, match="no house of the street changes"):
            metrics.get(name)().open(ctx)
