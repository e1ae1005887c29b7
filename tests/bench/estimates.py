"""CPU time of the steps of a take on one core: what `longtake plan` and the time left of a run assume at first.

    OMP_NUM_THREADS=1 python -m tests.bench.estimates > docs/measurements/estimates_cpu.csv

The pocket backbone samples, decodes and encodes 30 s, one take at a time and four together. Then the metrics of the
suites `classical` and `pocket` score that video, one more each time, and `classical` also at 832x480. Wan's decoder
runs with random weights on a smaller frame, since its time is that of its convolutions, whose number of operations
grows with the area. Seconds of the process, all threads.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scoring.scorer import score_video_suites
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.platform.backbones.base import backbones
from longtake.platform.machine.process import set_up_computing
from longtake.platform.models.vae.decoder import StreamingDecoder
from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, random_vae
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from longtake.platform.video.reading import probe, read_frames
from longtake.platform.video.writing import VideoWriter

SECONDS = 30
SMALL, LARGE = (128, 128), (832, 480)
LARGE_FRAMES = 96
VAE_CELLS = 12, 20
SWEEP = f"""
name: estimates
backbones: [pocket]
methods: [native]
lengths_s: [{SECONDS}]
prompts: {{file: prompts/pocket.txt, limit: 5}}
suites: [classical, pocket]
output: OUTPUT
tracking: {{uri: disabled}}
workers: {{cluster: inline}}
"""


def cpu_seconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def row(step: str, seconds: float, count: float, unit: str) -> None:
    print(f"{step},{seconds:.4f},{count:g},{unit},{seconds / count:.6f}", flush=True)


def sampling(grid: Grid, store: SweepStore) -> Take:
    """Sampling with decoding and encoding; the first take also loads."""
    worker, spec = SamplerWorker(store), backbones.get("pocket").spec
    with store.lock():
        store.write_plan(grid.config_yaml, grid.takes)
        for part in (grid.takes[:1], grid.takes[1:5]):
            if part[0] is grid.takes[0]:
                worker.loaded.ensure("pocket")
            seconds = cpu_seconds(lambda part=part: worker.run(MakeItem(tuple(part)), lambda report: None))
            flops = part[0].latent_frames // spec.frames_per_block * spec.block_flops(spec.window)
            row(f"pocket: sample + decode + encode x {len(part)}", seconds, len(part) * SECONDS, "second of video")
            row(f"pocket: GFLOP of sampling x {len(part)}", seconds, len(part) * flops / 1e9, "GFLOP")
    return grid.takes[0]


def decoding(take: Take) -> None:
    from longtake.platform.machine.resources import Resources

    backbone = backbones.get("pocket")(Resources(device="cpu"))
    decoder = backbone.decoder(take.prompt, take.latent_frames)
    channels, height, width = backbone.spec.latent
    latents = torch.randn(take.latent_frames, channels, height, width)
    row("pocket: decode", cpu_seconds(lambda: decoder.push(latents)), SECONDS, "second of video")


def reading(path: Path, name: str) -> None:
    seconds = min(cpu_seconds(lambda: [None for _ in read_frames(path)]) for _ in "12")
    row(f"{name}: read", seconds, probe(path).num_frames, "frame")


def scoring(path: Path, take: Take, entries: list[SuiteEntry], name: str) -> None:
    """The first metric, the first two, and so on: what each adds, where metrics share features. With reading."""
    metrics = [metric.name for entry in entries for metric in entry.metrics.values()]
    for count in range(1, len(metrics) + 1):
        only = metrics[:count]
        seconds = min(cpu_seconds(lambda only=only: score_video_suites(path, entries, take, only=only)) for _ in "12")
        row(f"{name}: score to {only[-1]}", seconds, probe(path).num_frames, "frame")


def encoding(source: Path, path: Path, size: tuple[int, int], count: int) -> None:
    """The first frames of a video, in another size."""
    frames = np.concatenate(list(read_frames(source)))[:count]
    scaled = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])

    def encode() -> None:
        with VideoWriter(path, fps=16, width=size[0], height=size[1]) as video:
            video.write(scaled)
            video.close()

    row(f"{size[0]}x{size[1]}: encode", cpu_seconds(encode), count / 16, "second of video")


def wan_decoding() -> None:
    vae, (height, width) = random_vae(WAN_VAE_CONFIG), VAE_CELLS
    decoder, area = StreamingDecoder(vae, "contiguous"), height * width / (60 * 104)
    latents = [torch.randn(1, 16, 1, height, width) for _ in range(4)]
    with torch.inference_mode():
        decoder(latents[0]), decoder(latents[1])
        seconds = cpu_seconds(lambda: [decoder(z) for z in latents[2:]])
    row(f"wan: decode, {8 * width}x{8 * height}, scaled to 832x480", seconds / area, 2, "latent frame")


def steps(folder: Path) -> Iterator[Callable[[], object]]:
    file = folder / "sweep.yaml"
    file.write_text(SWEEP.replace("OUTPUT", str(folder / "runs")))
    grid, store = expand(file), SweepStore(folder / "runs", "estimates")
    take, large = grid.takes[0], folder / "large.mp4"
    video = store.video(take.id)
    yield lambda: sampling(grid, store)
    yield lambda: decoding(take)
    yield lambda: reading(video, "pocket")
    yield lambda: scoring(video, take, grid.suites, "pocket")
    yield lambda: encoding(video, folder / "small.mp4", SMALL, SECONDS * 16 - 3)
    yield lambda: encoding(video, large, LARGE, LARGE_FRAMES)
    yield lambda: reading(large, "832x480")
    yield lambda: scoring(large, take, grid.suites[:1], "832x480")
    yield wan_decoding


def main() -> int:
    set_up_computing()
    print("# OMP_NUM_THREADS=1 python -m tests.bench.estimates; one core of a shared machine, CPU seconds")
    print("step,cpu_seconds,count,unit,cpu_seconds_per_unit")
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(Path(folder)):
            step()
    return 0


if __name__ == "__main__":
    sys.exit(main())
