"""VBench-Long's own code for what happens between clips and over videos. Runs in the official environment.

- the row of first frames of every clip, DINOv2 for the subject and DreamSim for the background, each with the two
  resizes that torchvision has had as its default: without antialias (to 0.16) and with it (from 0.17);
- the official mapping and fusion, with and without `--dev_flag`;
- the official sums over videos, and beside them the documented mean of video means.
The wheel lacks VBench's YAML tables: they are written here from evaluators/vbench/mapping.csv.
"""

import csv
import random
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import cutting
import networks
import yaml

MAPPING = networks.HERE.parent.parent / "evaluators" / "vbench" / "mapping.csv"
KINDS = {"subject_consistency": "sb", "background_consistency": "bg"}
COLUMNS = {"subject_consistency": "subject", "background_consistency": "background"}
WEIGHTS = {"w_inclip_sb": 0.5, "w_clip2clip_sb": 0.5, "w_inclip_bg": 0.5, "w_clip2clip_bg": 0.5}
Rows = list[dict[str, Any]]


def first_frames(mode: str, video: Path, clips: list[Path], starts: list[int], folder: Path) -> Path | None:
    """A video of the first frame of every clip; None for one clip, which official code leaves out."""
    from vbench2_beta_long import utils

    folder.mkdir(parents=True)
    made = folder / video.name
    if mode == "exact":
        rows = [{"video_path": str(clip)} for clip in clips]
        with cutting.replaced(utils, "write_video", partial(utils.write_video, options=cutting.PINNED)):
            utils.create_video_from_first_frames(str(clips[0].parent.parent), str(folder), rows)
    elif len(starts) > 1:
        frames, fps = cutting.decoded(video)
        cutting.lossless(made, [frames[start] for start in starts], fps)
    return made if made.exists() else None


def similarity(models: dict[str, Any], made: Path, antialias: bool) -> dict[str, float]:
    """The official clip-to-clip scores of one row of first frames, before the mapping."""
    from torchvision import transforms
    from vbench2_beta_long.background_consistency import background_consistency_dreamsim
    from vbench2_beta_long.subject_consistency import subject_consistency_dinov2

    with cutting.replaced(transforms, "Resize", partial(transforms.Resize, antialias=antialias)):
        subject = subject_consistency_dinov2(models["dinov2"], [str(made)], "cpu", False)[1]
        background = background_consistency_dreamsim(models["dreamsim"], None, [str(made)], "cpu", False)[1]
    return {
        "subject_consistency": subject[0]["video_results"],
        "background_consistency": background[0]["video_results"],
    }


def write_tables(folder: Path) -> dict[str, str]:
    """VBench's configuration files; the arguments that name them."""
    with MAPPING.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    named = {"slow_fast_eval_config": folder / "weights.yaml"}
    named["slow_fast_eval_config"].write_text(yaml.safe_dump(WEIGHTS), encoding="utf-8")
    for dimension, short in KINDS.items():
        table = {float(row["clip2clip"]): float(row[COLUMNS[dimension]]) for row in rows}
        named[f"{short}_mapping_file_path"] = folder / f"{short}.yaml"
        named[f"{short}_mapping_file_path"].write_text(yaml.safe_dump(table), encoding="utf-8")
    return {name: str(path) for name, path in named.items()}


def fuse(dimension: str, in_clip: Rows, between: Rows, dev_flag: bool, tables: dict[str, str]) -> tuple[float, Rows]:
    """The official fusion, with the arguments that the official command line gives it."""
    from vbench2_beta_long.utils import fuse_inclip_clip2clip

    default = {"w_inclip": 1.0, "w_clip2clip": 0.0, "dev_flag": dev_flag}
    overall = statistics.fmean(row["video_results"] for row in between)
    return fuse_inclip_clip2clip(0.0, overall, in_clip, between, dimension, **default, **tables)


def over_videos(
    dimension: str, clip_scores: dict[str, list[float]], between: dict[str, float], tables: dict[str, str]
) -> dict[str, Any]:
    """All videos at once. `actual` is what official code answers, a mean over all clips: it names every clip a video of
    its own. `documented` is the mean of video means."""
    from vbench2_beta_long.utils import reorganize_clips_results

    detailed = [
        {"video_path": f"videos/split_clip/{name}/{name}_{index:03d}.mp4", "video_results": score}
        for name, scores in clip_scores.items()
        for index, score in enumerate(scores)
    ]
    actual, _, per_clip = reorganize_clips_results(detailed, dimension=dimension)
    scale = 100 if dimension == "imaging_quality" else 1
    told: dict[str, Any] = {
        "actual": float(actual),
        "documented": statistics.fmean(statistics.fmean(scores) for scores in clip_scores.values()) / scale,
    }
    if dimension in KINDS:
        between_rows = [{"video_path": f"{name}.mp4", "video_results": score} for name, score in between.items()]
        for name, dev_flag in (("dev_flag", True), ("default_flag", False)):
            overall, rows = fuse(dimension, per_clip, between_rows, dev_flag, tables)
            told[name] = {"actual": overall, "clips": [row["video_results"] for row in rows]}
    return told


def mapping(tables: dict[str, str]) -> dict[str, Any]:
    """What the official fusion maps numbers to: the ends, beyond them, entries of the table, and between them."""
    drawn = random.Random(0)
    asked = [-0.5, 0.0, 0.005, 0.01, 0.5, 0.57, 0.99, 0.995, 1.0, 1.5, *(drawn.random() for _ in range(20))]
    told: dict[str, Any] = {"asked": asked}
    for dimension in KINDS:
        rows = [{"video_path": f"{index}.mp4", "video_results": score} for index, score in enumerate(asked)]
        told[dimension] = [row["mapped_clip2clip_score"] for row in fuse(dimension, rows, rows, True, tables)[1]]
    return told


def losses(tables: dict[str, str]) -> dict[str, Any]:
    """Fusions that lose the clip-to-clip part: an underscore in the name, and no such score; one that keeps it."""
    from vbench2_beta_long.utils import reorganize_clips_results

    told: dict[str, Any] = {}
    for case, name, scored in (
        ("kept", "walk-0", "walk-0"),
        ("underscore", "my_walk", "my_walk"),
        ("missing", "a", "b"),
    ):
        clip = {"video_path": f"videos/split_clip/{name}/{name}_000.mp4", "video_results": 0.9}
        in_clip = reorganize_clips_results([clip])[2]
        between = [{"video_path": f"{scored}.mp4", "video_results": 0.75}]
        row = fuse("subject_consistency", in_clip, between, True, tables)[1][0]
        told[case] = {"name": name} | {key: value for key, value in row.items() if key != "video_path"}
    return told
