"""Makes the small videos of tests/golden/vbench again. The committed files are the truth: encoders differ by version.

    .venv/bin/python tests/parity/videos.py --real VIDEO.mp4 --out FOLDER

VIDEO is an H.264 take of at least 400 frames. `real.mp4` takes neighbouring frames first and frames far apart later, so
that its clips differ in motion; 542x306 px is larger than the 512 px of imaging quality and a multiple of neither 8
nor 16, so every resize and padding acts. `fast.mp4` has 20 frames a second, where every second frame is asked for
motion (2.5 rounds to the even 2). `short.mp4` is shorter than one clip.
"""

import argparse
import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from longtake.platform.pocket.world import crop, panorama

REAL_FRAMES = (*range(0, 12, 2), 60, 75, 110, 150, 200, 250, 320, 390)
POCKET_STEPS_PX = (1, 1, 1, 1, 4, 4, 9, 12, 12)


def encode(path: Path, frames_NHWC: Sequence[np.ndarray], fps: int, crf: int) -> None:
    """Untagged yuv420p H.264, the same bytes on one version of x264."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        options = {"crf": str(crf), "x264-params": "asm=avx2:threads=1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.codec_context.flags |= Flags.bitexact
        stream.codec_context.time_base = Fraction(1, fps)
        stream.height, stream.width = frames_NHWC[0].shape[:2]
        for index, frame_HWC in enumerate(frames_NHWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def resized(path: Path, wanted: tuple[int, ...], width: int, height: int) -> list[np.ndarray]:
    """The frames of the numbers `wanted`, uint8 [height, width, 3]."""
    with av.open(str(path)) as container:
        frames = itertools.islice(container.decode(video=0), max(wanted) + 1)
        small = [f.to_ndarray(format="rgb24", width=width, height=height) for n, f in enumerate(frames) if n in wanted]
    return small


def pocket() -> list[np.ndarray]:
    """A walk along a street of the pocket world, first slowly, then in leaps: 10 frames of 128x128."""
    street = panorama("dawn", "brick", 3)
    lefts = [0, *itertools.accumulate(POCKET_STEPS_PX)]
    return [crop(street, left).repeat(4, axis=0).repeat(4, axis=1) for left in lefts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="an H.264 take of at least 400 frames")
    parser.add_argument("--out", type=Path, required=True, help="folder of the videos")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    encode(args.out / "real.mp4", resized(args.real, REAL_FRAMES, 542, 306), fps=3, crf=27)
    encode(args.out / "pocket.mp4", pocket(), fps=2, crf=18)
    wide = resized(args.real, (0, 3, 90, 93, 240), 554, 320)
    encode(args.out / "portrait.mp4", [frame[:, 190:370] for frame in wide], fps=2, crf=23)
    encode(args.out / "short.mp4", resized(args.real, (0, 10, 300), 64, 64), fps=2, crf=18)
    encode(args.out / "fast.mp4", resized(args.real, (0, 8, 60, 68, 76), 160, 128), fps=20, crf=20)


if __name__ == "__main__":
    main()
