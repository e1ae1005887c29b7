"""Takes and small real videos for the tests of the store."""

from pathlib import Path

import numpy as np
import pytest

from longtake.platform.store.commit import TakeWriter
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter


def make_take(seed: int = 0, label: str = "rag", seconds: int = 1, prompt: str = "dusk", **params: object) -> Take:
    """A take of 2 latent frames: 1 + 4 = 5 video frames."""
    return Take("pocket", MethodSpec("rag", label, {"top_k": 6, **params}), seconds, 2, prompt, seed)


def fill(writer: TakeWriter, take: Take, shade: int = 0) -> TakeResult:
    """Writes the take's video and trace as a sampler would, without committing."""
    with VideoWriter(writer.video_path, width=16, height=16) as video:
        video.write(np.full((take.num_frames, 16, 16, 3), 10 * take.seed + shade, np.uint8))
    info = video.info
    assert info is not None
    writer.trace_path.write_text('{"block": 0}\n')
    facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
    return TakeResult(take.id, *facts, timings={"wall": 0.1}, trace_rows=1)


def make(store: SweepStore, take: Take, shade: int = 0) -> TakeResult:
    with store.open_take(take) as writer:
        return writer.commit(fill(writer, take, shade))


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    return SweepStore(tmp_path / "runs", "demo")
