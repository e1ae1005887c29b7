"""How many damaged videos get a score: seeded mutations of one small video, read and scored as `longtake eval` does.

    python -m tests.bench.mutated_videos [COUNT]      default 2000

A mutation flips bits, writes random bytes or zeros, cuts, inserts or removes. Told apart are those that are refused,
those that score with the very pixels of the good video (what changed is not looked at), and the silent ones: other
pixels, and a score. `decodes` counts what a plain decode takes for whole: as many frames, of the same size.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scoring.scorer import score_video_suites
from longtake.platform.video.reading import read_frames
from longtake.platform.video.writing import VideoWriter
from tests.evaluators.bad_videos import picture
from tests.evaluators.stand_ins import stand_ins

SUITES = [SuiteEntry("classical", "classical"), SuiteEntry("vbench-long", "vbench-long")]
FRAMES, WIDTH, HEIGHT = 80, 64, 48
KINDS = ("bits", "bytes", "zeros", "cut", "insert", "remove")


def good_video(path: Path) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT) as writer:
        writer.write(np.stack([picture(index, WIDTH, HEIGHT) for index in range(FRAMES)]))
    return path


def mutations(data: bytes, count: int, seed: int = 11) -> Iterator[tuple[str, bytes]]:
    """(kind, mutated bytes), always the same for the same data, count and seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        yield kind, mutated(data, kind, rng)


def mutated(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    changed, at, length = bytearray(data), int(rng.integers(len(data))), int(rng.integers(1, 64))
    if kind == "bits":
        for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        for place in rng.integers(0, len(data), int(rng.integers(1, 20))):
            changed[place] = int(rng.integers(256))
    elif kind == "zeros":
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    elif kind == "cut":
        del changed[at:]
    elif kind == "insert":
        changed[at:at] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    else:
        del changed[at : at + length]
    return bytes(changed)


def run(count: int, folder: Path) -> Counter[str]:
    """refused, same and silent, which together are `count`; then decodes, unexplained (a missing score without a
    reason) and silent.KIND."""
    good = good_video(folder / "good.mp4")
    frames_NHWC, model_pool = read(good), stand_ins()
    found: Counter[str] = Counter()
    path = folder / "mutated.mp4"
    for kind, data in mutations(good.read_bytes(), count):
        path.write_bytes(data)
        found["decodes"] += decodes(path)
        scores = score_video_suites(path, SUITES, model_pool=model_pool).values()
        metrics = [(one, name, value) for one in scores for name, value in one.metrics.items()]
        found["unexplained"] += any(value is None and not one.errors.get(name) for one, name, value in metrics)
        if all(value is None for _, _, value in metrics):
            found["refused"] += 1
        elif np.array_equal(read(path), frames_NHWC):
            found["same"] += 1
        else:
            found["silent"] += 1
            found[f"silent.{kind}"] += 1
    return found


def read(path: Path) -> np.ndarray:
    return np.concatenate(list(read_frames(path)))


def decodes(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    except Exception:  # a demuxer fails in more ways than PyAV has errors for
        return False
    return sizes == [(WIDTH, HEIGHT)] * FRAMES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name, number in run(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, Path(scratch)).items():
            print(f"{name}: {number}")
