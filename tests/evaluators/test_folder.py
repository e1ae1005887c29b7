"""`longtake eval FOLDER`: any container, resumable, one bad file costs one entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.folder import FolderProgress, eval_folder
from longtake.evaluators.views import Frames
from longtake.platform.errors import ConfigError, StorageError

Write = Callable[..., Path]
CONTAINERS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "mov": "libx264", "avi": "mpeg4"}


def test_every_container(tmp_path: Path, textured: Frames, encoded: Write) -> None:
    for fps, (suffix, codec) in zip((16, 24, 8, 30, 25), CONTAINERS.items(), strict=True):
        encoded(tmp_path / f"v.{suffix}", textured[:66, : 40 - 8 * (fps == 30)], codec, fps)
    report = eval_folder(tmp_path, "weightless", None)
    assert set(report["videos"]) == {f"v.{suffix}" for suffix in CONTAINERS}
    for name, entry in report["videos"].items():
        scored = {metric for metric, value in entry["metrics"].items() if value is not None}
        assert scored == set(entry["metrics"]), f"{name}: {entry['errors']}"
    assert (
        len(report["videos"]["v.webm"]["clips"]["chroma_noise"]) == 5
    )  # 66 frames at 8 fps: 4 clips of 16, and 2 over
    assert len(report["videos"]["v.mov"]["clips"]["chroma_noise"]) == 2  # at 30 fps: 1 clip of 60, and 6 over


def test_a_bad_file_leaves_the_others_alone_and_a_second_run_scores_nothing_again(
    tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    folder, out = tmp_path / "videos", tmp_path / "scores.json"
    (folder / "deep").mkdir(parents=True)
    lossless(folder / "good.mkv", textured[:40])
    alone = eval_folder(folder, "weightless", None)["videos"]["good.mkv"]
    (folder / "bad.mp4").write_text("no video")
    (folder / ".hidden.mp4").write_text("not looked at")
    (folder / "notes.txt").write_text("not looked at")
    lossless(folder / "deep" / "good.mkv", textured[:36])
    steps: list[FolderProgress] = []
    report = eval_folder(folder, "weightless", out, steps.append)
    assert list(report["videos"]) == ["bad.mp4", "deep/good.mkv", "good.mkv"]
    assert report["videos"]["good.mkv"] == alone
    bad = report["videos"]["bad.mp4"]
    assert set(bad["metrics"].values()) == {None}
    assert set(bad["errors"]) == set(bad["metrics"])
    assert json.loads(out.read_text()) == report
    assert [(s.done, s.total, s.reused) for s in steps] == [(1, 3, False), (2, 3, False), (3, 3, False)]

    lossless(folder / "good.mkv", textured[:44])  # other bytes: scored again, though the name is the same
    steps.clear()
    again = eval_folder(folder, "weightless", out, steps.append)
    assert [s.reused for s in steps] == [True, True, False]
    assert again["videos"]["deep/good.mkv"] == report["videos"]["deep/good.mkv"]
    assert again["videos"]["good.mkv"] != report["videos"]["good.mkv"]
    assert list(tmp_path.glob(".*tmp")) == []


def test_the_report_has_the_documented_form(tmp_path: Path, lossless: Write) -> None:
    lossless(tmp_path / "still.mkv", np.full((40, 16, 16, 3), 90, np.uint8))
    report = eval_folder(tmp_path, "weightless", tmp_path / "out.json")
    assert (report["suite"], report["protocol"]) == ("weightless", "direct")
    entry = report["videos"]["still.mkv"]
    assert {"metrics", "drift", "clips", "errors"} <= set(entry)
    assert entry["metrics"]["temporal_flickering"] == 1.0
    assert entry["clips"]["temporal_flickering"] == [1.0, 1.0]
    missing = [name for name, value in (entry["metrics"] | entry["drift"]).items() if value is None]
    assert set(missing) == set(entry["errors"])  # a missing number has a reason, and nothing else has


def test_errors_name_the_folder_and_the_next_step(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        eval_folder(tmp_path / "gone", "weightless", None)
    with pytest.raises(ConfigError, match="no video"):
        eval_folder(tmp_path, "weightless", None)
    lossless(tmp_path / "v.mkv", textured[:33])
    with pytest.raises(StorageError, match="writable --out"):
        eval_folder(tmp_path, "weightless", tmp_path / "gone" / "out.json")
    (tmp_path / "out.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="not a report"):
        eval_folder(tmp_path, "weightless", tmp_path / "out.json")
