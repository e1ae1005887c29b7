"""Writes the golden scores of VBench-Long: the official functions of vbench 0.1.5 on small videos, with seeded weights.

    make parity          (or, in the environment of requirements.txt: python tests/parity/official.py)

Needs nothing of longtake, no weights and no network. Writes tests/golden/vbench/scores.json; README.md of tests/golden
says what is in it.
"""

import argparse
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cutting
import dimensions
import networks
import numpy as np
import torch

VIDEOS = networks.GOLDEN.parent
OUT = VIDEOS / "scores.json"
NAMES = ("real", "pocket", "portrait", "short", "fast")
PACKAGES = (*networks.PACKAGES, "av", "decord", "opencv-python-headless", "open_clip_torch", "pillow", "scipy")
CHEAP = ("temporal_flickering", "motion_smoothness")


def provenance() -> dict[str, Any]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    return {
        "made_by": "python tests/parity/official.py",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "cpu": {"machine": platform.machine(), "avx2": " avx2" in flags, "avx512": " avx512f" in flags},
        "torch_threads": torch.get_num_threads(),
        "weights": "tests/parity/seeded.py: published(artefact, shapes.json), seed 0",
        "encoder": {"exact": cutting.PINNED, "direct": cutting.LOSSLESS, "default": None},
    }


def cut(mode: str, video: Path, folder: Path) -> list[Path]:
    if mode == "direct":
        return cutting.direct_split(video, folder, spans(video))
    return cutting.official_split(video, folder, cutting.PINNED if mode == "exact" else None)


def spans(video: Path) -> list[tuple[int, int]]:
    from decord import VideoReader

    reader = VideoReader(str(video), num_threads=1)
    return cutting.spans_of(len(reader), int(reader.get_avg_fps()))


def describe(video: Path) -> dict[str, Any]:
    frames_NHWC = cutting.pixels(video)
    height, width = frames_NHWC.shape[1:3]
    facts = {"frames": len(frames_NHWC), "width": width, "height": height, "clips": spans(video)}
    return facts | {"frames_sha256": cutting.digest(frames_NHWC)}


def check_same(mode: str, video: Path, clips: list[Path]) -> list[str]:
    """The digest of every clip's frames; in `direct` they must be the source's. Raises ValueError."""
    source_NHWC, digests = cutting.pixels(video), []
    for clip, (start, stop) in zip(clips, spans(video), strict=True):
        frames_NHWC = cutting.pixels(clip)
        if mode == "direct" and not np.array_equal(frames_NHWC, source_NHWC[start:stop]):
            raise ValueError(f"{clip.name}: a lossless clip differs from frames {start}-{stop} of {video.name}")
        digests.append(cutting.digest(frames_NHWC))
    return digests


def score(mode: str, wanted: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """video -> digests of its clips and, per dimension, the official score of every clip."""
    clips = {name: cut(mode, VIDEOS / f"{name}.mp4", folder / mode) for name in NAMES}
    told: dict[str, Any] = {}
    for name, paths in clips.items():
        told[name] = {"frames_sha256": check_same(mode, VIDEOS / f"{name}.mp4", paths), "scores": {}}
    for dimension in wanted:
        for name, paths in clips.items():
            rows = dimensions.results(dimension, paths)
            told[name]["scores"][dimension] = [plain(row["video_results"]) for row in rows]
            if dimension == "dynamic_degree":
                told[name]["dynamic"] = [
                    {key: plain(row[key]) for key in ("pairs", "threshold", "count")} for row in rows
                ]
    return told


def plain(value: Any) -> Any:
    """JSON's own types; NaN is null."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bool | np.bool_ | int):
        return int(value) if not isinstance(value, bool | np.bool_) else bool(value)
    return None if np.isnan(value) else float(value)


def laid_out(value: Any, levels: int, margin: str = "") -> str:
    """JSON with a line per key down to `levels`, and what lies deeper on one line."""
    if levels == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = margin + " "
    lines = [f"{inner}{json.dumps(key)}: {laid_out(one, levels - 1, inner)}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    library = networks.declare_torchvision()
    golden: dict[str, Any] = {"provenance": provenance()}
    golden["videos"] = {name: describe(VIDEOS / f"{name}.mp4") for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        everything = tuple(dimensions.DIMENSIONS)
        for mode, wanted in (("direct", everything), ("exact", everything), ("default", CHEAP)):
            golden[mode] = score(mode, wanted, Path(folder))
    args.out.write_text(laid_out(golden, 4) + "\n", encoding="utf-8")
    print(f"{args.out}: golden scores of {len(NAMES)} videos")
    del library


if __name__ == "__main__":
    main()
