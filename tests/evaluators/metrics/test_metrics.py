"""Formulas against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from longtake.evaluators.base import Unscorable, VideoValue
from longtake.evaluators.metrics.colour import overlap
from longtake.evaluators.metrics.consistency import consistency
from longtake.evaluators.metrics.imaging import cleanness, exposure, sharpness
from longtake.evaluators.metrics.motion import between, is_dynamic, top_magnitude
from longtake.evaluators.views import Frames, size_within

RunMetric = Callable[..., VideoValue]


def flat(levels: list[int], side: int = 4) -> Frames:
    return np.stack([np.full((side, side, 3), level, dtype=np.uint8) for level in levels])


def test_flickering_is_the_mean_over_pairs(run_metric: RunMetric) -> None:
    # |10 - 20| = 10, |20 - 5| = 15, |5 - 5| = 0: mean 25/3; (255 - 25/3) / 255 = 0.967320...
    found = run_metric("temporal_flickering", flat([10, 20, 5, 5]), fps=2.0)
    assert found.value == pytest.approx((255 - 25 / 3) / 255, abs=1e-12)


def test_flickering_of_half_a_picture_and_of_black_to_white(run_metric: RunMetric) -> None:
    frames = flat([0, 0])
    frames[1, :2] = 100  # half the pixels change by 100: mean 50
    assert run_metric("temporal_flickering", frames, fps=2.0).value == pytest.approx(205 / 255, abs=1e-12)
    assert run_metric("temporal_flickering", flat([0, 255]), fps=2.0).value == 0.0


def test_consistency_formula() -> None:
    # f0 = x, f1 = 60 degrees, f2 = 120 degrees: to previous .5, .5; to first .5, max(0, -.5) = 0
    # pairs: (.5 + .5) / 2 = .5 and (.5 + 0) / 2 = .25; mean .375
    turn = np.deg2rad([0.0, 60.0, 120.0])
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    assert consistency(vectors) == pytest.approx(0.375, abs=1e-6)


def test_consistency_fuses_in_clip_and_clip_to_clip(run_metric: RunMetric, textured: Frames) -> None:
    found = run_metric("subject_consistency", textured)  # 84 frames: clips at 0, 32, and 52 (overlaps)
    assert len(found.clips) == 3
    in_clip, between_clips = found.extra["in_clip"], found.extra["clip_to_clip"]
    assert in_clip == pytest.approx(sum(found.clips) / 3)
    assert found.value == pytest.approx(0.5 * in_clip + 0.5 * between_clips)


def test_one_clip_has_no_clip_to_clip_part_and_says_so(run_metric: RunMetric, textured: Frames) -> None:
    found = run_metric("background_consistency", textured[:40])  # 32 frames and an overlapping clip
    assert found.extra["clip_to_clip"] is None
    assert found.value == found.extra["in_clip"]
    assert "in-clip part alone" in found.errors["clip_to_clip"]


def test_subject_and_background_look_at_different_places(run_metric: RunMetric) -> None:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8), 32, axis=0)
    frames[:, 24:40, 24:40] = rng.integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    assert run_metric("background_consistency", frames).value == pytest.approx(1.0, abs=1e-3)
    assert run_metric("subject_consistency", frames).value < 0.98


def test_palette_by_hand(run_metric: RunMetric) -> None:
    # Clip 1 is black; clip 2 is half black, half white: the histograms share half of the pixels.
    second = flat([0, 0])
    second[:, :2] = 255
    found = run_metric("palette_consistency", np.concatenate([flat([0, 0]), second]), fps=1.0)
    assert found.clips == [1.0, 0.5]
    assert found.value == 0.5  # the first clip, 1 by definition, is not averaged
    assert overlap(np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.3, 0.5])) == pytest.approx(0.5)


def test_palette_of_one_clip_has_no_value(run_metric: RunMetric) -> None:
    with pytest.raises(Unscorable, match="one clip"):
        run_metric("palette_consistency", flat([3, 3]), fps=1.0)


def test_chroma_noise_sees_colour_grain_only(run_metric: RunMetric) -> None:
    rng = np.random.default_rng(1)
    grey_grain = np.repeat(rng.integers(0, 256, (4, 16, 16, 1), dtype=np.uint8), 3, axis=-1)
    assert run_metric("chroma_noise", grey_grain, fps=2.0).value == 0.0
    colour_grain = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    assert run_metric("chroma_noise", colour_grain, fps=2.0).value > 1000


def test_chroma_noise_of_one_red_pixel(run_metric: RunMetric) -> None:
    # One pixel differs by d in a channel: the Laplacian is -4d there and d at its 4 neighbours, squared sum 20 d^2.
    frames = flat([128, 128], side=8)
    frames[:, 4, 4] = (228, 128, 128)
    _, cr, cb = (int(v) - 128 for v in cv2.cvtColor(frames[0, 4:5, 4:5], cv2.COLOR_RGB2YCrCb)[0, 0])
    expected = 20 * (cr**2 + cb**2) / (2 * 64)
    assert run_metric("chroma_noise", frames, fps=1.0).value == pytest.approx(expected, rel=1e-9)


def test_halfway_frame_of_a_known_flow() -> None:
    ramp = np.tile((np.arange(32, dtype=np.uint8) * 4)[None, :, None], (16, 1, 3))
    before, after = ramp, np.roll(ramp, 2, axis=1)  # everything moves 2 px to the right
    flow = np.zeros((16, 32, 2), dtype=np.float32)
    flow[..., 0] = 2.0
    assert np.array_equal(between(before, after, flow)[:, 4:-4], np.roll(ramp, 1, axis=1)[:, 4:-4])


def test_smooth_motion_beats_a_stutter(run_metric: RunMetric, textured: Frames) -> None:
    stutter = textured[np.repeat(np.arange(0, 32, 2), 2)]  # each frame shown twice: the odd one is never between
    smooth = run_metric("motion_smoothness", textured[:32]).value
    assert smooth > run_metric("motion_smoothness", stutter).value


def test_dynamic_rule() -> None:
    # 256 px: the limit is 6 px. 16 sampled frames (15 pairs) need round(4 * 16 / 16) = 4 fast pairs.
    assert is_dynamic([7.0] * 4 + [0.0] * 11, 256, 400)
    assert not is_dynamic([7.0] * 3 + [0.0] * 12, 256, 400)
    assert not is_dynamic([6.0] * 15, 256, 400)  # faster than, not as fast as
    assert is_dynamic([4.0] * 15, 128, 128)  # 128 px: the limit is 3 px
    assert not is_dynamic([0.0], 256, 256)  # two frames: VBench's count rounds to 0 and calls this dynamic


def test_top_magnitude_is_the_mean_of_the_fastest_twentieth() -> None:
    flow = np.zeros((10, 10, 2), dtype=np.float32)  # 100 vectors: the top 5 are averaged
    flow[0, :4] = (3.0, 4.0)  # four of length 5, the fifth is 0: 20 / 5 = 4
    assert top_magnitude(flow) == pytest.approx(4.0)


def test_imaging_parts() -> None:
    rng = np.random.default_rng(2)
    picture = np.kron(rng.integers(60, 200, (8, 8), dtype=np.uint8), np.ones((8, 8), np.uint8))
    soft = cv2.GaussianBlur(picture, (0, 0), 3)
    noisy = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    assert sharpness(picture) > sharpness(soft)
    assert cleanness(picture) > cleanness(noisy)
    # half the pixels clipped at 255, mean (128 + 255) / 2 = 191.5: (1 - .5) * (1 - (191.5 / 127.5 - 1)^4)
    half = np.full((4, 4), 128, np.uint8)
    half[:2] = 255
    assert exposure(half) == pytest.approx(0.5 * (1 - (191.5 / 127.5 - 1) ** 4))
    assert exposure(np.zeros((4, 4), np.uint8)) == 0.0


def test_noise_estimate_finds_gaussian_noise() -> None:
    noise = np.random.default_rng(3).normal(128, 12, (256, 256)).round().astype(np.uint8)
    assert cleanness(noise) == pytest.approx(0.5, abs=0.02)  # sigma = 12 is the half-score point


def test_sizes_only_go_down() -> None:
    assert size_within(832, 480, short_px=256) == (444, 256)  # 832 * 256 / 480 = 443.7
    assert size_within(128, 96, short_px=256) == (128, 96)
    assert size_within(1024, 512, long_px=512) == (512, 256)
    assert math.prod(size_within(4000, 1, long_px=512)) == 512
