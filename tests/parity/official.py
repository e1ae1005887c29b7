"""Writes the golden scores of VBench-Long: the official functions of vbench 0.1.5 on small videos, with seeded weights.

    make parity          (which makes build/parity/videos first; then, in the environment of requirements.txt, this)

Needs nothing of longtake, no weights and no network. Reads the videos of build/parity/videos and writes
tests/golden/vbench/scores.json; README.md of tests/golden says what is in it.
"""

import argparse
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import clip_to_clip
import cutting
import dimensions
import long_videos
import networks
import numpy as np
import torch

VIDEOS = networks.HERE.parent.parent / "build" / "parity" / "videos"
OUT = networks.GOLDEN.parent / "scores.json"
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
        "videos": "tests/parity/videos.py",
        "weights": "tests/parity/seeded.py: published(artefact, shapes.json), seed 0",
        "lora": clip_to_clip.LORA,
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
    facts = {
        "frames": len(frames_NHWC),
        "width": width,
        "height": height,
        "clips": [list(span) for span in spans(video)],
    }
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


def score(mode: str, wanted: tuple[str, ...], clips: dict[str, list[Path]]) -> dict[str, Any]:
    """video -> digests of its clips and, per dimension, the official score of every clip."""
    told: dict[str, Any] = {}
    for name, paths in clips.items():
        told[name] = {"frames_sha256": check_same(mode, VIDEOS / f"{name}.mp4", paths), "scores": {}}
    every = [path for paths in clips.values() for path in paths]
    for dimension in wanted:
        for path, row in zip(every, dimensions.results(dimension, every), strict=True):
            one = told[path.parent.name]
            one["scores"].setdefault(dimension, []).append(plain(row["video_results"]))
            if "pairs" in row:
                one.setdefault("dynamic", []).append({key: plain(row[key]) for key in ("pairs", "threshold", "count")})
    return told


def between_clips(mode: str, clips: dict[str, list[Path]], folder: Path, models: dict[str, Any]) -> dict[str, Any]:
    """video -> its first frames' digest and what the official networks make of them; none for one clip."""
    told: dict[str, Any] = {}
    for name, paths in clips.items():
        video = VIDEOS / f"{name}.mp4"
        made = long_videos.first_frames(mode, video, paths, [start for start, _ in spans(video)], folder / name)
        if made is not None:
            told[name] = {"frames_sha256": cutting.digest(cutting.pixels(made))}
            for key, antialias in (("antialias", True), ("no_antialias", False)):
                told[name][key] = long_videos.similarity(models, made, antialias)
    return told


def over_videos(scored: dict[str, Any], between: dict[str, Any], tables: dict[str, str]) -> dict[str, Any]:
    """dimension -> scores over all videos; clip-to-clip scores with antialias."""
    told = {}
    for dimension in dimensions.DIMENSIONS:
        clip_scores = {name: one["scores"][dimension] for name, one in scored.items()}
        rows = {name: one["antialias"][dimension] for name, one in between.items() if dimension in one["antialias"]}
        told[dimension] = long_videos.over_videos(dimension, clip_scores, rows, tables)
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
    with tempfile.TemporaryDirectory() as folder:
        told = golden(Path(folder))
    before = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    largest, others = difference(before, told)
    if largest or others:
        args.out.write_text(laid_out(told, 5) + "\n", encoding="utf-8")
    apart = f"numbers by at most {largest:.1e}, {others} other values" if before else "there was none"
    print(f"{args.out.name}: golden scores of {len(NAMES)} videos; against the file before: {apart}")
    del library


def difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[float, int]:
    """How far two files lie apart: the largest difference of numbers, and how many other values differ. Left out are
    provenance and `default`, which no two runs of x264 agree on."""
    free = ("provenance", "default")
    old, new = (leaves({key: one for key, one in told.items() if key not in free}) for told in (before, now))
    pairs = [(old.get(name), new.get(name)) for name in old.keys() | new.keys()]
    numbers = [(one, two) for one, two in pairs if isinstance(one, float) and isinstance(two, float)]
    others = [pair for pair in pairs if pair not in numbers and pair[0] != pair[1]]
    return max((abs(one - two) for one, two in numbers), default=0.0), len(others)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for step, one in inner for key, leaf in leaves(one, f"{name}/{step}").items()}
    return {name: value}


def golden(folder: Path) -> dict[str, Any]:
    (folder / "dreamsim").mkdir()
    models = {"dinov2": clip_to_clip.official_dinov2()}
    models["dreamsim"] = clip_to_clip.official_dreamsim(folder / "dreamsim")
    tables = long_videos.write_tables(folder)
    told: dict[str, Any] = {"provenance": provenance()}
    told["videos"] = {name: describe(VIDEOS / f"{name}.mp4") for name in NAMES}
    for mode in ("direct", "exact"):
        clips = {name: cut(mode, VIDEOS / f"{name}.mp4", folder / mode / name) for name in NAMES}
        scored = score(mode, tuple(dimensions.DIMENSIONS), clips)
        between = between_clips(mode, clips, folder / f"{mode}-first", models)
        told[mode] = scored
        told[f"{mode}_between_clips"] = between
        told[f"{mode}_over_videos"] = over_videos(scored, between, tables)
    clips = {name: cut("default", VIDEOS / f"{name}.mp4", folder / "default" / name) for name in NAMES}
    told["default"] = score("default", CHEAP, clips)
    return told | {"mapping": long_videos.mapping(tables), "losses": long_videos.losses(tables)}


if __name__ == "__main__":
    main()
