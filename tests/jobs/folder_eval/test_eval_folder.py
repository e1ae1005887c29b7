"""`longtake eval`: one process or several, killed or stopped, give the same files; each mistake is one line."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from rich.console import Console

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.results.folder import FolderReport
from longtake.evaluators.scoring.scorer import cache_digest
from longtake.jobs.cli import execute
from longtake.jobs.folder_eval.options import FolderEvalOptions
from longtake.jobs.folder_eval.progress import EvalProgress
from longtake.jobs.folder_eval.run import FolderWork, device_of, eval_folder, group_of
from longtake.platform.errors import ConfigError
from longtake.platform.video.folders import scan
from longtake.platform.video.writing import VideoWriter
from longtake.platform.workers.fleet import Item, Outcome, Running
from longtake.platform.workers.ray_fleet import WorkerDied

FLICKERING = ("--suite", "vbench-long", "--set", "dimensions=[temporal_flickering]")


def videos(folder: Path, count: int = 3, frames: int = 40, side: int = 32) -> Path:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        with VideoWriter(folder / f"v{index}.mp4", width=side, height=side) as writer:
            writer.write(np.random.default_rng(index).integers(0, 255, (frames, side, side, 3), np.uint8))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from longtake.jobs.cli import main; main()", "eval", *map(str, words)]


def test_prompts_go_into_every_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = videos(tmp_path / "videos", 2)
    (tmp_path / "p.csv").write_text("video,prompt\nv0,a <wall>\nv1.mp4,two\ngone,three\n")
    out, table, official = (tmp_path / name for name in ("s.json", "t.parquet", "v.json"))
    files = ("--out", out, "--table", table, "--vbench-out", official, "--prompts", tmp_path / "p.csv")
    assert execute(["eval", str(folder), *FLICKERING, *map(str, files)]) == 0
    printed = capfd.readouterr().out
    assert "1 names match no video: 'gone'" in printed
    report = read(out)
    assert {name: entry["prompt"] for name, entry in report["videos"].items()} == {
        "v0.mp4": "a <wall>",
        "v1.mp4": "two",
    }
    rows = pandas.read_parquet(table)
    assert list(rows["prompt"]) == ["a <wall>"] * 2 + ["two"] * 2
    assert list(rows["metric"]) == ["temporal_flickering", "scene_cuts"] * 2
    overall, clips, averages = read(official)["temporal_flickering"]
    assert overall == report["overall"]["temporal_flickering"]
    assert [row["video_path"] for row in clips] == [f"v{n}/v{n}_00{clip}.mp4" for n in (0, 1) for clip in (0, 1)]
    values = [entry["metrics"]["temporal_flickering"] for entry in report["videos"].values()]
    assert [row["video_results"] for row in averages] == values
    assert overall == pytest.approx(sum(values) / 2)


def test_a_linked_folder_is_scored_and_what_is_left_out_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = videos(tmp_path / "videos", 1), tmp_path / "s.json"
    (folder / "linked").symlink_to(videos(tmp_path / "far", 1))
    (folder / "up").symlink_to(tmp_path)
    (folder / "a.gif").write_bytes(b"GIF89a")
    assert execute(["eval", str(folder), *FLICKERING, "--out", str(out)]) == 0
    assert list(read(out)["videos"]) == ["linked/v0.mp4", "v0.mp4"]
    printed = capfd.readouterr().out
    assert (
        "note: left out 1 file (of unknown type; videos end in .mp4, .m4v, .mov, .mkv, .webm, .avi): a.gif" in printed
    )
    assert "note: left out 1 link (leads back, or to a folder that is scanned under another name): up" in printed


def test_official_results_have_no_null(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, official = tmp_path / "videos", tmp_path / "v.json"
    folder.mkdir()
    (folder / "bad.mp4").write_text("no video")
    assert execute(["eval", str(folder), *FLICKERING, "--vbench-out", str(official)]) == 3
    assert read(official) == {}
    printed = capfd.readouterr().out
    assert f"left out of {official}, because no video has a score: temporal_flickering" in printed


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(videos(tmp_path / "videos", 1))
    assert execute(["eval", "~/videos", *FLICKERING, "--out=~/s.json", "--cache", "$HOME/cache"]) == 0
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"cache", "s.json", "videos"}
    assert [path.name for path in Path().iterdir()] == ["v0.mp4"]


def test_a_turned_video_has_a_place_of_its_own_in_the_cache(tmp_path: Path) -> None:
    path = videos(tmp_path, 1) / "v0.mp4"
    assert cache_digest(path, "00") == "00"
    data = path.read_bytes()
    at = data.find(b"tkhd") + 44  # the matrix a b u c d v x y w; here both axes are turned round
    path.write_bytes(data[:at] + struct.pack(">9i", -65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30) + data[at + 36 :])
    assert len(cache_digest(path, "00")) == 64


def test_metrics_of_ones_own_choice_are_added_to_a_report_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.evaluators.scoring.metric_runner import MetricRunner

    folder, out, opened, opening = videos(tmp_path / "videos", 1), tmp_path / "s.json", [], MetricRunner.open
    monkeypatch.setattr(MetricRunner, "open", lambda self, ctx: opened.append(self.metric.name) or opening(self, ctx))
    words = ["eval", str(folder), "--suite", "metrics", "--out", str(out), "--set"]
    assert execute([*words, "metrics=[chroma_noise]"]) == 0
    first = read(out)["videos"]["v0.mp4"]
    assert execute([*words, "metrics=[temporal_flickering, chroma_noise]"]) == 0
    second = read(out)["videos"]["v0.mp4"]
    assert opened == ["chroma_noise", "temporal_flickering"]
    assert list(second["metrics"]) == ["temporal_flickering", "chroma_noise"]
    assert second["clips"]["chroma_noise"] == first["clips"]["chroma_noise"]
    assert second["drift"].items() >= first["drift"].items()
    assert execute([*words, "metrics=[temporal_flickering, chroma_noise]"]) == 0
    assert opened == ["chroma_noise", "temporal_flickering"]


def test_a_report_from_when_the_suite_was_called_weightless_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = videos(tmp_path / "videos", 1), tmp_path / "s.json"
    assert execute(["eval", str(folder), "--out", str(out)]) == 0
    new = read(out)
    versions = {key: value for key, value in new["versions"].items() if not key.startswith("metric.")}
    out.write_text(json.dumps(new | {"suite": "weightless", "versions": versions | {"suite": "weightless-1"}}))
    capfd.readouterr()
    assert execute(["eval", str(folder), "--out", str(out)]) == 0
    assert "1/1 v0.mp4: kept" in capfd.readouterr().out
    assert read(out) == new


def test_several_evaluators_give_the_same_scores(tmp_path: Path, ray_local: None) -> None:
    folder = videos(tmp_path / "videos", 3)
    (folder / "bad.mp4").write_text("no video")
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert execute(["eval", str(folder), "--out", str(one)]) == 3
    assert execute(["eval", str(folder), "--out", str(two), "--evaluators", "2"]) == 3
    assert read(two) == read(one)


def test_a_cache_serves_another_name_and_another_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, cache = videos(tmp_path / "videos", 1), tmp_path / "cache"
    words = ["eval", str(folder), *FLICKERING, "--cache", str(cache), "--out"]
    assert execute([*words, str(tmp_path / "a.json")]) == 0
    (held,) = [path for path in cache.rglob("*.json") if "flickering" in path.read_text()]
    data = read(held)
    data["result"]["value"] = 0.125  # a mark that only the cache has
    held.write_text(json.dumps(data))
    (folder / "v0.mp4").rename(folder / "other.mp4")
    assert execute([*words, str(tmp_path / "b.json")]) == 0
    assert read(tmp_path / "b.json")["videos"]["other.mp4"]["metrics"]["temporal_flickering"] == 0.125


@pytest.mark.slow
def test_killed_between_videos_nothing_is_scored_twice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, out = videos(tmp_path / "videos", 4, 200, 96), tmp_path / "s.json"
    process = subprocess.Popen(command(folder, "--out", out), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "2/4" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.communicate()
    before = read(out)["videos"]
    assert 2 <= len(before) < 4
    assert execute(["eval", str(folder), "--out", str(out)]) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line[1:3] == "/4"]
    assert sum(line.endswith("kept") for line in lines) == len(before)
    assert sum(line.endswith("scored") for line in lines) == 4 - len(before)
    after = read(out)["videos"]
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_a_signal_ends_it_with_75_and_what_is_done_is_kept(tmp_path: Path) -> None:
    folder, out = videos(tmp_path / "videos", 4, 400, 96), tmp_path / "s.json"
    process = subprocess.Popen(command(folder, "--out", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "1/4" not in process.stdout.readline():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert "videos are scored; run again to resume" in errors
    assert 1 <= len(read(out)["videos"]) < 4


def test_a_dead_worker_is_tried_three_times_and_is_a_reason_for_this_run(tmp_path: Path) -> None:
    out = io.StringIO()
    paths = scan(videos(tmp_path / "videos", 1)).videos
    report = FolderReport(paths, SuiteEntry("classical", "classical"), tmp_path / "s.json")
    work = FolderWork(report, EvalProgress(Console(file=out, width=200)))
    died = Outcome("evaluators", work.item("v0.mp4"), error=WorkerDied("evaluators-1 died"), died=True)
    again = [("evaluators", died.item)]
    assert [work.record_outcome(died) for _ in range(3)] == [again, again, []]
    assert not work.left
    entry = read(tmp_path / "s.json")["videos"]["v0.mp4"]
    assert (entry["sha256"], set(entry["errors"].values())) == (None, {"evaluators-1 died"})
    assert "1/1 v0.mp4: not scored: evaluators-1 died" in out.getvalue()


def test_progress_of_one_long_video_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    view = EvalProgress(Console(file=out, width=200))
    running = Running("evaluators", "evaluators-1", Item(None, label="long.mp4"))
    running.report = {"done": 64, "total": 480, "unit": "frame"}
    view.update([running])
    assert out.getvalue() == ""  # too soon
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.1)
    view.update([running])
    assert out.getvalue() == "  score long.mp4 frame 64/480\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--set", "protocol=exact"), "the suite classical has no settings"),
        (("--vbench-out", "v.json"), "add --suite vbench-long"),
        (("--suite", "metrics"), "--set.metrics: has no metrics; give metrics=[NAME, ...]"),
        (("--suite", "metrics", "--set", "metrics=[chroma]"), "did you mean 'chroma_noise'"),
        (("--suite", "metrics", "--set", "metrics=[vbench/imaging_quality]"), "--set metrics=[...]"),  # no weights
        (("--suite", "vbench-long", "--set", "protocol"), "not of the form key=value"),
        (("--suite", "vbench-long", "--set", "protocl=exact"), "did you mean 'protocol'"),
        (("--suite", "vbench-long", "--set", "protocol=exct"), "did you mean 'exact'"),
        (("--suite", "vbench-long", "--set", "dimensions=[subject]"), "unknown dimension 'subject'"),
        (("--suite", "vbench-long", "--set", "compat=[all"), "is not valid YAML"),
        (("--suite", "vbench-long"), "--set dimensions=[...]"),  # no weights are here
        (("--prompts", "gone.json"), "gone.json: No such file"),
    ],
)
def test_mistakes_are_one_line_and_2(
    tmp_path: Path, words: tuple[str, ...], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["eval", str(videos(tmp_path / "videos", 1)), *words]) == 2
    errors = capfd.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1


def test_an_output_that_cannot_be_written_is_5_before_anything_is_scored(tmp_path: Path) -> None:
    folder = videos(tmp_path / "videos", 1)
    for option, name in (("--out", "file"), ("--table", "file.parquet")):
        assert execute(["eval", str(folder), option, str(tmp_path / "gone" / name)]) == 5
    assert execute(["eval", str(folder), "--table", str(tmp_path / "file.csv")]) == 2
    assert list(tmp_path.iterdir()) == [folder]


def test_options_of_the_function_are_those_of_the_command(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    options = FolderEvalOptions(videos(tmp_path / "videos", 1), "vbench-long", ["dimensions=[temporal_flickering]"])
    assert eval_folder(options, console) == 0


def test_a_gpu_is_for_networks_and_one_evaluator_takes_it_without_asking_a_cluster() -> None:
    networks = SuiteEntry("vbench-long", "vbench-long", weights={"musiq-spaq": "12"})
    options = FolderEvalOptions(Path("videos"), "vbench-long", device="cpu", evaluators=4)
    assert device_of(options, networks) == "cpu"
    assert device_of(replace(options, device="cuda:7"), SuiteEntry("classical", "classical")) == "cpu"
    with pytest.raises(ConfigError, match=r"^--device: 'gpu' is not auto, cpu, cuda or cuda:N"):
        device_of(replace(options, device="gpu"), networks)
    asked = [(options, "cuda"), (replace(options, gpus_per_evaluator=0.5), "cuda"), (options, "cpu")]
    assert [group_of(*one, 9).num_gpus for one in asked] == [1.0, 0.5, 0.0]
    assert group_of(replace(options, evaluators=1), "cuda", 9).num_gpus == 0.0
    assert [group_of(options, "cpu", videos).count for videos in (9, 2)] == [4, 2]


def test_one_evaluation_at_a_time_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from longtake.platform.store.locked_folder import hold_file

    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "text.mp4").write_text("no video")
    out = tmp_path / "scores.json"
    with hold_file(tmp_path / ".scores.json.lock", out):
        assert execute(["eval", str(videos), "--out", str(out)]) == 4
    assert "scores.json: is in use by process" in capsys.readouterr().err
    assert execute(["eval", str(videos), "--out", str(out)]) == 3


def test_a_name_that_is_not_utf8_is_written_escaped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = videos(tmp_path / "videos", 2)
    os.rename(folder / "v1.mp4", os.fsencode(folder) + b"/v\xe9.mp4")  # é in Latin-1
    (Path(os.fsdecode(os.fsencode(folder) + b"/bad\xe9.mp4"))).write_bytes(b"no video")
    files = {f"--{name}": tmp_path / end for name, end in (("out", "s.json"), ("table", "t.parquet"))}
    files["--vbench-out"] = tmp_path / "v.json"
    words = ["eval", str(folder), *FLICKERING, *(str(word) for pair in files.items() for word in pair)]
    assert execute([*words, "--prompts", "names"]) == 3
    names = ["bad\\xe9.mp4", "v0.mp4", "v\\xe9.mp4"]
    report = read(files["--out"])
    assert list(report["videos"]) == names
    assert [entry["prompt"] for entry in report["videos"].values()] == ["bad\\xe9", "v0", "v\\xe9"]
    assert [entry["metrics"]["temporal_flickering"] is None for entry in report["videos"].values()] == [1, 0, 0]
    assert list(pandas.read_parquet(files["--table"])["video"].unique()) == names
    assert "v\\\\xe9" in files["--vbench-out"].read_text()
    capfd.readouterr()
    assert execute([*words, "--prompts", "names"]) == 3
    assert "v\\xe9.mp4: kept" in capfd.readouterr().out


def test_two_names_that_are_written_alike_are_refused(tmp_path: Path) -> None:
    folder = videos(tmp_path / "videos", 1)
    (folder / "v\\xe9.mp4").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(folder) + b"/v\xe9.mp4")).write_bytes(b"")
    with pytest.raises(ConfigError, match="is written like that of another video"):
        scan(folder)


@pytest.mark.parametrize("place", ["sha256", "frames", "metrics", "clips", "errors", "seconds"])
@pytest.mark.parametrize("other", [3, "x", [], [1], {"x": {}}])
def test_a_report_of_another_shape_is_refused(tmp_path: Path, place: str, other: Any) -> None:
    facts = {"sha256": "0" * 64, "frames": 16, "fps": 16.0, "width": 64, "height": 48, "prompt": None}
    entry = facts | {"metrics": {}, "drift": {}, "clips": {}, "seconds": {}, "errors": {}}
    out, suite = tmp_path / "s.json", SuiteEntry("classical", "classical")
    out.write_text(json.dumps({"suite": "classical", "versions": {}, "videos": {"v0.mp4": entry}}))
    FolderReport({}, suite, out)
    if type(other) is type(entry[place]) and not isinstance(other, dict):
        return
    out.write_text(json.dumps({"suite": "classical", "versions": {}, "videos": {"v0.mp4": entry | {place: other}}}))
    with pytest.raises(ConfigError, match="not a report of `longtake eval`"):
        FolderReport({}, suite, out)
