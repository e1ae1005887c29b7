"""What is known of a folder of videos: any container, resumable, one bad file costs one entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.results.folder import FolderReport, check_writable
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.views import Frames
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.video.folders import scan
from tests.evaluators.stand_ins import stand_ins

Write = Callable[..., Path]
CONTAINERS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "mov": "libx264", "avi": "mpeg4"}
CLASSICAL = SuiteEntry("classical", "classical")


def evaluate(
    folder: Path, out: Path | None = None, entry: SuiteEntry = CLASSICAL, prompts: dict[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """(the report, the names of the videos that were scored and not kept)."""
    report, scored = FolderReport(scan(folder).videos, entry, out, prompts), []
    for name, path in report.paths.items():
        if not report.keep(name):
            scored.append(name)
            report.add(name, score_video(path, entry, stand_ins()))
            report.save_when_due()
    report.save()
    return report.to_json(), scored


def test_every_container(tmp_path: Path, textured: Frames, encoded: Write) -> None:
    for fps, (suffix, codec) in zip((16, 24, 8, 30, 25), CONTAINERS.items(), strict=True):
        encoded(tmp_path / f"v.{suffix}", textured[:66, : 40 - 8 * (fps == 30)], codec, fps)
    videos = evaluate(tmp_path)[0]["videos"]
    assert set(videos) == {f"v.{suffix}" for suffix in CONTAINERS}
    for name, entry in videos.items():
        scored = {metric for metric, value in entry["metrics"].items() if value is not None}
        assert scored == set(entry["metrics"]), f"{name}: {entry['errors']}"
    assert len(videos["v.webm"]["clips"]["chroma_noise"]) == 5  # 66 frames at 8 fps: 4 clips of 16, and 2 over
    assert len(videos["v.mov"]["clips"]["chroma_noise"]) == 2  # at 30 fps: 1 clip of 60, and 6 over
    facts = {key: videos["v.mov"][key] for key in ("frames", "fps", "width", "height")}
    assert facts == {"frames": 66, "fps": 30.0, "width": 48, "height": 32}


def test_a_bad_file_leaves_the_others_alone_and_a_second_run_scores_nothing_again(
    tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    folder, out = tmp_path / "videos", tmp_path / "scores.json"
    (folder / "deep").mkdir(parents=True)
    lossless(folder / "good.mkv", textured[:40])
    alone = evaluate(folder)[0]["videos"]["good.mkv"]
    (folder / "bad.mp4").write_text("no video")
    (folder / ".hidden.mp4").write_text("not looked at")
    (folder / "notes.txt").write_text("not looked at")
    lossless(folder / "deep" / "good.mkv", textured[:36])
    report, scored = evaluate(folder, out)
    assert list(report["videos"]) == scored == ["bad.mp4", "deep/good.mkv", "good.mkv"]
    assert report["videos"]["good.mkv"] == alone
    bad = report["videos"]["bad.mp4"]
    assert set(bad["metrics"].values()) == {None}
    assert set(bad["errors"]) == set(bad["metrics"])
    assert json.loads(out.read_text()) == report

    lossless(folder / "good.mkv", textured[:44])  # other bytes: scored again, though the name is the same
    again, scored = evaluate(folder, out)
    assert scored == ["good.mkv"]
    assert again["videos"]["deep/good.mkv"] == report["videos"]["deep/good.mkv"]
    assert again["videos"]["good.mkv"] != report["videos"]["good.mkv"]
    assert list(tmp_path.glob(".*")) == []


def test_what_was_scored_is_in_the_file_at_once(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    for name in ("a.mkv", "b.mkv"):
        lossless(tmp_path / name, textured[:33])
    out = tmp_path / "scores.json"
    report = FolderReport(scan(tmp_path).videos, CLASSICAL, out)
    report.add("a.mkv", score_video(tmp_path / "a.mkv", CLASSICAL))
    report.save_when_due()
    assert list(json.loads(out.read_text())["videos"]) == ["a.mkv"]
    later = FolderReport(scan(tmp_path).videos, CLASSICAL, out)
    assert [later.keep(name) for name in later.paths] == [True, False]


def test_a_failure_that_is_not_the_videos_is_tried_again(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    lossless(tmp_path / "a.mkv", textured[:33])
    out = tmp_path / "scores.json"
    report = FolderReport(scan(tmp_path).videos, CLASSICAL, out)
    report.add_failure("a.mkv", "evaluators-1 died")
    report.save()
    assert not report.whole
    assert set(json.loads(out.read_text())["videos"]["a.mkv"]["errors"].values()) == {"evaluators-1 died"}
    assert evaluate(tmp_path, out)[1] == ["a.mkv"]


@pytest.mark.parametrize(("key", "value"), [("frames", 34), ("width", 32), ("fps", None), ("turned", "rotated")])
def test_scores_of_other_frames_than_are_read_today_are_not_kept(
    tmp_path: Path, textured: Frames, lossless: Write, key: str, value: Any
) -> None:
    lossless(tmp_path / "a.mkv", textured[:33])
    out = tmp_path / "scores.json"
    report = evaluate(tmp_path, out)[0]
    assert evaluate(tmp_path, out)[1] == []
    earlier = json.loads(out.read_text())
    earlier["videos"]["a.mkv"][key] = value
    out.write_text(json.dumps(earlier))
    assert evaluate(tmp_path, out) == (report, ["a.mkv"])


def test_what_lacks_a_number_of_the_official_format_is_scored_again_for_it(
    tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    lossless(tmp_path / "a.mkv", textured[:64])
    out = tmp_path / "scores.json"
    entry = SuiteEntry("vbench-long", "vbench-long", {"dimensions": ["subject_consistency"]})
    report = evaluate(tmp_path, out, entry)[0]
    assert FolderReport(scan(tmp_path).videos, entry, out, official=True).keep("a.mkv")
    drift = report["videos"]["a.mkv"]["drift"]
    assert 0 < drift.pop("subject_consistency.clip_to_clip") < drift.pop("subject_consistency.mapped") < 1
    out.write_text(json.dumps(report))  # as earlier releases wrote it
    assert FolderReport(scan(tmp_path).videos, entry, out).keep("a.mkv")
    assert not FolderReport(scan(tmp_path).videos, entry, out, official=True).keep("a.mkv")


def test_settings_of_the_suite_part_reports(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    folder, out = tmp_path / "videos", tmp_path / "scores.json"
    folder.mkdir()
    lossless(folder / "a.mkv", textured[:33])
    params = {"dimensions": ["temporal_flickering"], "protocol": "exact"}
    direct = SuiteEntry("vbench-long", "vbench-long", {"dimensions": ["temporal_flickering"]})
    report, scored = evaluate(folder, out, direct)
    assert (report["protocol"], report["settings"]["protocol"], scored) == ("direct", "direct", ["a.mkv"])
    assert evaluate(folder, out, direct)[1] == []
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"holds results of vbench-long .*direct.*; name another --out"):
        evaluate(folder, out, SuiteEntry("vbench-long", "vbench-long", params))
    assert out.read_bytes() == before


def test_the_report_has_the_documented_form(tmp_path: Path, lossless: Write) -> None:
    still = np.full((40, 16, 16, 3), 90, np.uint8)
    lossless(tmp_path / "still.mkv", still)
    turned = np.concatenate([still[:20], still[20:] + np.uint8(51)])  # one step of 51 levels of 255
    lossless(tmp_path / "turned.mkv", turned)
    report = evaluate(tmp_path, tmp_path / "out.json", prompts={"still.mkv": "a wall"})[0]
    assert (report["suite"], report["protocol"], report["settings"]) == ("classical", "direct", {})
    entry = report["videos"]["still.mkv"]
    assert {"metrics", "drift", "clips", "errors"} <= set(entry)
    assert (entry["prompt"], report["videos"]["turned.mkv"]["prompt"]) == ("a wall", None)
    assert entry["metrics"]["temporal_flickering"] == 1.0
    assert entry["clips"]["temporal_flickering"] == [1.0, 1.0]
    missing = [name for name, value in (entry["metrics"] | entry["drift"]).items() if value is None]
    assert set(missing) == set(entry["errors"])  # a missing number has a reason, and nothing else has
    # Both clips of 32 frames (0-31, 8-39) have the step among their 31 differences: 1 - (51 / 31) / 255 each.
    assert report["overall"]["temporal_flickering"] == pytest.approx((1 + 1 - 51 / 31 / 255) / 2)


def test_errors_name_the_file_and_the_next_step(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        scan(tmp_path / "gone")
    with pytest.raises(ConfigError, match="no video"):
        scan(tmp_path)
    lossless(tmp_path / "v.mkv", textured[:33])
    with pytest.raises(StorageError, match=r"out\.json: no such folder"):
        check_writable(tmp_path / "gone" / "out.json")
    with pytest.raises(StorageError, match="is a folder"):
        check_writable(tmp_path)
    for text in ("[1, 2]", '{"suite": "classical"}', "no JSON"):
        (tmp_path / "out.json").write_text(text)
        with pytest.raises(ConfigError, match="not a report"):
            evaluate(tmp_path, tmp_path / "out.json")
