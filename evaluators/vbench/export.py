"""Converts a report of `longtake eval` to the result format of VBench-Long's code (vbench2_beta_long.utils).

    {dimension: [folder score, clips, averages]}             imaging quality in 0..100, but its folder score in 0..1
    {subject_consistency, background_consistency: [folder score, averages]}    averages with their fused parts

A clip or average is {"video_path", "video_results"}, with the path in the official split. By default an average is over
one video and the folder score is the mean over videos, as VBench documents. `mean-over-clips` does what its code does:
every clip is an average of its own, under a path of two parts. `underscore-names` cuts names at the first underscore;
videos with equal cut names share an average and the clip-to-clip score of the video of exactly that name, if any.
Missing scores are left out, and so is a dimension without any score: the official code cannot read null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longtake.evaluators.base import mean_of
from longtake.evaluators.clips import CLIP_SECONDS
from longtake.evaluators.vbench.settings import Settings

CLIP_TO_CLIP, MAPPED = "clip_to_clip", "mapped"
"""Numbers of a consistency dimension in a report: '<dimension>.clip_to_clip', and the same on the in-clip scale."""
FUSED = ("subject_consistency", "background_consistency")
IN_PERCENT = "imaging_quality"
BOOLEAN = "dynamic_degree"

Row = dict[str, Any]


@dataclass(frozen=True)
class Clip:
    """A scored clip. `group`: the name of its video; `average`: the path of the average that includes it."""

    path: str
    group: str
    average: str
    score: float


def vbench_results(
    videos: Mapping[str, Mapping[str, Any]], settings: Settings, dimensions: Sequence[str]
) -> dict[str, list[Any]]:
    """`videos`: name -> entry of a report. Returns the results of those `dimensions` that have a score."""
    results = {name: of_dimension(name, videos, settings) for name in dimensions}
    return {name: rows for name, rows in results.items() if rows[0] is not None}


def of_dimension(name: str, videos: Mapping[str, Mapping[str, Any]], settings: Settings) -> list[Any]:
    scale = 100 if name == IN_PERCENT else 1
    clips = [clip for video, entry in videos.items() for clip in clips_of(name, video, entry, settings)]
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.average, []).append(clip)
    averages: list[Row] = [
        {"video_path": path, "video_results": scale * math.fsum(clip.score for clip in group) / len(group)}
        for path, group in groups.items()
    ]
    if name in FUSED:
        between = clip_to_clip(name, videos)
        rows = [(row, between.get(groups[row["video_path"]][0].group)) for row in averages]
        averages = [fused for row, scores in rows if (fused := fused_row(row, scores, settings)) is not None]
        return [mean_of([row["video_results"] for row in averages]), averages]
    overall = mean_of([row["video_results"] for row in averages])
    shown = [{"video_path": clip.path, "video_results": as_official(name, clip.score)} for clip in clips]
    return [None if overall is None else overall / scale, shown, averages]


def as_official(name: str, score: float) -> float | bool:
    """The score of one clip in the scale and type of the official function."""
    if name == BOOLEAN:
        return bool(score)
    return score * 100 if name == IN_PERCENT else score


def clips_of(name: str, video: str, entry: Mapping[str, Any], settings: Settings) -> Iterator[Clip]:
    folder, stem = split_name(video)
    group = folder + (stem.split("_")[0] if settings.allows("underscore-names") else stem)
    own = settings.allows("mean-over-clips")
    for index, score in enumerate(entry["clips"].get(name, [])):
        if score is None:
            continue
        part = "full" if is_short(entry) else f"{index:03d}"
        path = f"{folder}{stem}/{stem}_{part}.mp4"
        average = f"{path}/{group.rpartition('/')[2]}.mp4" if own else f"{group}.mp4"
        yield Clip(path, group, average, score)


def split_name(video: str) -> tuple[str, str]:
    """(folder with its slash, name without .mp4) of a video in a report; other suffixes stay, as in VBench."""
    folder, slash, name = video.rpartition("/")
    return folder + slash, name.removesuffix(".mp4")


def is_short(entry: Mapping[str, Any]) -> bool:
    """Whether the video is shorter than a clip; the official split names such videos differently."""
    return bool(entry["frames"]) and entry["frames"] < CLIP_SECONDS * int(entry["fps"])


def has_clip_to_clip(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether a video's entry has a clip-to-clip score, or a reason for having none. Entries of releases that measured
    none without `long_range` have neither. A video without a score has nothing to fuse."""
    return entry["metrics"][name] is None or f"{name}.{CLIP_TO_CLIP}" in entry["drift"]


def clip_to_clip(name: str, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name without .mp4 -> (clip-to-clip score, the same mapped to the in-clip scale)."""
    by_name = {}
    for video, entry in videos.items():
        scores = entry["drift"].get(f"{name}.{CLIP_TO_CLIP}"), entry["drift"].get(f"{name}.{MAPPED}")
        if scores[0] is not None and scores[1] is not None:
            by_name["".join(split_name(video))] = scores[0], scores[1]
    return by_name


def fused_row(row: Row, between: tuple[float, float] | None, settings: Settings) -> Row | None:
    """An average of a consistency dimension with its parts; None if a required part is missing.

    The official code writes a missing clip-to-clip score as 0, also where it has no weight (without `long_range`).
    """
    path, in_clip = row["video_path"], row["video_results"]
    score, mapped = between or (0, 0.0)
    if not settings.long_range:
        return _parts(path, in_clip, score, mapped, in_clip)
    alone = settings.allows("missing-clip-to-clip") or settings.allows("underscore-names")
    if between is None and not alone:
        return None
    if mapped == 0 and alone:
        return _parts(path, in_clip, score, mapped, in_clip)
    from longtake.evaluators.vbench.consistency import fused

    return _parts(path, in_clip, score, mapped, fused(in_clip, mapped))


def _parts(path: str, in_clip: float, between: float, mapped: float, value: float) -> Row:
    return {
        "video_path": path,
        "inclip_score": in_clip,
        "clip2clip_score": between,
        "mapped_clip2clip_score": mapped,
        "video_results": value,
    }
