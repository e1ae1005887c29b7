"""What VBench's own code makes of its clip scores (tests/golden/vbench): mapped, fused, averaged, and sometimes lost.

Scores go in as they were recorded, so that only the arithmetic is held here; no network runs.
"""

from __future__ import annotations

from typing import Any

import pytest

from longtake.evaluators.suites.vbench_long import DIMENSIONS, VBenchLong
from longtake.evaluators.vbench.consistency import mapped
from longtake.evaluators.vbench.export import FUSED, vbench_results
from tests.evaluators.vbench.scores import PROTOCOLS, SCORES

ARITHMETIC = 1e-12


def entry(dimension: str, clips: list[float], between: float | None) -> dict[str, Any]:
    """A video of a report that has these scores, with clips of 2 s at 2 frames a second."""
    scaled = None if between is None else mapped(between, dimension.removesuffix("_consistency"))
    drift = {f"{dimension}.clip_to_clip": between, f"{dimension}.mapped": scaled}
    return {"clips": {dimension: clips}, "drift": drift, "frames": 4 * len(clips), "fps": 2.0}


def folder_of(protocol: str, dimension: str) -> dict[str, Any]:
    scale = 100 if dimension == "imaging_quality" else 1
    between = SCORES[f"{protocol}_between_clips"]
    return {
        f"{name}.mp4": entry(
            dimension,
            [score / scale for score in one["scores"][dimension]],
            between[name]["antialias"].get(dimension) if name in between else None,
        )
        for name, one in SCORES[protocol].items()
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_folder_averages_as_documented_and_on_request_as_official_code_does(dimension: str, protocol: str) -> None:
    videos, official = folder_of(protocol, dimension), SCORES[f"{protocol}_over_videos"][dimension]
    for compat, wanted in (([], "documented"), (["mean-over-clips"], "actual")):
        overall = vbench_results(videos, VBenchLong(compat=compat), [dimension])[dimension][0]
        assert overall == pytest.approx(official[wanted], abs=ARITHMETIC)
    assert official["actual"] != pytest.approx(official["documented"], abs=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dimension", FUSED)
@pytest.mark.parametrize("long_range", [True, False])
def test_clips_are_fused_as_with_and_without_the_official_flag(dimension: str, protocol: str, long_range: bool) -> None:
    settings = VBenchLong(long_range=long_range, compat=["mean-over-clips", "missing-clip-to-clip"])
    overall, rows = vbench_results(folder_of(protocol, dimension), settings, [dimension])[dimension]
    official = SCORES[f"{protocol}_over_videos"][dimension]["dev_flag" if long_range else "default_flag"]
    assert [row["video_results"] for row in rows] == pytest.approx(official["clips"], abs=ARITHMETIC)
    assert overall == pytest.approx(official["actual"], abs=ARITHMETIC)


@pytest.mark.parametrize("dimension", FUSED)
def test_the_mapping_is_the_official_one(dimension: str) -> None:
    found = [mapped(score, dimension.removesuffix("_consistency")) for score in SCORES["mapping"]["asked"]]
    assert found == pytest.approx(SCORES["mapping"][dimension], abs=ARITHMETIC)


@pytest.mark.parametrize("case", sorted(SCORES["losses"]))
def test_a_fusion_loses_its_clip_to_clip_part_where_official_code_loses_it(case: str) -> None:
    # The official fusion was asked for one clip of .9, and given a clip-to-clip score of .75; in `missing`, another's.
    official = dict(SCORES["losses"][case])
    videos = {f"{official.pop('name')}.mp4": entry("subject_consistency", [0.9], None if case == "missing" else 0.75)}
    settings = VBenchLong(long_range=True, compat=["underscore-names", "missing-clip-to-clip"])
    row = vbench_results(videos, settings, ["subject_consistency"])["subject_consistency"][1][0]
    assert {key: row[key] for key in official} == pytest.approx(official, abs=ARITHMETIC)
