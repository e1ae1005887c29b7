"""The suite vbench-long on one video, with networks of seeded weights: batches against one frame at a time."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from longtake.evaluators.model_pool import ModelPool
from tests.gpu.kernel_table import tabulate
from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, on_gpu, sized, synchronize

if TYPE_CHECKING:
    from longtake.evaluators.base import SuiteEntry
    from longtake.platform.store.records import VideoScores

FRAMES, HEIGHT, WIDTH = sized((161, 480, 832), (9, 144, 144))
CLIP = sized(33, 9)
"""Frames of the warm-up, and of the profile: one clip, since it records every kernel of RAFT's twenty iterations."""
SETTINGS: dict[str, Any] = sized({}, {"dimensions": ["imaging_quality"]})
"""All dimensions. A smoke run has one: drawing the other networks' weights takes half a minute on a CPU."""
LORA = {"r": 16, "lora_alpha": 0.5, "target_modules": ["qkv"]}
HALF = ("clip-b", "clip-l")
"""Networks in half precision on a GPU, as in scoring."""


class OneAtATime(ModelPool):
    """One frame, or one pair of frames, per pass of a network."""

    batch = property(lambda self: 1)

    def pairs(self, height: int, width: int) -> int:
        return 1


def seeded(name: str, device: str) -> Any:
    """A network of VBench with weights drawn from its published shapes."""
    from longtake.evaluators.models.base import load, networks, published_shapes
    from tests.parity.seeded import published

    weights = {one: published(one, published_shapes(one)) for one in networks.get(name).artefacts}
    half = device.startswith("cuda") and name in HALF
    network = load(name, device, weights=weights, settings=LORA, half=half)
    return (lambda frames: network(frames.half())) if half else network


def write_video(path: Path, frames: int) -> Path:
    """Waves that move 5 pixels a frame."""
    from longtake.platform.video.writing import VideoWriter

    rows, columns, colours = np.mgrid[:HEIGHT, :WIDTH, :3]
    with VideoWriter(path, 16, WIDTH, HEIGHT) as video:
        for t in range(frames):
            waves = np.sin((columns + 5 * t) / (20 + 9 * colours)) * np.cos(rows / 31)
            video.write((128 + 100 * waves).astype(np.uint8)[None])
    return path


class Meter:
    """Seconds by metric, from the scorer's progress reports."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.metric, self.since = "", time.perf_counter()

    def __call__(self, seen: int, frames: int, metric: str) -> None:
        now = time.perf_counter()
        self.spent[self.metric or "decoding, the rest"] += now - self.since
        self.metric, self.since = metric, now


def score(path: Path, entry: SuiteEntry, model_pool: ModelPool, meter: Meter) -> VideoScores:
    from longtake.evaluators.scoring.scorer import score_video_suites

    scores = score_video_suites(path, [entry], model_pool=model_pool, report_progress=meter)
    synchronize()
    return scores[entry.label]


def load_all(report: Report, entry: SuiteEntry, model_pool: ModelPool) -> None:
    started = time.perf_counter()
    for name in entry.open().networks():
        with report.guard(f"network {name}"):
            model_pool.network(name)
    report.row("networks drawn and loaded", time.perf_counter() - started, "s")


def compare(report: Report, path: Path, clip: Path, entry: SuiteEntry, shared: dict[str, Any]) -> None:
    """Score the same video in both ways, each after a warm-up clip, and compare the scores."""
    kinds, values = {"in batches": ModelPool, "a frame at a time": OneAtATime}, []
    for kind in kinds.values():
        score(clip, entry, kind(DEVICE.type, seeded, shared), Meter())  # kernels are chosen here
    for name, kind in kinds.items():
        meter, started = Meter(), time.perf_counter()
        scores = score(path, entry, kind(DEVICE.type, seeded, shared), meter)
        seconds = time.perf_counter() - started
        report.row(name, FRAMES / seconds, "frames/s", f"{seconds:.2f} s for {FRAMES} frames")
        for metric, spent in meter.spent.items():
            report.row(f"{name}: {metric}", spent, "s")
        for metric in [metric for metric, value in scores.metrics.items() if value is None]:
            with report.guard(f"{name}: {metric}"):
                raise RuntimeError(scores.errors.get(metric, "no value"))
        values.append({metric: value for metric, value in scores.metrics.items() if value is not None})
    apart = {metric: abs(value - values[1][metric]) for metric, value in values[0].items() if metric in values[1]}
    report.row("scores: largest difference", max(apart.values()), "", max(apart, key=lambda metric: apart[metric]))


def main() -> int:
    from longtake.evaluators.base import SuiteEntry
    from longtake.platform.machine.process import set_up_computing

    set_up_computing()
    report, entry = Report("vbench"), SuiteEntry("vbench-long", "vbench-long", SETTINGS)
    shared: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "video-0.mp4", FRAMES)
        clip = write_video(Path(folder) / "clip-0.mp4", CLIP)
        load_all(report, entry, ModelPool(DEVICE.type, seeded, shared))
        with report.guard("scores"):
            compare(report, path, clip, entry, shared)
        if on_gpu():
            report.row("peak device memory", torch.cuda.max_memory_allocated(DEVICE) / 2**30, "GiB")
            tabulate(
                report, "scoring a clip", lambda: score(clip, entry, ModelPool(DEVICE.type, seeded, shared), Meter())
            )
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
