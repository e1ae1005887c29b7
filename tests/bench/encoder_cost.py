"""Cost of a frame in the encoder (platform/video/writing.py): real videos, the frames that the bench encodes, noise.

    python -m tests.bench.encoder_cost VIDEO ...      videos of 832x480 px, at least 48 frames long

Prints CPU milliseconds and bytes per frame: medians of ROUNDS rounds, in each of which every source encodes 48 frames.
For a real video these are the next 48.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np

from longtake.jobs.bench.natural_frames import FRAMES, natural_frames
from longtake.platform.video.reading import read_frames
from longtake.platform.video.writing import VideoWriter

WIDTH, HEIGHT = 832, 480
ROUNDS = 15


def real(path: str) -> Iterator[np.ndarray]:
    """Yield the video's frames, 48 at a time, in an endless loop."""
    while True:
        yield from (frames for frames in read_frames(path, FRAMES) if len(frames) == FRAMES)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


def cost(frames: np.ndarray) -> tuple[float, float]:
    """CPU ms and bytes per frame."""
    with tempfile.TemporaryDirectory() as folder, VideoWriter(Path(folder) / "v.mp4", 16, WIDTH, HEIGHT) as video:
        started = time.thread_time()
        video.write(frames)
        info = video.close()
        return 1000 * (time.thread_time() - started) / len(frames), info.bytes / len(frames)


def main(videos: list[str]) -> None:
    sources = {Path(video).name: real(video) for video in videos}
    sources |= {"natural_frames": repeat(natural_frames(HEIGHT, WIDTH)), "noise": repeat(noise())}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    for _ in range(ROUNDS):
        for name, source in sources.items():
            costs[name].append(cost(next(source)))
    print(f"{'':20} {'CPU ms a frame':>14} {'lowest':>7} {'highest':>7} {'bytes':>8}")
    for name, measured in costs.items():
        ms, size = zip(*measured, strict=True)
        print(f"{name:20} {statistics.median(ms):14.2f} {min(ms):7.2f} {max(ms):7.2f} {statistics.median(size):8.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
