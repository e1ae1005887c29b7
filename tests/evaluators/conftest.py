"""Small real videos and the pieces that score frames without a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import VideoContext, VideoValue, metrics
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.views import Frames, set_one_thread
from tests.evaluators.stand_ins import stand_ins

POCKET_PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    set_one_thread()


@pytest.fixture(scope="session")
def textured() -> Frames:
    """84 frames of 40x48: a random picture that pans 1 px a frame, so that nothing is flat and everything moves."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (10, 40, 3), dtype=np.uint8)
    wide = np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))
    return np.stack([wide[:, i : i + 48] for i in range(84)])


def batches(frames: Frames, size: int) -> Iterator[Frames]:
    for start in range(0, len(frames), size):
        yield frames[start : start + size]


@pytest.fixture(scope="session")
def run_metric() -> Callable[..., VideoValue]:
    """(name, frames, fps, batch) -> value, with a pocket prompt in the context; raises what the metric raises."""

    def run(name: str, frames: Frames, fps: float = 16.0, batch: int = 16) -> VideoValue:
        height, width = frames.shape[1:3]
        path = Path("made-in-memory.mp4")
        latent = 1 + (len(frames) - 1) // 4
        ctx = VideoContext(path, fps, width, height, len(frames), POCKET_PROMPT, 0, 0, latent, stand_ins())
        opened = metrics.get(name)().open(ctx)
        views = iter_clips(batches(frames, batch), fps, clip_frames(fps, width, height, path), path)
        return opened.finish([opened.clip(view) for view in views])

    return run


@pytest.fixture(scope="session")
def lossless() -> Callable[..., Path]:
    """(path, frames, fps) -> path: ffv1 in Matroska, RGB: what is read is what was written."""

    def write(path: Path, frames: Frames, fps: int = 16) -> Path:
        return _write(path, frames, fps, "ffv1", "bgr0")

    return write


@pytest.fixture(scope="session")
def encoded() -> Callable[..., Path]:
    """(path, frames, codec, fps) -> path, yuv420p."""

    def write(path: Path, frames: Frames, codec: str, fps: int = 16) -> Path:
        return _write(path, frames, fps, codec, "yuv420p")

    return write


def _write(path: Path, frames: Frames, fps: int, codec: str, pixels: str) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
