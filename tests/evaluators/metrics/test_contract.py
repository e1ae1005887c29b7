"""What holds for every registered metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import SuiteEntry, VideoValue, directions, metrics, suites
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.views import Frames
from longtake.jobs.certify.metrics import METRIC_CHECKS, MetricSubject
from tests.evaluators.stand_ins import stand_ins

RunMetric = Callable[..., VideoValue]
EVERY = metrics.names()
ON_ANY_VIDEO = [name for name in EVERY if not metrics.get(name).needs_take]


def entry_of(suite: str) -> SuiteEntry:
    return SuiteEntry(suite, suite, {"metrics": ["chroma_noise"]} if suite == "metrics" else {})


@cache
def subject(name: str) -> MetricSubject:
    return MetricSubject(name, stand_ins())


@pytest.mark.parametrize("check", METRIC_CHECKS)
@pytest.mark.parametrize("name", EVERY)
def test_every_metric_passes_what_certify_checks(name: str, check: str) -> None:
    assert METRIC_CHECKS[check](subject(name))


@pytest.mark.parametrize("name", ON_ANY_VIDEO)
def test_flat_black_and_white_flashes_and_noise_are_numbers_within_the_bounds(name: str, run_metric: RunMetric) -> None:
    least, most = metrics.get(name).bounds
    flat = [np.full((64, 24, 24, 3), level, dtype=np.uint8) for level in (0, 128, 255)]
    flashes = np.where(np.arange(64) % 2, 0, 255).astype(np.uint8)[:, None, None, None] * np.ones_like(flat[0][:1])
    noise = np.random.default_rng(3).integers(0, 256, (64, 24, 24, 3), dtype=np.uint8)
    for video in (*flat, flashes, noise):
        found = run_metric(name, video)
        assert found.value is not None
        assert math.isfinite(found.value)
        assert least - 1e-6 <= found.value <= most + 1e-6


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


@pytest.mark.parametrize("name", EVERY)
def test_a_metric_with_the_scale_of_a_share_declares_its_bounds(name: str) -> None:
    kind = metrics.get(name)
    if kind.unit in ("0..1", "share", "share of clips"):
        assert kind.bounds == (0.0, 1.0)
    least, most = kind.bounds
    assert least < most
    assert kind.still_value is None or least <= kind.still_value <= most


@pytest.mark.parametrize("suite", suites.names())
def test_a_suite_names_known_metrics_and_its_protocol(suite: str) -> None:
    entry = entry_of(suite)
    found = entry.open()
    assert found.name == suite
    assert found.about
    assert found.protocol
    assert set(found.metrics) <= set(EVERY)
    assert set(directions(entry)) <= {found.metric(key).name for key in found.metrics}
