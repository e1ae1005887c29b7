"""Clips by the part of the prompt that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry, VideoContext
from longtake.evaluators.scoring.parts import NO_CLIP, means_by_part, parts_of
from longtake.evaluators.scoring.scorer import score_video_suites
from longtake.evaluators.views import Frames
from longtake.platform.prompts import Switch
from longtake.platform.takes import MethodSpec, Take

CLASSICAL = SuiteEntry("classical", "classical")
PLAIN = Take("tiny", MethodSpec("native", "native"), 5, 21, "a", 0)  # 81 frames, 5.06 s


def at(*frames: int) -> Take:
    return replace(PLAIN, switches=tuple(Switch(frame / 4, f"text {frame}", frame=frame) for frame in frames))


@pytest.mark.parametrize(
    ("frame", "parts"),
    [(3, [1, 1, 1]), (6, [0, 1, 1]), (12, [0, 1, 1]), (15, [0, 0, 1]), (18, [0, 0, 0])],
)
def test_a_clip_belongs_to_the_text_at_its_middle_frame(frame: int, parts: list[int]) -> None:
    """Clips of frames 0..31, 32..63 and 49..80, with middle frames 16, 48 and 65; latent frame i is first seen at video
    frame 4 i - 3: 9, 21, 45, 57 and 69."""
    ctx = VideoContext(Path("v.mp4"), 16.0, 48, 40, 81)
    assert parts_of(at(frame), ctx, [0.0, 2.0, 3.063]) == parts


def test_the_middle_of_a_video_of_one_short_clip() -> None:
    take = replace(at(3), latent_frames=6)  # 21 frames, the new text from frame 9 on; the middle is frame 10
    assert parts_of(take, VideoContext(Path("v.mp4"), 16.0, 48, 40, 21), [0.0]) == [1]


def test_means_of_parts_leave_out_what_has_no_score() -> None:
    means, reasons = means_by_part(at(3, 6, 9), [0.2, None, 0.4, 0.9, None], [0, 0, 0, 1, 3])
    assert means == {"at_text_1": pytest.approx(0.3), "at_text_2": 0.9, "at_text_3": None, "at_text_4": None}
    assert reasons == {"at_text_3": NO_CLIP, "at_text_4": NO_CLIP}


def test_scores_say_which_text_each_clip_has(tmp_path: Path, textured: Frames, lossless: Callable[..., Path]) -> None:
    path = lossless(tmp_path / "v.mkv", textured[:81])
    plain, timed = (score_video_suites(path, [CLASSICAL], take)["classical"] for take in (PLAIN, at(15)))
    assert plain.parts == {}
    assert "parts" not in plain.to_json()
    assert set(timed.parts) == set(timed.clips)
    assert timed.to_json()["parts"]["chroma_noise"] == [0, 0, 1]
    clips = timed.clips["chroma_noise"]
    assert clips == plain.clips["chroma_noise"]
    assert timed.drift["chroma_noise.at_text_1"] == pytest.approx((clips[0] + clips[1]) / 2)  # type: ignore[operator]
    assert timed.drift["chroma_noise.at_text_2"] == clips[2]
    assert plain.drift.items() <= timed.drift.items()
