"""Small real videos and the pieces that score frames without a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from longtake.evaluators.base import VideoValue
from longtake.evaluators.views import Frames, set_one_thread
from longtake.jobs.certify import metrics as certify
from tests.evaluators.stand_ins import stand_ins


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    set_one_thread()


@pytest.fixture(scope="session")
def textured() -> Frames:
    """84 frames of 40 x 48: a random picture that pans 1 px a frame."""
    return certify.textured()


@pytest.fixture(scope="session")
def run_metric() -> Callable[..., VideoValue]:
    """(name, frames, fps, batch) -> value, with a pocket prompt in the context; raises what the metric raises."""

    def run(name: str, frames: Frames, fps: float = 16.0, batch: int = 16) -> VideoValue:
        return certify.MetricSubject(name, stand_ins()).run(frames, fps, batch)

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
