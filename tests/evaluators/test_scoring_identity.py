"""What a score depends on, and what a failure costs: keys of the cache, frames that clips share, cuts, GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators import scorer
from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.equipment import Equipment
from longtake.evaluators.scorer import score_video, score_video_suites
from longtake.evaluators.views import Frames
from longtake.platform.score_cache import ScoreCache
from tests.evaluators import stand_ins

Write = Callable[..., Path]
FLICKERING = {"dimensions": ["temporal_flickering"]}


def keys(cache: ScoreCache) -> int:
    return len(list(cache.folder.rglob("*.json")))


def scored(path: Path, cache: ScoreCache, **params: object) -> None:
    score_video_suites(path, [SuiteEntry("vbench-long", "v", params)], None, stand_ins.stand_ins(), cache)


def test_a_setting_computes_again_only_what_it_changes(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    path, cache = lossless(tmp_path / "v.mkv", textured), ScoreCache(tmp_path / "cache")
    scored(path, cache)
    assert keys(cache) == 8
    for params in ({"compat": ["mean-over-clips"]}, {"antialias": False}, {"compat": ["clip-order"]}):
        scored(path, cache, **params)
        assert keys(cache) == 8
    scored(path, cache, compat=["two-frames-dynamic"])
    assert keys(cache) == 9  # dynamic_degree
    scored(path, cache, long_range=True)
    assert keys(cache) == 11  # both consistencies
    scored(path, cache, protocol="exact")
    assert keys(cache) == 18  # all but the cuts, which see the decoded frames


@pytest.mark.parametrize("library", ["av", "opencv"])
def test_another_decoder_or_device_is_another_score(
    library: str, tmp_path: Path, textured: Frames, lossless: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = lossless(tmp_path / "v.mkv", textured), ScoreCache(tmp_path / "cache")
    scored(path, cache, **FLICKERING)
    assert keys(cache) == 2
    monkeypatch.setattr({"av": scorer.av, "opencv": scorer.cv2}[library], "__version__", "0.0.1")
    scored(path, cache, **FLICKERING)
    assert keys(cache) == 4


def test_libraries_of_networks_and_the_device_are_told_with_every_score(
    tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    entry = SuiteEntry("vbench-long", "v", {"dimensions": ["imaging_quality", "background_consistency"]})
    versions = score_video(lossless(tmp_path / "v.mkv", textured), entry, stand_ins.stand_ins()).versions
    assert {"torch", "pyiqa", "open_clip", "timm", "torchvision"} <= set(versions)
    assert versions["device"] == "cpu"


def test_a_clip_that_failed_costs_its_neighbour_nothing(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    equipment, calls = stand_ins.stand_ins(), []

    def fails_once(frames):  # type: ignore[no-untyped-def]
        calls.append(len(frames))
        if len(calls) == 5:  # 84 frames: clips of 32, 32 and the last 32, of which 12 are shared; batches of 8
            raise ValueError("for once")
        return stand_ins.features(frames)

    equipment.loaded["dino"] = fails_once
    entry = SuiteEntry("vbench-long", "v", {"dimensions": ["subject_consistency"]})
    path = lossless(tmp_path / "v.mkv", textured)
    found = score_video(path, entry, equipment).clips["subject_consistency"]
    whole = score_video(path, entry, stand_ins.stand_ins()).clips["subject_consistency"]
    assert found == [whole[0], None, pytest.approx(whole[2], abs=1e-12)]


def test_cuts_are_those_of_the_source_under_every_protocol(tmp_path: Path, lossless: Write) -> None:
    """A fade from black to white: the overlapping last clip begins darker than its neighbour ended, which is no cut."""
    levels = np.linspace(0, 255, 65).round().astype(np.uint8)
    fade = np.broadcast_to(levels[:, None, None, None], (65, 32, 32, 3))
    path = lossless(tmp_path / "fade.mkv", np.ascontiguousarray(fade))
    for protocol in ("direct", "exact"):
        assert score_video(path, SuiteEntry("vbench-long", "v", {**FLICKERING, "protocol": protocol})).metrics[
            "scene_cuts"
        ] == pytest.approx(0.0)


def test_pairs_on_a_gpu_are_as_many_as_their_correlations_leave_room_for() -> None:
    gpu = Equipment("cuda")
    assert [gpu.pairs(480, 832), gpu.pairs(720, 1280), gpu.pairs(1080, 1920), gpu.pairs(2160, 3840)] == [8, 2, 1, 1]
    assert Equipment("cpu").pairs(64, 64) == 1
