"""Clips as VBench-Long's own code cuts them, in three ways. Runs in the official environment, without longtake.

- `exact`: the official split, which encodes every clip again. x264's output depends on the machine's cores (it starts
  1.5 threads a core) and on AVX-512, so both are pinned: one thread, AVX2.
- `default`: the official split as it is; not the same on two machines.
- `direct`: clips whose decoded frames are the very frames of the source: its yuv420p planes, coded again without loss.
  `pixels` checks that decord and OpenCV read them back equal.

Shapes: frames_NHWC is uint8 RGB.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

PINNED = {"x264-params": "asm=avx2:threads=1"}
LOSSLESS = {"qp": "0", "x264-params": "asm=avx2:threads=1"}
CLIP_SECONDS = 2


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` inside the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def official_split(video: Path, folder: Path, options: dict[str, str] | None) -> list[Path]:
    """The official function with encoder options; folder/<stem>/<stem>_000.mp4 and so on, in order."""
    from vbench2_beta_long import utils

    with replaced(utils, "write_video", partial(utils.write_video, options=options)):
        made = utils.split_video_into_clips(str(video), str(folder), CLIP_SECONDS)
    return sorted(Path(made).iterdir())


def direct_split(video: Path, folder: Path, spans: list[tuple[int, int]]) -> list[Path]:
    """The frames of `spans`, lossless, under the names of the official split."""
    home = folder / video.stem
    home.mkdir(parents=True)
    names = [f"{video.stem}_{index:03d}.mp4" for index in range(len(spans))]
    frames, fps = decoded(video)
    if len(frames) < CLIP_SECONDS * fps:
        names = [f"{video.stem}_full.mp4"]
    for name, (start, stop) in zip(names, spans, strict=True):
        lossless(home / name, frames[start:stop], fps)
    return [home / name for name in names]


def decoded(video: Path) -> tuple[list[av.VideoFrame], int]:
    """Its frames and whole frames a second."""
    with av.open(str(video)) as container:
        return list(container.decode(video=0)), int(container.streams.video[0].average_rate or 0)


def spans_of(num_frames: int, fps: int) -> list[tuple[int, int]]:
    """Frame ranges of the official split: whole clips, then the last `2 fps` frames if some are left over."""
    size = CLIP_SECONDS * fps
    if num_frames < size:
        return [(0, num_frames)]
    whole = [(start, start + size) for start in range(0, num_frames - size + 1, size)]
    return whole if num_frames % size == 0 else [*whole, (num_frames - size, num_frames)]


def lossless(path: Path, frames: list[av.VideoFrame], fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for index, frame in enumerate(frames):
            planes = frame.reformat(format="yuv420p")
            planes.pts, planes.time_base, planes.pict_type = index, Fraction(1, fps), 0
            container.mux(stream.encode(planes))
        container.mux(stream.encode(None))


def pixels(path: Path) -> np.ndarray:
    """frames_NHWC as decord reads them. Raises ValueError when OpenCV reads others."""
    import cv2
    from decord import VideoReader

    reader = VideoReader(str(path), num_threads=1)
    frames_NHWC = reader.get_batch(range(len(reader))).asnumpy()
    video = cv2.VideoCapture(str(path))
    others = [frame[:, :, ::-1] for good, frame in iter(video.read, (False, None)) if good]
    if len(others) != len(frames_NHWC) or not np.array_equal(np.stack(others), frames_NHWC):
        raise ValueError(f"{path.name}: decord and OpenCV decode different frames; no comparison can be made on it")
    return frames_NHWC


def digest(frames_NHWC: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frames_NHWC).tobytes()).hexdigest()
