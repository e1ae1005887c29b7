"""The suite vbench-long against the numbers that VBench's own functions gave (tests/golden/vbench, `make parity`).

Same videos, same seeded weights, full-size networks. What differs is named where it is held.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.models.base import load
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.suites.vbench_long import DIMENSIONS, VBenchLong
from longtake.evaluators.vbench.exact import encoded_again
from longtake.evaluators.vbench.export import FUSED
from longtake.evaluators.views import ClipView
from longtake.platform.video.reading import probe, read_frames
from tests.evaluators.models.conftest import weights_for
from tests.evaluators.vbench.scores import PROTOCOLS, SCORES
from tests.parity import videos

VIDEOS = sorted(SCORES["videos"])
PER_CLIP = 1e-6
TOO_SMALL = {"short": ("dynamic_degree", "motion_smoothness")}
"""64 px a side: RAFT and AMT divide by zero there, and official scores come of what is not a number; ours say so."""
EXACT_OF = {"aesthetic_quality": ("fast",), "dynamic_degree": ("fast",)}
"""The costly ones under the exact protocol: only the pixels differ, and they have a test of their own."""


@pytest.fixture(scope="module")
def model_pool() -> ModelPool:
    lora = SCORES["provenance"]["lora"]
    return ModelPool("cpu", lambda name, device: load(name, device, weights_for(name), lora))


def sha256(frames: Any) -> str:
    return hashlib.sha256(frames.tobytes()).hexdigest()


def clips_of(path: Path, protocol: str) -> Iterator[ClipView]:
    head = probe(path)
    length = clip_frames(head.fps, head.width, head.height, path)
    for view in iter_clips(read_frames(path), head.fps, length, path):
        yield encoded_again(view) if protocol == "exact" else view


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VIDEOS)
def test_the_clips_are_the_same_pixels(name: str, protocol: str, golden_video: Callable[[str], Path]) -> None:
    seen = [sha256(view.frames) for view in clips_of(golden_video(name), protocol)]
    assert seen == SCORES[protocol][name]["frames_sha256"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VIDEOS)
def test_every_clip_of_every_dimension_scores_the_same(
    name: str, protocol: str, golden_video: Callable[[str], Path], model_pool: ModelPool
) -> None:
    wanted = [one for one in DIMENSIONS if protocol == "direct" or name in EXACT_OF.get(one, VIDEOS)]
    entry = SuiteEntry("vbench-long", "vbench-long", {"protocol": protocol, "dimensions": wanted})
    found = score_video(golden_video(name), entry, model_pool)
    for dimension in wanted:
        if dimension in TOO_SMALL.get(name, ()):
            assert found.metrics[dimension] is None
            assert "128" in found.errors[dimension]
            continue
        scale = 100 if dimension == "imaging_quality" else 1
        official = [score / scale for score in SCORES[protocol][name]["scores"][dimension]]
        assert found.clips[dimension] == pytest.approx(official, abs=PER_CLIP), dimension
        assert found.metrics[dimension] == pytest.approx(sum(official) / len(official), abs=PER_CLIP)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(SCORES["direct_between_clips"]))
@pytest.mark.parametrize("dimension", FUSED)
def test_first_frames_are_the_same_pixels_and_score_the_same(
    dimension: str,
    name: str,
    protocol: str,
    antialias: bool,
    golden_video: Callable[[str], Path],
    model_pool: ModelPool,
) -> None:
    from longtake.evaluators.metrics.vbench_consistency import FirstFrames

    class Watched(FirstFrames):
        def extract(self, frames: Any) -> Any:
            seen.append(frames.copy())
            return super().extract(frames)

    settings = VBenchLong(protocol=protocol, long_range=True, antialias=antialias, compat=["overlapping-clip"])
    seen: list[Any] = []
    row = Watched(settings.metric(f"vbench/{dimension}").extractors(), settings, model_pool)
    for view in clips_of(golden_video(name), protocol):
        row.add(view)
    score, official = row.score(), SCORES[f"{protocol}_between_clips"][name]
    assert sha256(np.concatenate(seen)) == official["frames_sha256"]
    assert score == pytest.approx(official["antialias" if antialias else "no_antialias"][dimension], abs=PER_CLIP)


def test_the_goldens_tell_clips_apart_and_know_both_kinds_of_motion() -> None:
    for name in ("real", "pocket", "portrait"):
        scores = SCORES["direct"][name]["scores"]
        for dimension in set(scores) - {"dynamic_degree"}:
            assert max(scores[dimension]) - min(scores[dimension]) > 1e-4, (name, dimension)
        between = SCORES["direct_between_clips"][name]
        for dimension, score in between["antialias"].items():
            assert abs(score - between["no_antialias"][dimension]) > 1e-5
    assert set(SCORES["direct"]["real"]["scores"]["dynamic_degree"]) == {True, False}


def test_a_video_of_other_pixels_is_no_video_of_the_goldens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"videos": {"short": {"frames_sha256": "0" * 64}}}
    (tmp_path / "scores.json").write_text(json.dumps(other), encoding="utf-8")
    monkeypatch.setattr(videos, "SCORES", tmp_path / "scores.json")
    with pytest.raises(ValueError, match=r"short\.mp4: the encoder or decoder differs"):
        videos.checked("short", tmp_path)
