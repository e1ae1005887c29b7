"""What the suite vbench-long costs beside its networks: each is replaced by a cheap function of the same shapes.

    python tests/bench/vbench_pipeline.py VIDEO [--official PYTHON] [--repeat N]

Each row is a process of its own: CPU-seconds of scoring (imports are not in it), peak memory, and how often a frame is
decoded and encoded. `--official` is the interpreter of `make parity` (build/parity/venv/bin/python): the official code
then runs on the same video, on the same machine, in the same run. `--repeat` makes the video N times as long first, to
see what grows with length.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OFFICIAL = Path(__file__).with_name("vbench_official.py")
ROWS = (
    ("direct", {}),
    ("exact", {"protocol": "exact"}),
    ("direct, long range", {"long_range": True}),
    ("exact, long range", {"protocol": "exact", "long_range": True, "compat": ["all"]}),
)


def stubs() -> Any:
    """Networks that read their input once and answer with the right shape."""
    import torch

    from longtake.evaluators.model_pool import pool_of

    def features(width: int) -> Any:
        return lambda frames: frames.mean(dim=(2, 3)).repeat(1, width // 3)

    class Raft:
        def features(self, frames: Any) -> Any:
            return frames[:, :1, ::8, ::8]

        context = features

        def flow(self, first: Any, second: Any, context: Any, iterations: int) -> Any:
            return torch.zeros(len(first), 2, first.shape[-2] * 8, first.shape[-1] * 8)

    widths = {"dino": 768, "clip-b": 512 // 3 * 3, "clip-l": 768, "dinov2": 768, "dreamsim": 1792 // 3 * 3}
    return pool_of(
        {name: features(width) for name, width in widths.items()}
        | {
            "aesthetic": lambda found: found.sum(dim=1, keepdim=True),
            "musiq": lambda frames: frames.mean(dim=(1, 2, 3)),
            "amt": lambda before, after: before,
            "raft": Raft(),
        }
    )


def measure(path: Path, params: dict[str, Any]) -> dict[str, Any]:
    """One scoring of one video, in this process."""
    import torch

    from longtake.evaluators.base import SuiteEntry
    from longtake.evaluators.scoring.scorer import score_video
    from longtake.evaluators.vbench import exact
    from longtake.platform.video import reading as video

    torch.set_num_threads(1)
    counts = {"decoded": 0, "encoded": 0}
    read, decoded, add = video.read_frames, exact.Encoder.decoded, exact.Encoder.add

    def counted(frames: Any) -> Any:
        for part in frames:
            counts["decoded"] += len(part)
            yield part

    def count_add(self: Any, frame: Any) -> None:
        counts["encoded"] += 1
        add(self, frame)

    video.read_frames = lambda *arguments, **named: counted(read(*arguments, **named))
    exact.Encoder.decoded = lambda self, batch: counted(decoded(self, batch))
    exact.Encoder.add = count_add
    frames, model_pool = video.probe(path).num_frames, stubs()
    before = time.process_time()
    scores = score_video(path, SuiteEntry("vbench-long", "vbench-long", params), model_pool)
    seconds = time.process_time() - before
    assert all(value is not None for value in scores.metrics.values()), scores.errors
    return {
        "cpu_seconds": round(seconds, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "decodes_per_frame": round(counts["decoded"] / frames, 2),
        "encodes_per_frame": round(counts["encoded"] / frames, 2),
        "frames": frames,
    }


def repeated(path: Path, times: int, folder: Path) -> Path:
    """The video's frames `times` over, in one file."""
    from longtake.platform.video.reading import probe, read_frames
    from longtake.platform.video.writing import VideoWriter

    head = probe(path)
    longer = folder / f"x{times}.mp4"
    with VideoWriter(longer, int(head.fps), head.width, head.height) as writer:
        for _ in range(times):
            for batch in read_frames(path):
                writer.write(batch)
    return longer


def child(python: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--official", metavar="PYTHON")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        print(json.dumps(measure(told.video, json.loads(told.one))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = repeated(told.video, told.repeat, Path(folder)) if told.repeat > 1 else told.video
        for name, params in ROWS:
            print(f"{name}:", child(sys.executable, __file__, str(path), "--one", json.dumps(params)))
        if told.official:
            print("official:", child(told.official, str(OFFICIAL), str(path)))


if __name__ == "__main__":
    main()
