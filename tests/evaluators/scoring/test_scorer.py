"""One decode, every failure where it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.evaluators.base import Metric, MetricRun, SuiteEntry, VideoContext, VideoValue
from longtake.evaluators.drift import Timeline, drift_of
from longtake.evaluators.scoring.metric_runner import MetricRunner
from longtake.evaluators.scoring.scorer import context_of, score_video, score_video_suites
from longtake.evaluators.views import ClipView, Frames
from longtake.platform.errors import ConfigError, SetupError, StorageError
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import COLUMN_PX, crop, panorama
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter

CLASSICAL, POCKET = SuiteEntry("classical", "classical"), SuiteEntry("pocket", "pocket")
Write = Callable[..., Path]


def test_a_file_scores_as_its_frames_do(
    tmp_path: Path, textured: Frames, lossless: Write, run_metric: Callable[..., VideoValue]
) -> None:
    path = lossless(tmp_path / "underscores_in the name.mkv", textured)
    scores = score_video(path, CLASSICAL)
    assert scores.suite == "classical"
    assert scores.protocol == "direct"
    assert not [name for name, value in scores.metrics.items() if value is None]
    for name, value in scores.metrics.items():
        assert value == run_metric(name, textured).value
    assert scores.seconds["chroma_noise"] == [0.0, 2.0, 3.25]  # 84 frames: clips at 0, 32 and 84 - 32 = 52
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False)) == scores.to_json()


def test_suites_share_one_decode_and_agree_with_one_at_a_time(
    tmp_path: Path, textured: Frames, lossless: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.platform.video import reading as video
    from longtake.platform.video.reading import read_frames

    path, decodes, read = lossless(tmp_path / "v.mkv", textured), [], read_frames
    alone = score_video(path, CLASSICAL)

    def counted(path: Path, batch: int, threads: int) -> Iterator[Frames]:
        decodes.append(path)
        yield from read(path, batch, threads)

    monkeypatch.setattr(video, "read_frames", counted)
    both = score_video_suites(path, [CLASSICAL, SuiteEntry("classical", "again")])
    assert decodes == [path]
    assert both == {"classical": alone, "again": replace(alone, suite="again")}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.mp4", b"", "empty"), ("text.mp4", b"not a video at all\n" * 50, "cannot be read"), ("cut.mkv", None, "")],
)
def test_a_broken_video_is_a_reason_per_metric(
    name: str, content: bytes | None, reason: str, tmp_path: Path, textured: Frames, lossless: Write
) -> None:
    path = tmp_path / name
    if content is None:
        whole = lossless(tmp_path / "whole.mkv", textured).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    scores = score_video(path, CLASSICAL)
    if name != "cut.mkv":  # half a Matroska file may be a shorter, readable one
        assert set(scores.metrics.values()) == {None}
        assert all(reason in scores.errors[metric] for metric in scores.metrics)


def test_a_missing_file_and_an_unknown_suite_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.mp4"):
        score_video(tmp_path / "gone.mp4", CLASSICAL)
    with pytest.raises(ConfigError, match="did you mean 'classical'"):
        SuiteEntry("classica", "classica").open()


class _Fragile(Metric):
    """Answers with what it was given, clip by clip."""

    name, unit, direction, deviations = "fragile", "1", "higher", "made for a test"

    def __init__(self, answers: list[float | Exception]) -> None:
        self.answers = answers

    def open(self, ctx: VideoContext) -> MetricRun:
        answers = iter(self.answers)

        class Run(MetricRun):
            def clip(self, view: ClipView) -> float:
                answer = next(answers)
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Run()


def scored(answers: list[float | Exception]) -> tuple[float | None, list[float | None], dict[str, str]]:
    runner = MetricRunner(_Fragile(answers))
    runner.open(VideoContext(Path("v.mp4"), 1.0, 2, 2, 2 * len(answers)))
    for i in range(len(answers)):
        runner.clip(ClipView(np.zeros((2, 2, 2, 3), np.uint8), 2 * i, 1.0))
    result = runner.result(Timeline(tuple(range(0, 2 * len(answers), 2)), 2, 2 * len(answers), 1.0))
    return result.value, result.clips, result.errors


def test_nan_and_failures_are_left_out_and_counted() -> None:
    value, clips, errors = scored([1.0, float("nan"), 3.0, ZeroDivisionError("oops"), 5.0])
    assert value == 3.0  # (1 + 3 + 5) / 3
    assert clips == [1.0, None, 3.0, None, 5.0]
    assert errors["fragile"].startswith("2 of 5 clips have no score and are left out; clip 1 (frame 2): not a number")
    assert "fragile.slope_per_min" in errors  # three scored clips are too few for a drift


def test_no_score_at_all_is_none() -> None:
    value, clips, errors = scored([float("inf"), RuntimeError("broken")])
    assert value is None
    assert clips == [None, None]
    assert "2 of 2" in errors["fragile"]


def test_a_secret_in_an_error_is_masked_before_the_error_is_cut() -> None:
    """The first 300 characters of the longer one end inside the password."""
    for password in ("hunter2", "hunter2" * 40):
        *_, errors = scored([ConnectionError(f"no answer of https://me:{password}@host/model?api_key=swordfish")])
        assert "hunter2" not in errors["fragile"]
        assert "ConnectionError: no answer of https://***@host/model?api_key=***" in errors["fragile"]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), SetupError("no timm")])
def test_what_the_machine_is_to_blame_for_is_no_reason_but_an_error(error: Exception) -> None:
    with pytest.raises(type(error)):
        scored([1.0, error])


def test_needs_take_says_so_on_a_plain_file(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    scores = score_video(lossless(tmp_path / "plain.mkv", textured[:33]), POCKET)
    assert set(scores.metrics.values()) == {None}
    assert all("needs the take" in scores.errors[name] for name in scores.metrics)


def test_a_pocket_take_is_scored_under_both_suites_from_its_video_file(tmp_path: Path) -> None:
    """A video of the true street, 16 s: the camera comes back after 6 s, and what it sees is what it saw."""
    prompt, latents = "dusk, brick; pan right 6 s, left 6 s, repeat", 64
    street, camera = panorama("dusk", "brick", 3), parse(prompt).camera(latents)
    latents_FDHW = PocketCodec().encode(np.stack([crop(street, COLUMN_PX * int(c)) for c in camera]))
    with VideoWriter(tmp_path / "video.mp4", 16, 128, 128) as writer:
        writer.write(StreamingDecoder(PocketCodec(), camera).push(latents_FDHW))
    take = Take("pocket", MethodSpec("native", "native", {}), 16, latents, prompt, 3)
    found = score_video_suites(tmp_path / "video.mp4", [CLASSICAL, POCKET], take)
    assert None not in found["classical"].metrics.values()
    pocket = found["pocket"]
    assert pocket.metrics["revisit_psnr"] > pocket.metrics["revisit_psnr_floor"] + 10
    assert pocket.metrics["revisit_hit"] > 0.9
    assert "revisit_psnr_true" not in pocket.metrics, "no start was given, so the truth does not apply"
    given = score_video_suites(tmp_path / "video.mp4", [POCKET], replace(take, prefix_frames=24))["pocket"]
    assert given.metrics["revisit_hit_true"] == 1.0


def test_the_context_of_a_take_knows_its_prompt(tmp_path: Path, textured: Frames, lossless: Write) -> None:
    path = lossless(tmp_path / "v.mkv", textured[:33])
    take = Take("pocket", MethodSpec("native", "native", {}), 2, 9, "dusk, brick", 3, prefix_frames=3)
    ctx = context_of(path, take)
    assert (ctx.num_frames, ctx.width, ctx.height, ctx.fps) == (33, 48, 40, 16.0)
    assert (ctx.prompt, ctx.seed, ctx.prefix_frames, ctx.latent_frames) == ("dusk, brick", 3, 3, 9)


def test_drift_by_hand() -> None:
    # 8 clips of 2 s at 1 fps, 16 s: centres 1, 3, .., 15. Quarters are [0, 4] and [12, 16]: clips 0, 1 and 6, 7.
    timeline = Timeline(tuple(range(0, 16, 2)), 2, 16, 1.0)
    clips = [2.0 + 0.5 * t for t in timeline.centre_seconds]  # slope .5 a second = 30 a minute
    numbers, reasons = drift_of(list(clips), timeline, True)
    assert reasons == {}
    assert numbers["slope_per_min"] == pytest.approx(30.0)
    assert numbers["quarter_diff"] == pytest.approx(6.0)  # means at t = 2 and t = 14: 3 and 9
    assert numbers["quarter_ratio"] == pytest.approx(3.0)


def test_drift_leaves_out_what_is_missing_and_says_when_too_little_is_left() -> None:
    timeline = Timeline(tuple(range(0, 16, 2)), 2, 16, 1.0)
    numbers, _ = drift_of([None, 1.0, 1.0, 1.0, None, 1.0, 4.0, None], timeline, False)
    assert numbers["quarter_diff"] == pytest.approx(3.0)
    numbers, reasons = drift_of([None, None, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], timeline, False)
    assert numbers == {"slope_per_min": None, "quarter_diff": None}
    assert set(reasons) == set(numbers)
    numbers, reasons = drift_of([0.0] * 8, timeline, True)
    assert numbers["quarter_ratio"] is None
    assert reasons == {"quarter_ratio": "the first quarter is 0"}
