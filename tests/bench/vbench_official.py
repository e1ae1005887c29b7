"""What VBench-Long's own pipeline costs on one long video, its models left out; and its RAFT on a small one.

    make parity     (once: makes the environment and the small video)
    OMP_NUM_THREADS=1 build/parity/venv/bin/python tests/bench/vbench_official.py VIDEO [--frames 480]

Runs vbench 0.1.5's functions in the order of its command line with `--dev_flag`: the split with its second encode, the
seven dimensions, and the row of first frames for both consistencies. Models are stand-ins that cost next to nothing and
answer in the right shapes. Frames that decord and OpenCV decode and that PyAV encodes are counted by wrapping the
readers and the writer. One thread everywhere; x264 is pinned to one as well. Prints one line of JSON.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parity"))

import cutting
import networks
import torch

SMALL = networks.HERE.parent.parent / "build" / "parity" / "videos" / "real.mp4"
PACKAGES = ("torch", "torchvision", "vbench", "av", "decord", "opencv-python-headless", "numpy")


class Spent(dict[str, float]):
    """CPU seconds of this process, all its threads, by step."""

    @contextmanager
    def on(self, step: str) -> Iterator[None]:
        before = time.process_time()
        yield
        self[step] = self.get(step, 0.0) + time.process_time() - before


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts frames decoded and encoded inside the block."""
    import cv2
    import vbench.utils
    import vbench2_beta_long.utils as long_utils

    frames: Counter[str] = Counter()

    class Capture:
        def __init__(self, path: str) -> None:
            self.video = original_capture(path)

        def read(self) -> Any:
            good, frame = self.video.read()
            frames["decoded"] += good
            return good, frame

        def __getattr__(self, name: str) -> Any:
            return getattr(self.video, name)

    class Reader(vbench.utils.VideoReader):
        def get_batch(self, indices: Any) -> Any:
            frames["decoded"] += len(indices)
            return super().get_batch(indices)

    def write(path: str, video: torch.Tensor, fps: float) -> None:
        frames["encoded"] += len(video)
        original_write(path, video, fps=fps, options=cutting.PINNED)

    original_capture, original_write = cv2.VideoCapture, long_utils.write_video
    with contextlib.ExitStack() as stack:
        stack.enter_context(cutting.replaced(cv2, "VideoCapture", Capture))
        stack.enter_context(cutting.replaced(vbench.utils, "VideoReader", Reader))
        stack.enter_context(cutting.replaced(long_utils, "write_video", write))
        yield frames


def features(pictures_NCHW: torch.Tensor) -> torch.Tensor:
    """[n, 768] of almost nothing."""
    return pictures_NCHW.flatten(1)[:, :768] + 1e-3


