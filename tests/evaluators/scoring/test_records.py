"""What of a record is current when weights, settings or the protocol are others: each metric by what it depends on."""

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry, VideoContext, metrics
from longtake.evaluators.scoring.records import current_metrics, is_current
from longtake.platform.errors import ConfigError
from longtake.platform.store.records import VideoScores

PARAMS = {"dimensions": ["imaging_quality", "aesthetic_quality"]}
WEIGHTS = {"musiq-spaq": "0" * 64, "clip-vit-l-14": "1" * 64, "aesthetic-linear": "2" * 64}
ENTRY = SuiteEntry("vbench-long", "v", PARAMS, WEIGHTS)
VALUES = {"aesthetic_quality": 0.5, "imaging_quality": 0.25, "scene_cuts": 0.0}


def current(scores: VideoScores, entry: SuiteEntry = ENTRY) -> list[str]:
    context = VideoContext(Path("v.mp4"), 16.0, 32, 32, 64)
    found = [metric.name for metric in current_metrics(scores, entry, lambda: context)]
    assert is_current(scores, entry, lambda: context) == (len(found) == len(entry.metrics) == len(scores.metrics))
    return found


@pytest.fixture(params=["with versions of metrics", "from before"])
def record(request: pytest.FixtureRequest) -> VideoScores:
    versions = dict(ENTRY.stamp)
    if request.param == "from before":
        versions = {key: value for key, value in versions.items() if not key.startswith("metric.")}
        assert versions["suite"] == "vbench-long-1"
    return VideoScores("v", "direct", "3" * 64, VALUES, versions=versions)


def test_other_weights_change_the_metrics_that_run_them(record: VideoScores) -> None:
    assert current(record) == list(VALUES)
    assert current(record, replace(ENTRY, weights=WEIGHTS | {"musiq-spaq": "9" * 64})) == [
        "aesthetic_quality",
        "scene_cuts",
    ]
    assert current(record, replace(ENTRY, weights=WEIGHTS | {"clip-vit-l-14": "9" * 64})) == [
        "imaging_quality",
        "scene_cuts",
    ]
    assert current(record, replace(ENTRY, weights={})) == list(VALUES)  # a reader that knows no weights


def test_other_settings_or_another_protocol_leave_nothing(record: VideoScores) -> None:
    assert current(record, replace(ENTRY, params=PARAMS | {"antialias": False})) == []
    assert current(replace(record, protocol="exact")) == []


def test_a_newer_metric_is_not_current_and_the_others_are(record: VideoScores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.get("vbench/imaging_quality"), "version", 2)
    assert current(record, replace(ENTRY)) == ["aesthetic_quality", "scene_cuts"]


def test_a_name_that_two_metrics_share_is_two_metrics(record: VideoScores) -> None:
    """`imaging_quality` of the classical suite is computed otherwise than `vbench/imaging_quality`."""
    assert current(record, SuiteEntry("metrics", "v", {"metrics": ["imaging_quality"]})) == []
    with pytest.raises(ConfigError, match="two metrics are named 'imaging_quality'"):
        SuiteEntry("metrics", "v", {"metrics": ["imaging_quality", "vbench/imaging_quality"]}).open()
