"""Which places a pocket sweep's takes show again, read from the frames before they are encoded.

    python -m tests.bench.revisit_frames SWEEP.yaml [key=value ...]

For comparing many settings where encoding, decoding and storing would take longer than the question is worth. The
metrics are those of the suite `pocket`, on frames that did not pass through H.264: hit rates hardly differ, PSNR has no
ceiling of 33.4 dB. Prints a CSV row per cell, metric and part of the video: the mean over takes. Stores nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from longtake.evaluators.base import Unscorable, VideoContext
from longtake.evaluators.clips import iter_clips
from longtake.evaluators.metrics.revisit import Revisit, RevisitHit, RevisitHitTrue, RevisitPsnr, RevisitPsnrTrue
from longtake.jobs.sweep.grid import expand
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.process import set_up_computing
from longtake.platform.takes import Take

BATCH = 4
Scores = dict[tuple[str, str], float | None]
"""(metric, part of the video) -> value."""


def scores_of(sampler: Sampler, takes: list[Take]) -> Iterator[Scores]:
    """The scores of each take of a batch."""
    decoders = [sampler.decoder(take) for take in takes]
    frames: list[list[np.ndarray]] = [[] for _ in takes]
    for rows in sampler.generate_together(takes):
        for row, block in enumerate(rows):
            frames[row].append(decoders[row].push(block.latents))
    for take, video in zip(takes, frames, strict=True):
        yield scored(take, np.concatenate(video), sampler.backbone.spec.fps)


def scored(take: Take, frames_NHWC: np.ndarray, fps: float) -> Scores:
    height, width = frames_NHWC.shape[1:3]
    ctx = VideoContext(Path("frames"), fps, width, height, len(frames_NHWC)).of_take(take)
    metrics: tuple[type[Revisit], ...] = (RevisitHit, RevisitPsnr)
    if take.prefix_frames:
        metrics = (RevisitHitTrue, RevisitPsnrTrue)
    scores: Scores = {}
    for metric in metrics:
        run, clips = metric().open(ctx), list[float | None]()
        for view in iter_clips([frames_NHWC], fps, 2 * int(fps), ctx.path):
            try:
                clips.append(run.clip(view))
            except Unscorable:
                clips.append(None)
        value = run.finish(clips)
        scores |= {(metric.name, "whole"): value.value} | {(metric.name, part): v for part, v in value.extra.items()}
    return scores


def main(words: list[str]) -> int:
    set_up_computing()
    samplers: dict[str, Sampler] = {}
    print("backbone,method,seconds,metric,part,takes,mean", flush=True)
    for cell, takes in expand(Path(words[0]), words[1:]).cells.items():
        sampler = samplers.setdefault(cell.backbone, samplers.get(cell.backbone) or Sampler(cell.backbone))
        batches = [takes[start : start + BATCH] for start in range(0, len(takes), BATCH)]
        scores = [one for batch in batches for one in scores_of(sampler, batch)]
        for key in scores[0]:
            values = [one[key] for one in scores if one[key] is not None]
            mean = f"{np.mean(values):.4f}" if values else ""
            print(cell.backbone, cell.method, cell.seconds, *key, len(values), mean, sep=",", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
