"""pocket_repeats, on a true long street and on one that shows its beginning again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import VideoContext, VideoValue, metrics
from longtake.platform.pocket.truth import truth_of
from tests.evaluators.scoring_by_hand import score_frames

LONG = "dusk, brick, long; pan right 60 s"
BACK = "dusk, brick; pan right 3 s, left 3 s, repeat"


def video_of(prompt: str, shown: list[int]) -> np.ndarray:
    """uint8 [4 F - 3, 128, 128, 3]: the true views of these latent frames, each four times (the first once)."""
    truth = truth_of(prompt, (), 3, max(shown) + 1)
    columns = truth.look_of_places()[truth.places_FC[shown]].reshape(len(shown), 8, 32, 4, 3)
    views = columns.transpose(0, 2, 1, 3, 4).reshape(len(shown), 32, 32, 3)
    return views.repeat(4, axis=0)[3:].repeat(4, axis=1).repeat(4, axis=2)


def context(frames: int, prompt: str, prefix_frames: int = 0) -> VideoContext:
    return VideoContext(Path("made.mp4"), 16.0, 128, 128, frames, prompt, 3, prefix_frames)


def value_of(frames: np.ndarray, prompt: str, prefix_frames: int = 0) -> VideoValue:
    return score_frames("pocket_repeats", frames, context(len(frames), prompt, prefix_frames))


def test_a_true_street_repeats_nothing() -> None:
    assert value_of(video_of(LONG, list(range(64))), LONG).value == 0


def test_a_street_that_shows_its_beginning_again_on_new_ground() -> None:
    """Frames 0..31 are true; frames 32..63 show frames 0..31 once more. Of 63 frames with new ground, frames 32..63
    show at the right edge what frames 0..31 showed: 32 of 63."""
    found = value_of(video_of(LONG, [*range(32), *range(32)]), LONG)
    assert found.value == pytest.approx(32 / 63)
    assert found.clips == [0, 0, 0, 0, 1, 1, 1, 1]


def test_given_frames_are_remembered_and_not_scored() -> None:
    found = value_of(video_of(LONG, [*range(32), *range(32)]), LONG, prefix_frames=32)
    assert found.value == 1
    assert found.clips[:4] == [None] * 4


def test_what_is_seen_again_is_no_repeat_and_only_new_ground_counts() -> None:
    """12 columns to the right (frames 1..11), then back and forth: frame 23 is at column -1, the other new ground."""
    found = value_of(video_of(BACK, list(range(48))), BACK)
    assert found.value == 0
    assert found.clips == [0, 0, 0, None, None, None]
    kind = metrics.get("pocket_repeats")
    assert kind.applies(context(189, BACK))
    assert not kind.applies(context(189, BACK, prefix_frames=24))
