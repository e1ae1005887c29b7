"""The suite vbench-long against the numbers that VBench's own functions gave (tests/golden/vbench, `make parity`).

Same videos, same seeded weights, full-size networks. What differs is named where it is held.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.equipment import Equipment
from longtake.evaluators.models.base import load, networks
from longtake.evaluators.scorer import score_video
from longtake.evaluators.suites.vbench_long import DIMENSIONS
from longtake.evaluators.vbench.exact import encoded_again
from longtake.platform import video
from longtake.platform.records import VideoScores
from tests.parity.seeded import published

GOLDEN = Path(__file__).parents[1] / "golden" / "vbench"
SHAPES = json.loads((Path(__file__).parents[1] / "parity" / "shapes.json").read_text())
SCORES = json.loads((GOLDEN / "scores.json").read_text())
VIDEOS = sorted(SCORES["videos"])
PROTOCOLS = ("direct", "exact")
PER_CLIP = 1e-6
TOO_SMALL = {"short": ("dynamic_degree", "motion_smoothness")}
"""64 px a side: RAFT and AMT divide by zero there, and official scores come of what is not a number; ours say so."""
COSTLY = ("aesthetic_quality", "dynamic_degree")
"""Under the exact protocol on two videos alone: only the pixels differ, and they have a test of their own."""


def seeded_network(name: str, device: str) -> Any:
    settings = {"r": 16, "lora_alpha": 16}
    weights = {artefact: published(artefact, SHAPES[artefact]) for artefact in networks.get(name).artefacts}
    return load(name, device, weights, settings)


EQUIPMENT = Equipment("cpu", seeded_network)


@cache
def scored(name: str, protocol: str) -> VideoScores:
    skipped = COSTLY if protocol == "exact" and name not in ("real", "fast") else ()
    dimensions = [dimension for dimension in DIMENSIONS if dimension not in skipped]
    entry = SuiteEntry("vbench-long", "vbench-long", {"protocol": protocol, "dimensions": dimensions})
    return score_video(GOLDEN / f"{name}.mp4", entry, EQUIPMENT)


def sha256(frames: Any) -> str:
    return hashlib.sha256(frames.tobytes()).hexdigest()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VIDEOS)
def test_the_clips_are_the_same_pixels(name: str, protocol: str) -> None:
    path = GOLDEN / f"{name}.mp4"
    head = video.probe(path)
    length = clip_frames(head.fps, head.width, head.height, path)
    views = iter_clips(video.read_frames(path), head.fps, length, path)
    seen = [sha256((encoded_again(view) if protocol == "exact" else view).frames) for view in views]
    assert seen == SCORES[protocol][name]["frames_sha256"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VIDEOS)
def test_every_clip_of_every_dimension_scores_the_same(name: str, protocol: str) -> None:
    found = scored(name, protocol)
    for dimension, official in SCORES[protocol][name]["scores"].items():
        if dimension not in found.metrics:
            continue
        if dimension in TOO_SMALL.get(name, ()):
            assert found.metrics[dimension] is None
            assert "128" in found.errors[dimension]
            continue
        scale = 100 if dimension == "imaging_quality" else 1
        assert found.clips[dimension] == pytest.approx([score / scale for score in official], abs=PER_CLIP), dimension
        assert found.metrics[dimension] == pytest.approx(sum(official) / len(official) / scale, abs=PER_CLIP)


def test_the_goldens_tell_clips_apart_and_know_both_kinds_of_motion() -> None:
    real = SCORES["direct"]["real"]["scores"]
    assert set(real["dynamic_degree"]) == {True, False}
    for dimension in set(real) - {"dynamic_degree"}:
        assert max(real[dimension]) - min(real[dimension]) > 1e-3
