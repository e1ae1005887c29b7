"""VBench's own form of results: what vbench2_beta_long of vbench 0.1.5 answers for the same clip scores.

`OFFICIAL` was made with its functions reorganize_clips_results and fuse_inclip_clip2clip from the clip scores of
`SCORES`, with equal weights of the two parts and the published mapping tables.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longtake.evaluators.suites.vbench_long import VBenchLong
from longtake.evaluators.vbench.export import vbench_results

OFFICIAL = json.loads((Path(__file__).parent / "official_results.json").read_text(encoding="utf-8"))
# name -> clip scores, clip-to-clip score; each clip has 2 s of 8 frames a second, short.mp4 has 10 frames
SCORES = {
    "plain.mp4": ([0.9, 0.8, 0.7], 0.65),
    "a_b.mp4": ([0.95, 0.85], 0.6),
    "a.mp4": ([0.5, 0.7], 0.4),
    "short.mp4": ([0.75], None),
}
MAPPED = {0.65: 0.958689000129844, 0.4: 0.909197403281584, 0.6: 0.9501}  # the last is not looked up by any test
ALL = VBenchLong(long_range=True, compat=["all"])


def entry(dimension: str, clips: list[float], between: float | None) -> dict[str, Any]:
    parts = {"clip_to_clip": between, "mapped": None if between is None else MAPPED[between]}
    drift = {f"{dimension}.{name}": value for name, value in parts.items()}
    frames = 16 * len(clips) if len(clips) > 1 else 10
    return {"clips": {dimension: clips}, "drift": drift, "frames": frames, "fps": 8.0}


def exported(dimension: str, settings: VBenchLong, **changed: list[float | None]) -> list[Any]:
    scores = {
        name: (changed.get(name.removesuffix(".mp4"), clips), between) for name, (clips, between) in SCORES.items()
    }
    videos = {name: entry(dimension, *values) for name, values in scores.items()}  # type: ignore[arg-type]
    return vbench_results(videos, settings, [dimension])[dimension]


def flat(value: Any) -> list[Any]:
    """Keys, texts and numbers in order."""
    if isinstance(value, dict):
        return [part for key, one in value.items() for part in (key, *flat(one))]
    return [part for one in value for part in flat(one)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("dimension", ["subject_consistency", "imaging_quality", "temporal_flickering"])
def test_with_every_compat_it_is_what_official_code_answers(dimension: str) -> None:
    found, official = flat(exported(dimension, ALL)), flat(OFFICIAL[dimension])
    assert len(found) == len(official)
    for mine, theirs in zip(found, official, strict=True):
        assert mine == (pytest.approx(theirs, abs=1e-12) if isinstance(theirs, float) else theirs)


def test_a_clip_is_dynamic_or_not() -> None:
    moving = {name.removesuffix(".mp4"): [float(s > 0.74) for s in clips] for name, (clips, _) in SCORES.items()}
    found = exported("dynamic_degree", ALL, **moving)  # type: ignore[arg-type]
    assert found == OFFICIAL["dynamic_degree"]
    assert [row["video_results"] for row in found[1]][:3] == [True, True, False]


def test_by_default_an_average_is_a_videos_and_the_folders_number_their_mean() -> None:
    overall, clips, averages = exported("imaging_quality", VBenchLong())
    assert [row["video_path"] for row in averages] == ["plain.mp4", "a_b.mp4", "a.mp4", "short.mp4"]
    assert [row["video_results"] for row in averages] == pytest.approx([80, 90, 60, 75])
    assert overall == pytest.approx((0.8 + 0.9 + 0.6 + 0.75) / 4)
    assert clips == [
        {"video_path": row["video_path"], "video_results": pytest.approx(row["video_results"])}
        for row in OFFICIAL["imaging_quality"][1]
    ]


def test_names_cut_at_an_underscore_share_an_average() -> None:
    averages = exported("temporal_flickering", VBenchLong(compat=["underscore-names"]))[2]
    assert [row["video_path"] for row in averages] == ["plain.mp4", "a.mp4", "short.mp4"]
    assert averages[1]["video_results"] == pytest.approx((0.95 + 0.85 + 0.5 + 0.7) / 4)


def test_without_the_long_range_the_clip_to_clip_score_is_written_and_has_no_weight() -> None:
    overall, rows = exported("subject_consistency", VBenchLong())
    assert rows[0] == {
        "video_path": "plain.mp4",
        "inclip_score": pytest.approx(0.8),
        "clip2clip_score": 0.65,
        "mapped_clip2clip_score": MAPPED[0.65],
        "video_results": pytest.approx(0.8),
    }
    # Official code looks up a video without a clip-to-clip score as 0, which its table maps to 0.
    assert list(rows[3].values()) == ["short.mp4", 0.75, 0, 0.0, 0.75]
    assert None not in flat(rows)
    assert overall == pytest.approx((0.8 + 0.9 + 0.6 + 0.75) / 4)


def test_what_has_no_score_is_left_out() -> None:
    overall, clips, averages = exported("imaging_quality", VBenchLong(), plain=[0.9, None, 0.7], short=[])
    assert [row["video_path"] for row in clips[:2]] == ["plain/plain_000.mp4", "plain/plain_002.mp4"]
    assert len(averages) == 3
    assert overall == pytest.approx((0.8 + 0.9 + 0.6) / 3)
    # One clip has no clip-to-clip score, so that the fused one is missing too.
    rows = exported("subject_consistency", VBenchLong(long_range=True))[1]
    assert [row["video_path"] for row in rows] == ["plain.mp4", "a_b.mp4", "a.mp4"]
    nothing = {name.removesuffix(".mp4"): [] for name in SCORES}
    videos = {name: entry("temporal_flickering", [], None) for name in nothing}
    assert vbench_results(videos, VBenchLong(), ["temporal_flickering", "imaging_quality"]) == {}


def test_folders_and_other_endings_stay_apart() -> None:
    videos = {
        name: entry("temporal_flickering", [0.5, 0.5], 0.4) for name in ("one/v.mp4", "two/v.mp4", "two/v.mov", "v.mp4")
    }
    _, clips, averages = vbench_results(videos, VBenchLong(), ["temporal_flickering"])["temporal_flickering"]
    assert clips[0]["video_path"] == "one/v/v_000.mp4"
    assert [row["video_path"] for row in averages] == ["one/v.mp4", "two/v.mp4", "two/v.mov.mp4", "v.mp4"]
