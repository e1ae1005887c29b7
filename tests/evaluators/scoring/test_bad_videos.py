"""Forty bad files, and mutated ones: a reason for every score that is missing, and nobody else's score changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scoring.scorer import score_video_suites
from longtake.platform.store.records import VideoScores
from tests.bench import mutated_videos
from tests.evaluators import bad_videos
from tests.evaluators.stand_ins import stand_ins

EXACT = "exact"
SUITES = [
    SuiteEntry("classical", "classical"),
    SuiteEntry("vbench-long", "vbench-long", {"long_range": True, "compat": ["missing-clip-to-clip"]}),
    SuiteEntry("vbench-long", EXACT, {"protocol": "exact"}),
]


@pytest.mark.slow
def test_every_bad_file_has_a_reason_and_costs_no_other_its_score(tmp_path: Path) -> None:
    model_pool = stand_ins()

    def scored(path: Path) -> dict[str, VideoScores]:
        return score_video_suites(path, SUITES, model_pool=model_pool)

    good = tmp_path / "good.mp4"
    good.write_bytes(bad_videos.video(tmp_path / "made.mp4"))
    alone = scored(good)
    assert not [name for one in alone.values() for name, value in one.metrics.items() if value is None]
    files = bad_videos.unreadable(tmp_path / "scratch")
    assert len(files) >= 40
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        for label, scores in scored(path).items():
            assert set(scores.metrics.values()) == {None}, f"{name}, {label}: {scores.metrics}"
            assert set(scores.metrics) == set(scores.errors)
            assert all(name in reason and "\n" not in reason for reason in scores.errors.values())
    assert scored(good) == alone


def test_what_can_be_scored_of_a_poor_video_is(tmp_path: Path) -> None:
    found = {}
    for name, data in bad_videos.poor(tmp_path / "scratch").items():
        path = tmp_path / name
        path.write_bytes(data)
        found[name] = score_video_suites(path, SUITES, model_pool=stand_ins())
        for scores in found[name].values():
            assert all(scores.errors[metric] for metric, value in scores.metrics.items() if value is None)
    one = found["one-frame.mp4"]["vbench-long"]
    lacking = {name for name, value in one.metrics.items() if value is None}
    needs_two = {"subject_consistency", "background_consistency", "temporal_flickering"}
    assert lacking == needs_two | {"motion_smoothness", "dynamic_degree"}
    odd = found["odd-sizes.mkv"]
    assert not [name for name, value in odd["vbench-long"].metrics.items() if value is None]
    assert "needs even sides" in odd[EXACT].errors["imaging_quality"]
    assert odd[EXACT].metrics["imaging_quality"] is None


@pytest.mark.slow
def test_mutated_videos(tmp_path: Path) -> None:
    found = mutated_videos.run(60, tmp_path)
    assert found["refused"] + found["same"] + found["silent"] == 60
    assert found["unexplained"] == 0
    assert found["silent"] < found["decodes"] / 2
