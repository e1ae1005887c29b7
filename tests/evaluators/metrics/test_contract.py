"""What holds for every registered metric."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import SuiteEntry, Unscorable, VideoContext, VideoValue, directions, metrics, suites
from longtake.evaluators.clips import iter_clips
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.views import Frames
from tests.evaluators.stand_ins import stand_ins

RunMetric = Callable[..., VideoValue]
EVERY = metrics.names()
ON_ANY_VIDEO = [name for name in EVERY if not metrics.get(name).needs_take]


def entry_of(suite: str) -> SuiteEntry:
    return SuiteEntry(suite, suite, {"metrics": ["chroma_noise"]} if suite == "metrics" else {})


@pytest.mark.parametrize("name", EVERY)
def test_it_declares_what_its_number_means(name: str) -> None:
    metric = metrics.get(name)
    assert name in (metric.name, f"vbench/{metric.name}")
    assert metric.unit
    assert metric.direction in ("higher", "lower")
    assert metric.deviations
    if metric.floor_of is not None:
        assert metrics.get(metric.floor_of).unit == metric.unit
        assert not metric.ranked, "a floor is shown beside its metric, it is no rival of it"


@pytest.mark.parametrize("name", ON_ANY_VIDEO)
def test_identical_frames_give_the_ideal(name: str, textured: Frames, run_metric: RunMetric) -> None:
    still = np.repeat(textured[:1], 72, axis=0)  # two clips and a remainder of 8
    ideal = metrics.get(name).still_value
    found = run_metric(name, still)
    if ideal is not None:
        assert found.value == pytest.approx(ideal, abs=1e-6)
    assert found.clips == pytest.approx([found.clips[0]] * 3, abs=1e-6)


@pytest.mark.parametrize("name", ON_ANY_VIDEO)
def test_flat_grey_black_and_white_are_numbers(name: str, run_metric: RunMetric) -> None:
    for level in (0, 128, 255):
        found = run_metric(name, np.full((64, 24, 24, 3), level, dtype=np.uint8))
        assert found.value is not None
        assert math.isfinite(found.value)


@pytest.mark.parametrize("name", EVERY)
def test_the_read_batch_changes_nothing(name: str, textured: Frames, run_metric: RunMetric) -> None:
    assert outcome(run_metric, name, textured, 1) == outcome(run_metric, name, textured, 84)
    assert outcome(run_metric, name, textured, 7) == outcome(run_metric, name, textured, 84)


def outcome(run_metric: RunMetric, name: str, frames: Frames, batch: int) -> object:
    """The value, or the reason there is none: both must not depend on the batch."""
    try:
        return run_metric(name, frames, batch=batch)
    except Unscorable as reason:
        return str(reason)


@pytest.mark.parametrize("name", ["temporal_flickering", "imaging_quality", "chroma_noise"])
def test_direction_of_time_does_not_matter_where_the_formula_has_none(
    name: str, textured: Frames, run_metric: RunMetric
) -> None:
    forth, back = run_metric(name, textured[:64]), run_metric(name, textured[:64][::-1])
    assert back.clips == pytest.approx(forth.clips[::-1], abs=1e-12)
    assert back.value == pytest.approx(forth.value, abs=1e-12)


@pytest.mark.parametrize("name", ["subject_consistency", "background_consistency", "palette_consistency"])
def test_what_compares_with_the_first_frame_sees_a_reversed_second_clip(
    name: str, textured: Frames, run_metric: RunMetric
) -> None:
    # Three 2 s clips of a pan that comes back: the third clip looks like the first played backwards.
    there_and_back = np.concatenate([textured[:48], textured[:48][::-1]])
    away = textured[np.minimum(np.arange(96), 83)]
    assert run_metric(name, there_and_back).value > run_metric(name, away).value


@pytest.mark.parametrize("name", EVERY)
def test_one_frame_is_a_reason_or_a_number_and_never_nan(
    name: str, textured: Frames, tmp_path: Path, lossless: Callable[..., Path]
) -> None:
    path = lossless(tmp_path / "one_frame.mkv", textured[:1])
    short = metrics.get(name).name
    for suite in suites.names():
        if name in entry_of(suite).metrics:
            scores = score_video(path, entry_of(suite), stand_ins())
            value = scores.metrics[short]
            assert (value is None) == (short in scores.errors)
            assert value is None or math.isfinite(value)


@pytest.mark.parametrize("suite", suites.names())
def test_a_suite_names_known_metrics_and_its_protocol(suite: str) -> None:
    entry = entry_of(suite)
    found = entry.open()
    assert found.name == suite
    assert found.about
    assert found.protocol
    assert set(found.metrics) <= set(EVERY)
    assert set(directions(entry)) <= {found.metric(key).name for key in found.metrics}


@pytest.mark.parametrize("name", ON_ANY_VIDEO)
def test_a_run_keeps_features_and_not_frames(name: str, run_metric: RunMetric) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    run_metric(name, np.concatenate([noise, noise]), fps=2.0)  # caches of libraries are paid here

    def held_bytes(clips: int) -> int:
        path = Path("v.mp4")
        run = metrics.get(name)().open(VideoContext(path, 2.0, 64, 64, 4 * clips, model_pool=stand_ins()))
        tracemalloc.start()
        for view in iter_clips((noise for _ in range(clips)), 2.0, 4, path):
            run.clip(view)
        del view
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    one_frame_features = 16 << 10
    assert held_bytes(22) - held_bytes(2) < 20 * one_frame_features
