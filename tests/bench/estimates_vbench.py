"""CPU time of the dimensions of VBench-Long on one core, for the estimates of `longtake plan`.

    OMP_NUM_THREADS=1 python -m tests.bench.estimates_vbench [DIMENSION ...]

33 frames of 480x832 and networks of seeded weights, which are loaded before; one dimension at a time, with the decoding
of the video. Seconds of the process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.scoring.scorer import score_video_suites
from longtake.evaluators.suites.vbench_long import DIMENSIONS
from longtake.platform.machine.process import set_up_computing
from tests.gpu.vbench import seeded, write_video

FRAMES = 33


def main(names: list[str]) -> int:
    set_up_computing()
    print("# OMP_NUM_THREADS=1 python -m tests.bench.estimates_vbench; one core of a shared machine, CPU seconds")
    print("dimension,cpu_seconds,frames,cpu_seconds_per_frame", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "video.mp4", FRAMES)
        for name in names or DIMENSIONS:
            entry, pool = SuiteEntry("vbench-long", "vbench-long", {"dimensions": [name]}), ModelPool("cpu", seeded, {})
            for network in entry.suite.networks():
                pool.network(network)
            started = time.process_time()
            scores = score_video_suites(video, [entry], model_pool=pool)["vbench-long"]
            seconds = time.process_time() - started
            why = scores.errors.get(name, "")
            print(f"{name},{seconds:.3f},{FRAMES},{seconds / FRAMES:.4f}{why and ' # ' + why}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
