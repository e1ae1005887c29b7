"""What a score depends on, and what a failure costs: keys of the cache, frames that clips share, cuts, GPUs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.evaluators.base import SuiteEntry, metrics
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.scoring import scorer, versions
from longtake.evaluators.scoring.scorer import score_video, score_video_suites
from longtake.evaluators.views import Frames
from longtake.platform.store.score_cache import ScoreCache
from tests.evaluators import stand_ins

Write = Callable[..., Path]
FLICKERING = {"dimensions": ["temporal_flickering"]}


def keys(cache: ScoreCache) -> int:
    return len(list(cache.folder.rglob("*.json")))


def scored(path: Path, cache: ScoreCache, **params: object) -> None:
    score_video_suites(path, [SuiteEntry("vbench-long", "v", params)], None, stand_ins.stand_ins(), cache)


@pytest.mark.slow
def test_a_setting_computes_again_only_what_it_changes(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    path, cache = lossless(tmp_path / "v.mkv", textured), ScoreCache(tmp_path / "cache")
    scored(path, cache)
    assert keys(cache) == 8
    for params in ({"compat": ["mean-over-clips"]}, {"antialias": False}):
        scored(path, cache, **params)
        assert keys(cache) == 8
    scored(path, cache, compat=["clip-order"])
    assert keys(cache) == 10  # both consistencies, which also compare a clip with the next
    scored(path, cache, compat=["two-frames-dynamic"])
    assert keys(cache) == 11  # dynamic_degree
    scored(path, cache, long_range=True)
    assert keys(cache) == 13  # both consistencies
    scored(path, cache, protocol="exact")
    assert keys(cache) == 20  # all but the cuts, which see the decoded frames


@pytest.mark.parametrize("library", ["av", "opencv"])
def test_another_decoder_or_device_is_another_score(
    library: str, tmp_path: Path, textured: Frames, lossless: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = lossless(tmp_path / "v.mkv", textured), ScoreCache(tmp_path / "cache")
    scored(path, cache, **FLICKERING)
    assert keys(cache) == 2
    monkeypatch.setattr({"av": versions.av, "opencv": versions.cv2}[library], "__version__", "0.0.1")
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
    model_pool, calls = stand_ins.stand_ins(), []

    def fails_once(frames):  # type: ignore[no-untyped-def]
        calls.append(len(frames))
        if len(calls) == 5:  # 84 frames: clips of 32, 32 and the last 32, of which 12 are shared; batches of 8
            raise ValueError("for once")
        return stand_ins.features(frames)

    model_pool.loaded["dino"] = fails_once
    entry = SuiteEntry("vbench-long", "v", {"dimensions": ["subject_consistency"]})
    path = lossless(tmp_path / "v.mkv", textured)
    found = score_video(path, entry, model_pool).clips["subject_consistency"]
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


def smoothness_keys() -> list[str]:
    entry = SuiteEntry("vbench-long", "v", {"dimensions": ["motion_smoothness"]}, {"amt-s": "0" * 64})
    smoothness, *_ = scorer.find_tasks(entry, "", None, None, "cpu", {})
    return list(smoothness.keys)


def test_the_cache_key_of_a_score_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are written out, so that scores from before a release are found after it."""
    packages = {name: version(name) for name in ("av", "numpy", "torch", "vbench")}
    libraries = {**packages, "PIL": version("pillow"), "opencv": versions.cv2.__version__, "device": "cpu"}
    made = ["direct", {"compat": []}, {"amt-s": "0" * 64}, libraries]
    name = "vbench/motion_smoothness"
    first = [[name, 1, *made], [name, "vbench-long-1", *made]]  # the second is from when suites had versions
    assert smoothness_keys() == [json.dumps(key, sort_keys=True) for key in first]
    monkeypatch.setattr(metrics.get(name), "version", 2)
    assert smoothness_keys() == [json.dumps([name, 2, *made], sort_keys=True)]


def test_what_the_cache_has_under_an_earlier_key_is_not_computed(
    tmp_path: Path, textured: Frames, lossless: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.evaluators.scoring.metric_runner import MetricRunner

    path, entry = lossless(tmp_path / "v.mkv", textured), SuiteEntry("classical", "classical")
    now, before = ScoreCache(tmp_path / "now"), ScoreCache(tmp_path / "before")
    scores = score_video_suites(path, [entry], cache=now)
    for file in now.folder.rglob("*.json"):
        held = json.loads(file.read_text())
        name, _, *made = json.loads(held["key"])
        before.put(scores["classical"].video_sha256, json.dumps([name, "weightless-1", *made]), held["result"])
    opened: list[str] = []
    monkeypatch.setattr(MetricRunner, "open", lambda self, ctx: opened.append(self.metric.name))
    assert score_video_suites(path, [entry], cache=before) == scores
    assert opened == []


def test_a_score_of_a_gpu_says_that_float32_was_not_rounded() -> None:
    entry = SuiteEntry("vbench-long", "v", {"dimensions": ["motion_smoothness"]})
    there, here = (versions.versions_of(entry, device) for device in ("cuda:1", "cpu"))
    assert there == {**here, "device": "cuda", "tf32": "off"}
    assert "tf32" not in here


FLAGS = (
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
)


@pytest.fixture
def fast_and_loose() -> Iterator[None]:
    """Turn all flags on, and restore them afterwards."""
    before = [getattr(owner, flag) for owner, flag in FLAGS]
    for owner, flag in FLAGS:
        setattr(owner, flag, True)
    yield
    for (owner, flag), value in zip(FLAGS, before, strict=True):
        setattr(owner, flag, value)


@pytest.mark.usefixtures("fast_and_loose")
def test_tf32_is_off_once_a_video_is_scored_on_a_gpu_and_untouched_by_a_cpu(
    tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    path, entry = lossless(tmp_path / "v.mkv", textured), SuiteEntry("vbench-long", "v", FLICKERING)
    score_video(path, entry, ModelPool("cpu"))
    assert [getattr(owner, flag) for owner, flag in FLAGS] == [True] * 3
    score_video(path, entry, ModelPool("cuda"))  # flickering uses no network, so no GPU is needed
    assert [getattr(owner, flag) for owner, flag in FLAGS] == [False] * 3
