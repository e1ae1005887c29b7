"""The 2 s clip protocol: which frames make which clip, whatever the read batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.platform.errors import VideoError

PATH = Path("v.mp4")


def numbered(count: int) -> np.ndarray:
    """Frame i is filled with the value i, 2x2 pixels."""
    return np.repeat(np.arange(count, dtype=np.uint8), 12).reshape(count, 2, 2, 3)


def clips_of(count: int, batch: int, fps: float = 2.9) -> list[tuple[int, list[int], bool]]:
    frames = numbered(count)
    parts = [frames[i : i + batch] for i in range(0, count, batch)]
    views = iter_clips(parts, fps, clip_frames(fps, 2, 2, PATH), PATH)
    return [(v.start_frame, v.frames[:, 0, 0, 0].tolist(), v.overlaps) for v in views]


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_a_remainder_adds_the_last_frames_as_an_overlapping_clip(batch: int) -> None:
    # int(2.9) = 2 frames a second, so a clip has 4; 10 frames are 2 clips and a remainder of 2: frames 6..9 again
    assert clips_of(10, batch) == [(0, [0, 1, 2, 3], False), (4, [4, 5, 6, 7], False), (6, [6, 7, 8, 9], True)]


def test_whole_clips_have_no_remainder_and_short_videos_are_one_clip() -> None:
    assert [start for start, _, _ in clips_of(8, 3)] == [0, 4]
    assert clips_of(3, 2) == [(0, [0, 1, 2], False)]


def test_474_frames_at_16_fps_are_15_clips() -> None:
    # 474 = 14 * 32 + 26; the fifteenth clip starts at 474 - 32 = 442
    frames = np.zeros((474, 1, 1, 3), dtype=np.uint8)
    starts = [v.start_frame for v in iter_clips([frames], 16.0, 32, PATH)]
    assert starts == [*range(0, 448, 32), 442]


def test_views_are_read_only() -> None:
    view = next(iter_clips([numbered(4)], 2.0, 4, PATH))
    with pytest.raises(ValueError, match="read-only"):
        view.frames[0] = 1


@pytest.mark.parametrize(("fps", "size", "rule"), [(0.9, 8, "1 to 240"), (1000.0, 8, "1 to 240"), (60.0, 4096, "MiB")])
def test_absurd_rates_and_sizes_are_refused(fps: float, size: int, rule: str) -> None:
    with pytest.raises(VideoError, match=rule):
        clip_frames(fps, size, size, PATH)


def test_a_change_of_size_and_an_empty_video_are_errors() -> None:
    with pytest.raises(VideoError, match="frame 2 is 3x2, the first is 2x2"):
        list(iter_clips([numbered(2), np.zeros((1, 2, 3, 3), np.uint8)], 2.0, 4, PATH))
    with pytest.raises(VideoError, match="no frame"):
        list(iter_clips([], 2.0, 4, PATH))
