"""What dynamic_degree costs beside VBench's own way, pair by pair, and that both say the same of every clip.

    python tests/bench/vbench_motion.py VIDEO [--clips N] [--width PX] [--threads N]

Official: vbench's RAFT on every pair of sampled frames, then the decision. Ours: features of a frame used for both its
pairs, only the last flow upsampled, and an end as soon as the clip is decided. The weights are seeded, as trained ones
need a download; a factor on RAFT's last layer makes the same clips still, moving, or undecided until late, since how
soon a clip is decided is what trained weights and videos would decide. CPU-seconds, one process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from longtake.evaluators.base import VideoContext
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.metrics.vbench_dynamic import DynamicDegree, pairs_needed, step_of, threshold_px
from longtake.evaluators.model_pool import pool_of
from longtake.evaluators.models.bare import bare_attribute
from longtake.evaluators.models.base import load
from longtake.evaluators.models.published import published_shapes
from longtake.evaluators.views import ClipView
from longtake.platform.video.reading import probe, read_frames
from tests.parity.seeded import published

LAST = ("update_block.flow_head.conv2.weight", "update_block.flow_head.conv2.bias")
CASES = {"still": 0.0, "moving": 3.0, "as seeded": 1.0}


def clips_of(path: Path, count: int, width: int) -> list[ClipView]:
    head = probe(path)
    views = iter_clips(read_frames(path), head.fps, clip_frames(head.fps, head.width, head.height, path), path)
    size = width, round(width * head.height / head.width / 2) * 2
    found = []
    for view in views:
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in view.frames])
        found.append(ClipView(small, view.start_frame, view.fps))
        if len(found) == count:
            break
    return found


def official(view: ClipView, raft: Any) -> tuple[bool, int]:
    """VBench's decision on a clip, and how many pairs of it move, as vbench.dynamic_degree goes about it."""
    sampled = view.frames[:: step_of(view.fps)]
    frames = [torch.from_numpy(frame).permute(2, 0, 1).float()[None] for frame in sampled]
    limit, moving = threshold_px(*view.frames.shape[1:3]), 0
    with torch.no_grad():
        for first, second in itertools.pairwise(frames):
            height, width = first.shape[-2:]
            more_h, more_w = -height % 8, -width % 8
            edges = [more_w // 2, more_w - more_w // 2, more_h // 2, more_h - more_h // 2]
            pair = [torch.nn.functional.pad(frame, edges, mode="replicate") for frame in (first, second)]
            _, flow = raft(*pair, iters=20, test_mode=True)
            u, v = flow[0].numpy()
            lengths = np.sqrt(np.square(u) + np.square(v)).flatten()
            fastest = np.mean(abs(np.sort(-lengths))[: int(lengths.size * 0.05)])
            moving += bool(fastest > limit)
    return moving >= pairs_needed(len(frames), official=True), moving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--width", type=int, default=416)
    parser.add_argument("--threads", type=int, default=1)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    views = clips_of(told.video, told.clips, told.width)
    model = bare_attribute("vbench.third_party.RAFT.core.raft", "RAFT", "vbench")
    raft = model(Namespace(small=False, mixed_precision=False, alternate_corr=False)).eval()
    seeded = published("raft-things", published_shapes("raft-things"))
    for case, factor in CASES.items():
        weights = seeded | {name: seeded[name] * factor for name in LAST}
        raft.load_state_dict(weights)
        network = load("raft", weights={"raft-things": weights})
        height, width = views[0].frames.shape[1:3]
        context = VideoContext(told.video, views[0].fps, width, height, 0, model_pool=pool_of({"raft": network}))
        run = DynamicDegree().open(context)
        seconds, answers, moving = {"official": 0.0, "ours": 0.0}, [], []
        for view in views:
            started = time.process_time()
            whether, count = official(view, raft)
            seconds["official"] += time.process_time() - started
            started = time.process_time()
            ours = run.clip(view)
            seconds["ours"] += time.process_time() - started
            answers.append(bool(ours) == whether)
            moving.append(count)
        ratio = seconds["official"] / seconds["ours"]
        row = {"clips": len(views), "size": f"{width}x{height}", "pairs that move": moving, "same": all(answers)}
        print(json.dumps({"case": case, **row, **{k: round(s, 1) for k, s in seconds.items()}, "x": round(ratio, 2)}))


if __name__ == "__main__":
    main()
