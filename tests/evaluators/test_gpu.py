"""Scoring on a GPU: prepared frames, float32 without rounding to TF32, batches, queued copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.evaluators import gpu
from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.clip_frames import OnHost, Upload
from longtake.evaluators.model_pool import HALF_ON_CUDA, ModelPool
from longtake.evaluators.models.base import load
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.vbench import pixels
from longtake.evaluators.views import Frames
from longtake.platform.machine.process import compute_exactly
from tests.evaluators.models.conftest import LORA, weights_for

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
SIZE = 480, 832

PREPARE: dict[str, Callable[[Tensor], Tensor]] = {
    "dino": pixels.for_dino,
    "clip": pixels.for_clip,
    "musiq": pixels.for_musiq,
    "dinov2": lambda frames: pixels.for_dinov2(frames, True),
    "dreamsim": lambda frames: pixels.for_dreamsim(frames, True),
    "dreamsim, no antialias": lambda frames: pixels.for_dreamsim(frames, False),
    "amt, raft": lambda frames: pixels.pad_to(pixels.raw(frames) / 255.0, 16)[0],
}


def waves(frames: int, height: int = SIZE[0], width: int = SIZE[1]) -> Frames:
    """A smooth moving picture: neighbouring pixels differ by at most 110 / 20 + 1 = 6.5 levels."""
    y, x = np.mgrid[:height, :width][..., None]
    phase = np.arange(frames)[:, None, None, None] * 5
    return (128 + 110 * np.sin((x + phase) / (20 + 9 * np.arange(3))) * np.cos(y / 31)).astype(np.uint8)


def noise(frames: int) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (frames, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("picture", "slope"), [(waves, 6.5 / 255), (noise, 1.0)])
@pytest.mark.parametrize("name", PREPARE)
def test_frames_are_prepared_as_on_a_cpu(name: str, picture: Callable[[int], Frames], slope: float) -> None:
    """A resize computes source positions in float32, scale * (x + .5) - .5. For x up to 832 these differ by up to
    832 * 2^-23 = 1e-4 px if only one device rounds the product. A pixel then changes by 1e-4 * its slope; bicubic
    interpolation is up to 1.5 times as steep in each direction. Sums of 16 products add 1e-6. Statistics divide by at
    least .22.
    """
    frames = picture(3)
    here = pixels.each(PREPARE[name], OnHost(frames), range(3))
    there = pixels.each(PREPARE[name], Upload(DEVICE)(frames), range(3))
    assert there.is_cuda
    assert there.is_contiguous()
    tolerance = (2 * 1.5 * 1e-4 * slope + 1e-6) / (0.22 if here.min() < 0 else 1.0)
    assert float((there.cpu() - here).abs().max()) <= tolerance


def test_clips_that_are_queued_one_behind_another_keep_their_frames() -> None:
    upload, busy = Upload(DEVICE), torch.ones(4096, 4096, device=DEVICE)
    for _ in range(20):
        busy = busy @ busy * 0 + 1  # keeps the GPU busy, so that the copies wait in the queue
    clips = [np.full((8, *SIZE, 3), level, dtype=np.uint8) for level in range(12)]
    moved = [upload(clip) for clip in clips]
    assert [int(there.frames.min()) for there in moved] == list(range(12))
    assert [int(there.frames.max()) for there in moved] == list(range(12))


def test_float32_products_are_not_rounded() -> None:
    """1 + 2^-12 needs 12 fractional bits; TF32 has 10 and would return 1."""
    compute_exactly()
    value = 1 + 2**-12
    picture = torch.full((1, 32, 64, 64), value, device=DEVICE)
    one_of_32 = torch.eye(32, device=DEVICE)
    assert float(torch.nn.functional.conv2d(picture, one_of_32[:, :, None, None]).min()) == value
    assert float((torch.full((64, 32), value, device=DEVICE) @ one_of_32).min()) == value


def test_free_memory_is_that_of_the_device() -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    assert 0 < gpu.free_bytes(DEVICE) <= total


class OneByOne(ModelPool):
    batch = property(lambda self: 1)  # type: ignore[assignment]

    def pairs(self, height: int, width: int) -> int:
        return 1


def seeded(name: str, device: str) -> Any:
    half = gpu.is_gpu(device) and name in HALF_ON_CUDA
    network = load(name, device, weights_for(name), LORA, half)
    return (lambda frames: network(frames.half())) if half else network


# Tolerances per clip. Float32 networks differ by the order of sums and by frames that differ by 1e-5 (see above): 1e-5
# of their features, and so of cosines and ratings. AMT's prediction is truncated to whole levels: one pixel in 40 may
# fall on the next level. CLIP in half precision has errors of about 1e-3 in its features, cosines in steps of
# 2^-11 = 5e-4, of which a clip takes the mean, and a rating that is divided by 10.
TOLERANCES = {
    "subject_consistency": 5e-5,
    "background_consistency": 2e-3,
    "motion_smoothness": 1e-4,
    "aesthetic_quality": 1e-3,
    "imaging_quality": 1e-4,
    "temporal_flickering": 0.0,
}


@pytest.fixture(scope="module")
def clip_scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[float | None]]]:
    """Way of scoring -> the clips of every dimension. 9 frames of 144x176 are one clip."""
    from tests.evaluators.conftest import _write

    path = _write(tmp_path_factory.mktemp("video") / "v.mkv", waves(9, 144, 176), 16, "ffv1", "bgr0")
    entry = SuiteEntry("vbench-long", "v", {"dimensions": list(TOLERANCES)})
    shared: dict[str, Any] = {}
    model_pool = {
        "batches": ModelPool(DEVICE, seeded, shared),
        "one by one": OneByOne(DEVICE, seeded, shared),
        "cpu": ModelPool("cpu", seeded),
    }
    return {who: score_video(path, entry, what).clips for who, what in model_pool.items()}


@pytest.mark.parametrize("other", ["one by one", "cpu"])
@pytest.mark.parametrize("dimension", TOLERANCES)
def test_batches_score_as_frames_one_by_one_and_as_on_a_cpu(
    dimension: str, other: str, clip_scores: dict[str, dict[str, list[float | None]]], tmp_path: Path
) -> None:
    found, expected = clip_scores["batches"][dimension], clip_scores[other][dimension]
    assert len(found) == 1
    assert found == pytest.approx(expected, abs=TOLERANCES[dimension])


def test_speeds_of_several_pairs_are_those_of_single_ones() -> None:
    """Twenty iterations amplify an error of 1e-6. The mean over all pixels stays within a thousandth of a pixel."""
    from longtake.evaluators.metrics.vbench_dynamic import _Run
    from longtake.evaluators.views import ClipView

    compute_exactly()
    model_pool = ModelPool(DEVICE, seeded)
    view = ClipView(waves(9, 144, 176), 0, 16.0)
    together = _Run(model_pool, False).speeds(view, [0, 2, 4, 6], 2)
    alone = [_Run(model_pool, False).speeds(view, [place], 2)[0] for place in (0, 2, 4, 6)]
    assert together == pytest.approx(alone, rel=1e-3)
