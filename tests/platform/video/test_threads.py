"""Decoding in several threads changes neither the frames nor the errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.platform.errors import VideoError
from longtake.platform.video.reading import read_frames

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "videos"
Read = tuple[list[bytes], str]


def video(path: Path, codec: str, **options: str) -> Path:
    """48 frames of 96x64: blocks that move two pixels per frame."""
    blocks = np.random.default_rng(5).integers(0, 256, (16, 48, 3), dtype=np.uint8)
    wide = np.kron(blocks, np.ones((4, 4, 1), dtype=np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0" if codec == "ffv1" else "yuv420p"
        for at in range(0, 96, 2):
            picture = np.ascontiguousarray(wide[:, at : at + 96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path: Path, threads: int) -> Read:
    """The batches, and the error that ends them."""
    batches = []
    try:
        for batch in read_frames(path, 8, threads):
            batches.append(batch.tobytes())
    except VideoError as error:
        return batches, str(error)
    return batches, ""


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "0"}),
        ("a.mp4", "libx264", {"bf": "3", "refs": "4"}),
        ("a.mkv", "libx264", {"x264-params": "slices=4:keyint=8"}),
        ("a.mkv", "ffv1", {}),
        ("a.webm", "libvpx-vp9", {}),
    ],
)
@pytest.mark.parametrize("threads", [2, 5])
def test_the_frames_are_the_same(name: str, codec: str, options: dict[str, str], threads: int, tmp_path: Path) -> None:
    path = video(tmp_path / name, codec, **options)
    alone = read(path, 1)
    assert (len(alone[0]), alone[1]) == (6, "")
    assert read(path, threads) == alone


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """The file with one to three other bytes, `count` times."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        mutated = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            mutated[int(rng.integers(48, len(mutated)))] = int(rng.integers(0, 256))
        yield bytes(mutated)


READ_DAMAGED = """
import sys
from pathlib import Path
from tests.platform.video.test_threads import mutations, read

good, damaged, refused_late = Path(sys.argv[1]), Path(sys.argv[2]), 0
for number, mutated in enumerate(mutations(good.read_bytes(), 60)):
    damaged.write_bytes(mutated)
    alone, together = read(damaged, 1), read(damaged, 4)
    assert together == alone, (number, alone[1], together[1])
    refused_late += bool(alone[0] and alone[1])
print(refused_late)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "ffv1")])
def test_damage_is_found_at_the_same_frame_for_the_same_reason(name: str, codec: str, tmp_path: Path) -> None:
    """libx264 with its default settings: reordered frames and slices, so a decoder conceals what is missing, at times
    with what was in the memory, which is therefore filled (mallopt(3), M_PERTURB)."""
    good = video(tmp_path / f"good-{name}", codec)
    command = [sys.executable, "-c", READ_DAMAGED, good, tmp_path / name]
    filled = os.environ | {"MALLOC_PERTURB_": "170"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=filled)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0  # some errors come after frames that were yielded


READ_WITH_LOGS = """
import sys
from pathlib import Path
import av
from tests.platform.video.test_threads import mutations, read

av.logging.set_level(av.logging.ERROR)  # decoder threads now log through Python
for data in mutations(Path(sys.argv[1]).read_bytes(), 150):
    Path(sys.argv[2]).write_bytes(data)
    read(Path(sys.argv[2]), 4)
print("all read")
"""


@pytest.mark.slow
def test_threads_that_log_do_not_block_the_end_of_a_damaged_video(tmp_path: Path) -> None:
    """Freeing a decoder waits for its threads and holds Python's lock, which a thread needs for its log line."""
    words = [
        sys.executable,
        "-c",
        READ_WITH_LOGS,
        str(video(tmp_path / "good.mp4", "libx264")),
        str(tmp_path / "a.mp4"),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout == "all read\n", done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="shared folder absent")
@pytest.mark.parametrize("name", ["native", "rag"])
def test_real_videos_are_the_same(name: str) -> None:
    alone, several = (read_frames(SHARED / f"{name}.mp4", threads=threads) for threads in (1, 4))
    for one, other in zip(alone, several, strict=True):
        assert np.array_equal(one, other)
