"""The clips of a video by the part of its prompt.

A clip belongs to the text at its middle frame, so with one switch in a clip to the text of most of its frames. For each
metric, `<metric>.at_text_1`, `at_text_2`, ... are the means of the clip scores of each part.
"""

from __future__ import annotations

from collections.abc import Sequence

from longtake.evaluators.base import VideoContext, mean_of
from longtake.evaluators.clips import CLIP_SECONDS
from longtake.platform.takes import Take

NO_CLIP = "no clip with this text has a score"


def parts_of(take: Take, ctx: VideoContext, starts_s: Sequence[float]) -> list[int]:
    """The index of the part of each clip; `starts_s`: their first frames in seconds."""
    half = min(CLIP_SECONDS * int(ctx.fps), ctx.num_frames) // 2
    return [take.part_at(round(start * ctx.fps) + half) for start in starts_s]


def means_by_part(
    take: Take, clips: Sequence[float | None], parts: Sequence[int]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """(the mean of each part by its name, reasons for those that are None)"""
    scores: list[list[float | None]] = [[] for _ in take.texts]
    for score, part in zip(clips, parts, strict=True):
        scores[part].append(score)
    means = {f"at_text_{number}": mean_of(some) for number, some in enumerate(scores, 1)}
    return means, {name: NO_CLIP for name, mean in means.items() if mean is None}