def stand_ins() -> SimpleNamespace:
    def middle(first: torch.Tensor, second: torch.Tensor, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        return {"imgt_pred": first}

    def flow(first: torch.Tensor, second: torch.Tensor, **kwargs: Any) -> tuple[None, torch.Tensor]:
        return None, first[:, :2]

    clip = SimpleNamespace(encode_image=features, eval=lambda: None)
    score = partial(torch.sum, dim=(1, 2, 3))
    head = torch.nn.Linear(768, 1).requires_grad_(False)
    return SimpleNamespace(dino=features, clip=clip, head=head, musiq=score, amt=middle, raft=flow)


def dimension_calls(clips: list[str]) -> dict[str, Callable[[], Any]]:
    """The official functions by name, each with its stand-in."""
    from vbench import (
        aesthetic_quality,
        background_consistency,
        dynamic_degree,
        imaging_quality,
        motion_smoothness,
        subject_consistency,
        temporal_flickering,
    )

    models = stand_ins()

    class Motion(motion_smoothness.MotionSmoothness):
        def load_model(self) -> None:
            self.model = models.amt

    class Dynamic(dynamic_degree.DynamicDegree):
        def load_model(self) -> None:
            self.model = models.raft

    return {
        "subject_consistency": lambda: subject_consistency.subject_consistency(models.dino, clips, "cpu", False),
        "background_consistency": lambda: background_consistency.background_consistency(
            models.clip, None, clips, "cpu", False
        ),
        "aesthetic_quality": lambda: aesthetic_quality.laion_aesthetic(models.head, models.clip, clips, "cpu"),
        "imaging_quality": lambda: imaging_quality.technical_quality(models.musiq, clips, "cpu"),
        "temporal_flickering": lambda: temporal_flickering.temporal_flickering(clips),
        "motion_smoothness": lambda: motion_smoothness.motion_smoothness(Motion(None, None, "cpu"), clips),
        "dynamic_degree": lambda: dynamic_degree.dynamic_degree(Dynamic(None, "cpu"), clips),
    }


def between_clips(clips: list[Path], folder: Path) -> None:
    """Both rows of first frames, written and scored."""
    from vbench2_beta_long import background_consistency, subject_consistency
    from vbench2_beta_long.utils import create_video_from_first_frames

    rows = [{"video_path": str(clip)} for clip in clips]
    for name in ("subject", "background"):
        (folder / name).mkdir()
        create_video_from_first_frames(str(clips[0].parent.parent), str(folder / name), rows)
        made = [str(path) for path in (folder / name).iterdir()]
        if name == "subject":
            subject_consistency.subject_consistency_dinov2(features, made, "cpu", False)
        else:
            model = SimpleNamespace(embed=features)
            background_consistency.background_consistency_dreamsim(model, None, made, "cpu", False)


def pipeline(video: Path, folder: Path) -> dict[str, Any]:
    from vbench2_beta_long.utils import split_video_into_clips

    spent, began, before = Spent(), time.perf_counter(), peak_gb()
    with counted() as frames:
        with spent.on("split"):
            made = Path(split_video_into_clips(str(video), str(folder / "split_clip"), cutting.CLIP_SECONDS))
        clips = sorted(made.iterdir())
        for name, call in dimension_calls([str(clip) for clip in clips]).items():
            with spent.on(name):
                call()
        with spent.on("between clips"):
            between_clips(clips, folder)
    num_frames = len(cutting.decoded(video)[0])
    return {
        "cpu_seconds": round(sum(spent.values()), 2),
        "wall_seconds": round(time.perf_counter() - began, 2),
        "peak_rss_gb": round(peak_gb(), 2),
        "peak_rss_gb_before": round(before, 2),
        "clips": len(clips),
        "decodes_per_frame": round(frames["decoded"] / num_frames, 3),
        "encodes_per_frame": round(frames["encoded"] / num_frames, 3),
        "cpu_seconds_by_step": {name: round(seconds, 2) for name, seconds in spent.items()},
    }


def dynamic(video: Path) -> dict[str, Any]:
    """Official dynamic degree with the official RAFT and seeded weights; making the network is not counted."""
    from vbench.dynamic_degree import DynamicDegree

    class Seeded(DynamicDegree):
        def load_model(self) -> None:
            self.model = networks.built("raft-things")

    model, began = Seeded(None, "cpu"), time.process_time()
    answer = model.infer(str(video))
    return {"video": video.name, "cpu_seconds": round(time.process_time() - began, 2), "dynamic": bool(answer)}


def lengthened(video: Path, num_frames: int, folder: Path) -> Path:
    """The first frames of the video, without loss, from the start again where it is too short."""
    frames, fps = cutting.decoded(video)
    made = folder / f"{video.stem}.mp4"
    cutting.lossless(made, [frames[index % len(frames)] for index in range(num_frames)], fps)
    return made


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--small", type=Path, default=SMALL, help="the video on which RAFT itself is timed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    library = networks.declare_torchvision()
    import cv2

    cv2.setNumThreads(1)
    told: dict[str, Any] = {"video": args.video.name, "frames": args.frames, "cpus": os.cpu_count()}
    told["versions"] = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        video = lengthened(args.video, args.frames, Path(folder))
        told["pipeline"] = pipeline(video, Path(folder))
        told["dynamic_degree"] = dynamic(args.small)
    print(json.dumps(told))
    del library


if __name__ == "__main__":
    main()
