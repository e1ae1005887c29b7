"""What the suite vbench-long must say of long videos whose truth is known, with stand-ins in the place of its networks.

All videos have 4 frames a second, so that a clip of 2 s has 8 frames, and are written without loss.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.evaluators.base import SuiteEntry, VideoContext
from longtake.evaluators.clips import iter_clips
from longtake.evaluators.model_pool import ModelPool, pool_of
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.suites.vbench_long import DIMENSIONS
from longtake.evaluators.vbench.consistency import mapped
from longtake.evaluators.vbench.pixels import CLIP, IMAGENET
from longtake.evaluators.views import Frames
from longtake.platform.store.records import VideoScores
from tests.evaluators.stand_ins import Flow, stand_ins

FPS, CLIP_FRAMES, SIDE = 4, 8, (24, 32)
SEES_TIME = ("subject_consistency", "background_consistency", "motion_smoothness", "temporal_flickering")
CONSISTENCY = SEES_TIME[:2]
Score = Callable[..., VideoScores]


@pytest.fixture
def score(tmp_path: Path, lossless: Callable[..., Path]) -> Score:
    """(frames, equipment, settings of the suite) -> scores; every clip of every dimension has one."""

    def scored(frames: Frames, model_pool: ModelPool | None = None, **settings: Any) -> VideoScores:
        path = lossless(tmp_path / f"{len(list(tmp_path.iterdir()))}.mkv", frames, FPS)
        found = score_video(path, SuiteEntry("vbench-long", "vbench-long", settings), model_pool or stand_ins())
        assert [name for name in found.errors if "." not in name] == []
        return found

    return scored


def flat(levels: list[int]) -> Frames:
    """A grey frame for each level."""
    return np.tile(np.array(levels, dtype=np.uint8)[:, None, None, None], (1, *SIDE, 3))


def panning(frames: int, seed: int, step: int = 1) -> Frames:
    """A random picture of large patches that moves `step` pixels a frame and is where it began after half of them."""
    rng = np.random.default_rng(seed)
    wide = np.kron(rng.integers(60, 200, (3, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
    there = [wide[:, step * i : step * i + SIDE[1]] for i in range(frames // 2)]
    return np.stack([*there, *there[::-1]])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["direct", "exact"])
def test_a_clip_that_repeats_scores_the_same_however_often_and_never_drifts(score: Score, protocol: str) -> None:
    clip, settings = panning(CLIP_FRAMES, 1), {"protocol": protocol, "long_range": True}
    few, many = (score(np.concatenate([clip] * times), **settings) for times in (4, 11))
    for name in DIMENSIONS:
        assert len(many.clips[name]) == 11
        assert set(many.clips[name]) == set(few.clips[name]) == {few.clips[name][0]}
        assert many.metrics[name] == pytest.approx(few.metrics[name], abs=1e-6)
        assert [many.drift[f"{name}.{part}"] for part in ("slope_per_min", "quarter_diff")] == [0.0, 0.0]
    assert few.metrics["motion_smoothness"] != 1.0, "the clip itself moves"
    assert few.metrics["scene_cuts"] == many.metrics["scene_cuts"] == 0.0
    for name in CONSISTENCY:
        # exact: a clip's first frame stands alone in a video of first frames, which x264 codes as it likes
        assert many.drift[f"{name}.clip_to_clip"] == pytest.approx(1.0, abs=1e-6 if protocol == "direct" else 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["direct", "exact"])
def test_clips_in_the_opposite_order_score_in_the_opposite_order(score: Score, protocol: str) -> None:
    clips = [panning(CLIP_FRAMES, seed, step=seed % 3 % 2) // (1 + seed % 3) for seed in range(8)]
    forth, back = (score(np.concatenate(order), protocol=protocol) for order in (clips, clips[::-1]))
    for name in DIMENSIONS:
        assert back.clips[name] == forth.clips[name][::-1]
        assert back.metrics[name] == pytest.approx(forth.metrics[name], abs=1e-12)
        for part in ("slope_per_min", "quarter_diff"):
            assert back.drift[f"{name}.{part}"] == pytest.approx(-forth.drift[f"{name}.{part}"], abs=1e-12)
        assert len(set(forth.clips[name])) > 1, "it has an order to see"


def directions_of(statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Callable[[Tensor], Tensor]:
    """A network that turns the mean of a normalised frame, a level c in 0..1, into the direction (c, sqrt(1 - c^2)):
    its cosine with white is c."""
    mean, std = (torch.tensor(values) for values in statistics)

    def network(frames_NCHW: Tensor) -> Tensor:
        level = (frames_NCHW.mean(dim=(2, 3)) * std + mean).mean(dim=1).clamp(0, 1)
        return torch.stack([level, (1 - level**2).sqrt()], dim=1)

    return network


def exact_eyes() -> ModelPool:
    """Networks whose answers for flat frames are known: the cosine of two frames, one of them white, is the other's
    level; the rating is ten times the level."""
    plain = directions_of(((0.0,) * 3, (1.0,) * 3))
    return pool_of(
        {
            "dino": directions_of(IMAGENET),
            "dinov2": directions_of(IMAGENET),
            "clip-b": directions_of(CLIP),
            "clip-l": directions_of(CLIP),
            "dreamsim": plain,
            "aesthetic": lambda directions: 10 * directions[:, :1],
            "musiq": lambda frames: 100 * frames.mean(dim=(1, 2, 3)),
            "amt": lambda before, after: (before + after) / 2,
            "raft": Flow(),
        }
    )


def test_a_linear_decay_has_the_slope_that_it_was_given(score: Score) -> None:
    # Clip i: a white frame, then seven of level 250 - 10 i, which is c_i = (250 - 10 i) / 255 of white.
    levels = [250 - 10 * i for i in range(8)]
    found = score(flat([level for low in levels for level in (255, *[low] * 7)]), exact_eyes())
    share = {
        # seven frames after the first: cos to the one before is c, 1 x 6; to the first c x 7: (c + 6 + 7 c) / 14
        "subject_consistency": lambda c: (8 * c + 6) / 14,
        "background_consistency": lambda c: (8 * c + 6) / 14,
        # one of seven pairs differs, by 255 (1 - c)
        "temporal_flickering": lambda c: 1 - (1 - c) / 7,
        # between frames 0 and 2 lies (255 + level) / 2, cut to a whole level: level + (254 - level) / 2; one of three
        "motion_smoothness": lambda c: 1 - (254 - 255 * c) / (2 * 3 * 255),
        # one of eight frames is white
        "aesthetic_quality": lambda c: (1 + 7 * c) / 8,
        "imaging_quality": lambda c: (1 + 7 * c) / 8,
    }
    fall = {
        "subject_consistency": 8 / 14, "background_consistency": 8 / 14, "temporal_flickering": 1 / 7,
        "motion_smoothness": 1 / 6, "aesthetic_quality": 7 / 8, "imaging_quality": 7 / 8,
    }  # fmt: skip
    for name, of in share.items():
        assert found.clips[name] == pytest.approx([of(level / 255) for level in levels], abs=2e-6)
        # -10 levels in 2 s are -300 a minute; the quarters are clips 0, 1 and 6, 7: six clips, -60 levels apart
        assert found.drift[f"{name}.slope_per_min"] == pytest.approx(-300 / 255 * fall[name], abs=5e-5)
        assert found.drift[f"{name}.quarter_diff"] == pytest.approx(-60 / 255 * fall[name], abs=5e-6)
    assert set(found.clips["dynamic_degree"]) == {0.0}, "one pair of seven moves, two must"
    assert found.metrics["scene_cuts"] == 0.0


def test_a_video_that_begins_to_move_half_way_drifts_in_dynamic_degree(score: Score) -> None:
    found = score(flat([100] * 32 + [100, 140] * 16))
    assert found.clips["dynamic_degree"] == [0.0] * 4 + [1.0] * 4
    # centres 1, 3, .., 15 about 8: (1 + 3 + 5 + 7) / (2 (1 + 9 + 25 + 49)) = 16 / 168 a second
    assert found.drift["dynamic_degree.slope_per_min"] == pytest.approx(60 * 16 / 168)
    assert found.drift["dynamic_degree.quarter_diff"] == 1.0


def test_a_hard_cut_is_found_and_lowers_the_one_clip_that_it_is_in(score: Score) -> None:
    before, after = panning(2, 3, step=0)[:1], 255 - panning(2, 9, step=0)[:1]
    after[:, :, :16] //= 4
    found = score(np.concatenate([before] * 28 + [after] * 20))  # frame 28 is the fifth of clip 3
    assert found.metrics["scene_cuts"] == 1.0
    assert found.clips["scene_cuts"] == [0, 0, 0, 1, 0, 0]
    assert found.drift["scene_cuts.at_s.1"] == 28 / FPS
    for name in SEES_TIME:
        clips = found.clips[name]
        assert [score for place, score in enumerate(clips) if place != 3] == pytest.approx([1.0] * 5, abs=1e-6)
        assert clips[3] < 0.99
    for name in ("aesthetic_quality", "imaging_quality"):  # they see the new picture, not the cut
        clips = found.clips[name]
        assert clips[:3] == [clips[0]] * 3
        assert clips[4:] == [clips[5]] * 2
        assert clips[3] == pytest.approx((clips[0] + clips[5]) / 2, abs=1e-6)
    assert set(found.clips["dynamic_degree"]) == {0.0}, "a cut is one pair, not motion"


@pytest.mark.parametrize("long_range", [True, False])
def test_a_cut_between_clips_is_seen_between_clips_alone(score: Score, long_range: bool) -> None:
    found = score(flat([255] * 24 + [51] * 24), exact_eyes(), long_range=long_range)  # frame 24 begins clip 3; c = .2
    assert found.drift["scene_cuts.at_s.1"] == 24 / FPS
    for name in CONSISTENCY:
        assert found.clips[name] == pytest.approx([1.0] * 6, abs=1e-6)
        # first frames: three white, three of c = .2. To the one before: 1 1 .2 1 1; to the first: 1 1 .2 .2 .2
        assert found.drift[f"{name}.clip_to_clip"] == pytest.approx((4.2 + 2.6) / 10, abs=1e-5)
        assert (found.metrics[name] < 1.0) is long_range
        assert (f"{name}.in_clip" in found.drift) is long_range
        assert found.drift[f"{name}.mapped"] == pytest.approx(mapped(0.68, name.removesuffix("_consistency")), abs=1e-5)


@pytest.mark.parametrize(("protocol", "tolerance"), [("direct", 1e-6), ("exact", 1e-2)])
def test_official_numbers_without_the_long_range_are_of_the_networks_within_a_clip(
    score: Score, protocol: str, tolerance: float
) -> None:
    # First frames: white, c = .2, white. To the one before: .2 .2; to the first: .2 1.
    found = score(flat([255] * 8 + [51] * 8 + [255] * 8), exact_eyes(), protocol=protocol)
    for name in CONSISTENCY:
        assert found.drift[f"{name}.clip_to_clip"] == pytest.approx((0.4 + 1.2) / 4, abs=tolerance)
        assert found.metrics[name] == pytest.approx(1.0, abs=1e-4)
    short = score(flat([255] * 12), exact_eyes(), protocol=protocol)  # one clip, and one that overlaps it
    for name in CONSISTENCY:
        assert short.drift[f"{name}.clip_to_clip"] is None
        assert short.errors[f"{name}.mapped"] == "needs two clips of 2 s without overlap"
        assert short.metrics[name] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("frame", "weight"), [(3, 1 / 24), (11, 1 / 24), (12, 2 / 24), (15, 2 / 24), (16, 1 / 24)])
def test_frames_that_two_clips_share_count_twice(score: Score, frame: int, weight: float) -> None:
    # 20 frames: clips of frames 0-7, 8-15 and the last eight, 12-19; frames 12-15 are in two of the three.
    found = score(flat([255 if index == frame else 0 for index in range(20)]), exact_eyes())
    assert found.seconds["imaging_quality"] == [0.0, 2.0, 3.0]
    assert found.metrics["imaging_quality"] == pytest.approx(weight, abs=1e-6)
    assert found.metrics["aesthetic_quality"] == pytest.approx(weight, abs=1e-5)


@pytest.mark.parametrize(
    ("frame", "weight"), [(3, 1 / 21), (8, 0), (12, 1 / 21), (13, 2 / 21), (15, 2 / 21), (16, 1 / 21)]
)
def test_pairs_that_two_clips_share_count_twice_and_those_between_clips_never(
    score: Score, frame: int, weight: float
) -> None:
    # Black until the frame, white from it on: one pair of the video differs, by 255.
    found = score(flat([255 if index >= frame else 0 for index in range(20)]), exact_eyes())
    assert found.metrics["temporal_flickering"] == pytest.approx(1 - weight, abs=1e-12)


@pytest.mark.parametrize(("compat", "expected"), [([], 1.0), (["overlapping-clip"], (1 + 0.2) / 2)])
def test_the_overlapping_clip_takes_part_between_clips_only_as_officially(
    score: Score, compat: list[str], expected: float
) -> None:
    # First frames: 0 and 8, white, and with the official defect 12, of c = .2: to the one before and the first alike.
    for name, long_range in product(CONSISTENCY, (True, False)):
        found = score(flat([255] * 12 + [51] * 8), exact_eyes(), long_range=long_range, compat=compat)
        assert found.drift[f"{name}.clip_to_clip"] == pytest.approx(expected, abs=1e-5)


def held_bytes(thing: object) -> int:
    """Bytes of all arrays and tensors that can be reached from a thing, each storage once and whole."""
    seen: set[int] = set()
    stores: dict[int, int] = {}
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | type(sys)) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            stores[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        elif isinstance(one, np.ndarray):
            base = one if one.base is None else one.base
            stores[id(base)] = getattr(base, "nbytes", one.nbytes)
        else:
            waiting += gc.get_referents(one)
    return sum(stores.values())


@pytest.mark.slow
@pytest.mark.parametrize("long_range", [True, False])
def test_a_longer_video_leaves_features_of_first_frames_behind_and_nothing_else(long_range: bool) -> None:
    suite = SuiteEntry("vbench-long", "vbench-long", {"long_range": long_range}).open()
    noise = np.random.default_rng(2).integers(0, 256, (CLIP_FRAMES, 64, 64, 3), dtype=np.uint8)

    def held(clips: int) -> dict[str, int]:
        path, model_pool = Path("v.mkv"), stand_ins()
        ctx = VideoContext(path, FPS, 64, 64, clips * CLIP_FRAMES, model_pool=model_pool)
        runs = {key: suite.metric(key).open(ctx) for key in suite.metrics}
        for view in iter_clips((noise for _ in range(clips)), FPS, CLIP_FRAMES, path):
            for run in runs.values():
                run.clip(view)
        del view
        return {key: held_bytes(vars(run)) for key, run in runs.items()}

    short, long = held(15), held(45)  # 30 s and 90 s
    feature = 4 * 49  # bytes: the stand-ins' features are 49 numbers
    grown = {key: long[key] - short[key] for key in long}
    firsts = {f"vbench/{name}": 30 * feature for name in CONSISTENCY}
    assert grown == {key: firsts.get(key, 0) for key in suite.metrics}


MEASURE = """
import resource, sys
from pathlib import Path
from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scoring.scorer import score_video
from tests.evaluators.stand_ins import stand_ins

entry = SuiteEntry("vbench-long", "vbench-long", {"long_range": True})
for path in sys.argv[1:]:
    scores = score_video(Path(path), entry, stand_ins())
    print(len(scores.clips["imaging_quality"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_scoring_240_s_takes_the_memory_of_30_s(tmp_path: Path, lossless: Callable[..., Path]) -> None:
    """In a process of its own, for a peak of its own. All its frames as float32, as official code holds them, would be
    79 MiB more for the long video (2 frames a second, 128x128)."""
    clip = np.random.default_rng(3).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    short, long = (
        lossless(tmp_path / f"{clips}.mkv", np.broadcast_to(clip, (clips, *clip.shape)).reshape(-1, *clip.shape[1:]), 2)
        for clips in (15, 120)
    )
    words = [sys.executable, "-c", MEASURE, str(short), str(long)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    (clips, before_kib), (more_clips, after_kib) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (clips, more_clips) == (15, 120)
    assert after_kib - before_kib < 16 << 10
