"""What a sweep costs beside its videos and scores: takes per second, and the CPU time of a resume and of a plan.

    python -m tests.bench.large_sweep [TAKES] [--left 8000] [--seconds 40] [--folder FOLDER]

Expands a real sweep file to TAKES takes and writes all but `--left` of them to the store as made and scored. `plan` is
`longtake plan`; `resume` is `longtake run` up to its first item; `loop` runs the rest for `--seconds` with workers that
compute nothing, but commit a small video with a trace and write scores as the real ones do. CPU seconds are those of
this process, imports excluded. `--folder` keeps the store for the next call, which then resumes it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background.publisher import Publisher
from longtake.jobs.background.ranker import Ranker, RankTarget
from longtake.jobs.sweep import plan, run
from longtake.jobs.sweep.estimates.busy_time import EVALUATORS, SAMPLERS
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.sweep.progress import SweepProgress
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.workers.run_loop import Step, run_until_done
from longtake.jobs.workers.sampling import MakeItem
from longtake.jobs.workers.scoring import ScoreItem
from longtake.platform.errors import Interrupted
from longtake.platform.store import durable
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from longtake.platform.video.writing import VideoWriter
from longtake.platform.workers.fleet import Group, Node
from longtake.platform.workers.inline import InlineFleet
from longtake.platform.workers.ray_cluster import Cluster
from longtake.platform.workers.signals import StopFlag

POOL = Path(__file__).parents[2] / "jobs" / "corpora" / "prompts" / "pocket-pool.txt"
PROMPTS, CELLS = 50, 20
CLIPS = 15
SWEEP = """
name: large
backbones: [pocket]
methods: [native, native-relative, {{rag: {{descriptor: avg-pool}}}}, random-memory, oracle-memory]
lengths_s: [30, 60, 120, 240]
prompts: {{file: {prompts}, limit: 50}}
seeds: {seeds}
suites: [classical]
output: {output}
tracking: {{uri: disabled}}
workers: {{cluster: inline, batch: 1}}
"""


@dataclass(frozen=True)
class Video:
    """The video of every take, and its record."""

    data: bytes
    result: TakeResult

    def result_of(self, take: Take) -> TakeResult:
        return replace(self.result, take_id=take.id)


def small_video(folder: Path) -> Video:
    writer = VideoWriter(folder / "small.mp4", fps=16, width=64, height=64)
    writer.write(np.zeros((4, 64, 64, 3), np.uint8))
    info = writer.close()
    timings = dict.fromkeys(("load", "generate", "decode", "encode", "wait", "wall"), 0.5)
    versions = {"python": "3", "torch": "2", "device": "cpu", "dtype": "float32", "attention": "torch"}
    result = TakeResult(
        "", info.sha256, info.bytes, info.num_frames, 16.0, 64, 64,
        timings=timings, trace_rows=1, versions=versions, worker="bench",
    )  # fmt: skip
    return Video((folder / "small.mp4").read_bytes(), result)


def scores_of(entry: SuiteEntry, video: Video) -> VideoScores:
    names = [metric.name for metric in entry.metrics.values()]
    clips = [round(0.5 + k / 97, 12) for k in range(CLIPS)]
    seconds = [2.0 * k for k in range(CLIPS)]
    drift = {f"{name}.{part}": 0.01 for name in names for part in ("slope_per_min", "quarter_diff")}
    return VideoScores(
        entry.label, entry.suite.protocol, video.result.video_sha256, dict.fromkeys(names, 0.5), drift,
        dict.fromkeys(names, clips), {}, dict.fromkeys(names, seconds), entry.stamp,
    )  # fmt: skip


class Sampler:
    def __init__(self, store: SweepStore, video: Video):
        self.store, self.video = store, video

    def run(self, payload: MakeItem, report: Callable[[dict[str, Any]], None]) -> list[TakeResult]:
        results = []
        for take in payload.takes:
            with self.store.open_take(take) as writer:
                writer.video_path.write_bytes(self.video.data)
                writer.trace_path.write_text("{}\n")
                results.append(writer.commit(self.video.result_of(take)))
        report({"done": 1, "total": 1, "unit": "block"})
        return results


class Evaluator:
    def __init__(self, store: SweepStore, scores: VideoScores):
        self.store, self.scores = store, scores

    def run(self, payload: ScoreItem, report: Callable[[dict[str, Any]], None]) -> dict[str, VideoScores]:
        self.store.write_scores(payload.take.id, self.scores)
        return {self.scores.suite: self.scores}


class Until(StopFlag):
    """Set at a time."""

    def __init__(self, seconds: float):
        super().__init__()
        self.at, self.signal_name = time.monotonic() + seconds, "the end of the measurement"

    @property
    def is_set(self) -> bool:
        return time.monotonic() > self.at


def write_sweep(folder: Path, takes: int) -> Path:
    seeds = list(range(max(1, takes // (PROMPTS * CELLS))))
    path = folder / "large.yaml"
    path.write_text(SWEEP.format(prompts=POOL, seeds=seeds, output=folder / "runs"))
    return path


def fill(grid: Grid, store: SweepStore, video: Video, left: int) -> None:
    """Writes the plan, and all takes but the last ones as made and scored; not synced. Skips what is there."""
    with store.lock():
        store.write_plan(grid.config_yaml, grid.takes)
    scores = durable.json_bytes(scores_of(grid.suites[0], video).to_json())
    first = store.folder / "small.mp4"
    first.write_bytes(video.data)
    for number, take in enumerate(islice(grid.takes, max(0, len(grid.takes) - left))):
        folder = store.video(take.id).parent
        if (folder / "result.json").exists():
            continue
        if number % 50_000 == 0:  # a file has at most 65,000 links
            first.unlink()
            first.write_bytes(video.data)
        (folder / "scores").mkdir(parents=True)
        os.link(first, folder / "video.mp4")
        (folder / "trace.jsonl").write_bytes(b"{}\n")
        (folder / "attempts.log").write_bytes(b"2026-01-01T00:00:00+00:00 bench:1\n")
        (folder / "result.json").write_bytes(durable.json_bytes(video.result_of(take).to_json()))
        (folder / "scores" / "classical.json").write_bytes(scores)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=160)


@dataclass
class Clock:
    """CPU and wall seconds since it was made."""

    cpu: float = 0.0
    wall: float = 0.0

    def __post_init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def row(self, name: str) -> str:
        return f"{name},{time.process_time() - self.cpu:.2f},{time.perf_counter() - self.wall:.2f}"


def measure_plan(file: Path) -> None:
    clock = Clock()
    plan.show(expand(file, need_weights=False), quiet())
    print(clock.row("plan"), flush=True)


def measure_run(file: Path, video: Video, seconds: float) -> None:
    """`longtake run` with the stand-in workers: up to its first item, then its loop."""
    clock = Clock()
    grid = expand(file)
    plan.check_capacity(grid)
    store = SweepStore(Path(grid.sweep.output).absolute(), grid.sweep.name)
    with store.lock():
        store.write_plan(grid.config_yaml, grid.takes)
        with SweepProgress(quiet(), store.name) as view:
            scheduler = Scheduler(store, grid.takes, grid.suites, view.say)
            steps = scheduler.read()
            scheduler.index.save()
            store.sweep_leftovers_of([take.id for take in grid.takes if take.id not in scheduler.scored])
            scheduler.time_left = run.time_left_of(
                grid, scheduler.tally, Cluster("inline", [Node(1.0, 0.0)], StopFlag())
            )
            steps = scheduler.start(steps, 1)
            run.announce(grid, store, len(scheduler.made), quiet())
            print(clock.row("resume"), flush=True)
            with Ranker(RankTarget(grid.plugins, store, grid.suites)) as ranker:
                monitor = run.SweepMonitor(scheduler, view, Publisher(run.target_of(grid, store)), ranker)
                measure_loop(grid.suites[0], steps, monitor, video, seconds)


def measure_loop(suite: SuiteEntry, steps: list[Step], monitor: run.SweepMonitor, video: Video, seconds: float) -> None:
    scheduler, store, stop, clock = monitor.scheduler, monitor.store, Until(seconds), Clock()
    scores = scores_of(suite, video)
    groups = [
        Group(SAMPLERS, lambda: Sampler(store, video), 1),
        Group(EVALUATORS, lambda: Evaluator(store, scores), 1),
    ]
    fleet = InlineFleet(groups, scheduler.on_start, StopFlag(), lambda: monitor.show(fleet.running()))
    before = len(scheduler.scored)
    with suppress(Interrupted):
        run_until_done(scheduler, steps, fleet, stop, lambda: monitor.on_poll(fleet), monitor.view.say)
    scored = len(scheduler.scored) - before
    print(f"{clock.row('loop')}  {scored} takes, {scored / (time.perf_counter() - clock.wall):.1f} takes/s", flush=True)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("takes", type=int, nargs="?", default=100_000)
    parser.add_argument("--left", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file, video = write_sweep(folder, options.takes), small_video(folder)
        grid = expand(file)
        fill(grid, SweepStore(folder / "runs", "large"), video, options.left)
        print(f"{len(grid.takes)} takes, {options.left} left\nwhat,cpu_seconds,wall_seconds", flush=True)
        del grid
        measure_plan(file)
        measure_run(file, video, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
