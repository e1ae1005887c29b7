"""Makes the small videos that VBench's own code and ours are asked about; none is kept in the repository.

    .venv/bin/python tests/parity/videos.py FOLDER

Four come from the pocket world, whose pixels are the same everywhere. `real` is cut from a generated take in the shared
folder beside the checkout. H.264 without loss, so that encoders cannot differ; `checked`
compares what is decoded with `frames_sha256` in tests/golden/vbench/scores.json.

- `real`: neighbouring frames first and frames far apart later, so that its clips differ in motion; 542x306 px is larger
  than the 512 px of imaging quality and a multiple of neither 8 nor 16, so that every resize and padding acts.
- `pocket`: a walk, first slow, then in leaps. `portrait`: higher than wide, with a clip that overlaps.
- `fast`: 20 frames a second, where every second frame is asked for motion (2.5 rounds to the even 2).
- `short`: shorter than one clip, and too small for RAFT and AMT.

Shapes: frame_HWC is uint8 RGB. Steps are in px of the made video.
"""

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from longtake.platform.pocket.world import HEIGHT_PX, panorama

HERE = Path(__file__).resolve().parent
SCORES = HERE.parent / "golden" / "vbench" / "scores.json"
TAKE = HERE.parents[2] / "shared" / "videos" / "native.mp4"
TAKE_FRAMES = (*range(0, 12, 2), 60, 75, 110, 150, 200, 250, 320, 390)
LOSSLESS = {"qp": "0", "x264-params": "asm=avx2:threads=1"}


@dataclass(frozen=True)
class Walk:
    """A camera that goes right along a street of the pocket world, `scale` px for each of its px; even steps."""

    street: tuple[str, str, int]
    width: int
    scale: int
    steps: tuple[int, ...]

    def frames(self) -> list[np.ndarray]:
        whole = panorama(*self.street).repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        lefts = (0, *itertools.accumulate(self.steps))
        return [whole[:, (left + np.arange(self.width)) % whole.shape[1]] for left in lefts]


WALKS = {
    "pocket": (Walk(("dawn", "brick", 3), 4 * HEIGHT_PX, 4, (4, 4, 4, 4, 16, 16, 36, 48, 48)), 2),
    "portrait": (Walk(("dusk", "stone", 1), 180, 10, (2, 6, 150, 420)), 2),
    "short": (Walk(("night", "brick", 2), 64, 2, (6, 90)), 2),
    "fast": (Walk(("noon", "timber", 5), 160, 4, (2, 4, 60, 150)), 20),
}
"""name -> what is seen, and frames a second."""
NAMES = ("real", *WALKS)


def make(name: str, folder: Path) -> Path:
    """folder/<name>.mp4. Raises FileNotFoundError for `real` without the shared folder."""
    path = folder / f"{name}.mp4"
    if name == "real":
        encode(path, cut(TAKE, TAKE_FRAMES, 542, 306), fps=3)
    else:
        walk, fps = WALKS[name]
        encode(path, walk.frames(), fps)
    return path


def cut(path: Path, wanted: Sequence[int], width: int, height: int) -> list[np.ndarray]:
    """The frames of the numbers `wanted`, resized."""
    with av.open(str(path)) as container:
        frames = enumerate(itertools.islice(container.decode(video=0), max(wanted) + 1))
        return [f.to_ndarray(format="rgb24", width=width, height=height) for n, f in frames if n in wanted]


def encode(path: Path, frames_HWC: Sequence[np.ndarray], fps: int) -> None:
    """Untagged yuv420p H.264 that loses nothing but what yuv420p cannot hold."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=LOSSLESS)
        stream.codec_context.flags |= Flags.bitexact
        stream.codec_context.time_base = Fraction(1, fps)
        stream.height, stream.width = frames_HWC[0].shape[:2]
        for index, frame_HWC in enumerate(frames_HWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def checked(name: str, folder: Path) -> Path:
    """Made, and the video that the golden scores are of. Raises FileNotFoundError as `make` does, ValueError."""
    path = make(name, folder)
    wanted, found = json.loads(SCORES.read_text(encoding="utf-8"))["videos"][name]["frames_sha256"], digest(path)
    if found != wanted:
        raise ValueError(
            f"{path.name}: the encoder or decoder differs: its frames have SHA-256 {found}, those of the golden scores "
            f"{wanted}; with PyAV {av.__version__} no score can be compared: use another, or make parity"
        )
    return path


def digest(path: Path) -> str:
    """SHA-256 of all decoded frames, as uint8 RGB."""
    told = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            told.update(frame.to_ndarray(format="rgb24").tobytes())
    return told.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not TAKE.is_file():
        print(f"parity: {TAKE} is not there; the video `real` is cut from it, so put it there first", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        make(name, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
