"""Makes one take at a time: a plain class that keeps its backbone loaded and streams frames to the video as they come.

Commits through the store only, and looks there first: a take that is done is not made again, whoever asks. Blocks are
decoded and encoded by a thread of their own while the next ones are made: one block of frames is held, never a video.
Deterministic on a CPU: every sum is done by one thread, so that pixels do not depend on the machine.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from longtake.jobs.finishing import Finisher
from longtake.platform.errors import LongtakeError
from longtake.platform.fleet import Report
from longtake.platform.process import set_up_computing
from longtake.platform.records import TakeResult
from longtake.platform.resources import Resources
from longtake.platform.takes import Take

if TYPE_CHECKING:
    from longtake.platform.commit import TakeWriter
    from longtake.platform.store import SweepStore
    from longtake.platform.video import VideoInfo

LoadSampler = Callable[[str, Resources], Any]
VERSIONS_OF = ("longtake", "torch", "numpy", "av")


def load_sampler(backbone: str, resources: Resources) -> Any:
    from longtake.platform.generation.sampler import Sampler

    return Sampler(backbone, resources)


class SamplerWorker:
    """One at a time; another backbone replaces the one that is loaded."""

    def __init__(self, store: SweepStore, resources: Resources | None = None, load: LoadSampler = load_sampler):
        self.store, self.resources, self.load = store, resources or Resources(), load
        self.backbone = ""
        self.sampler: Any = None

    def run(self, payload: dict[str, Any], report: Report) -> dict[str, Any]:
        """Make the take (JSON in, TakeResult JSON out); a failure leaves nothing behind but the attempt counter."""
        take, store = Take.from_json(payload), self.store
        done = store.result(take.id) if store.is_done(take) else None
        if done is not None:
            return done.to_json()
        started = time.perf_counter()
        loading = self.ensure_loaded(take.backbone)
        with store.open_take(take) as writer:
            film = self.film(take, writer, report)
            timings = {"load": loading, **film.timings, "wall": time.perf_counter() - started}
            stats = self.sampler.stats | {"computed_on": self.sampler.computed_on}
            return writer.commit(make_result(take, film, stats, timings)).to_json()

    def ensure_loaded(self, backbone: str) -> float:
        """Seconds that loading took; 0 when it was there."""
        if backbone == self.backbone:
            return 0.0
        started = time.perf_counter()
        set_up_computing()
        self.sampler, self.backbone = None, ""
        self.sampler, self.backbone = self.load(backbone, self.resources), backbone
        return time.perf_counter() - started

    def film(self, take: Take, writer: TakeWriter, report: Report) -> Film:
        """Generate block by block; what is made goes to the video meanwhile."""
        from longtake.platform.backbones.base import backbones
        from longtake.platform.takes import canonical_json
        from longtake.platform.video import VideoWriter

        spec = backbones.get(take.backbone).spec
        rows, peak = 0, rss_bytes()
        with VideoWriter(writer.video_path, fps=spec.fps, width=spec.width, height=spec.height) as video:
            with (
                writer.trace_path.open("w", encoding="utf-8") as trace,
                closing(self.sampler.generate(take)) as blocks,
                Finisher(self.sampler.decoder(take), video) as finisher,
            ):
                for block in blocks:
                    finisher.put(block.latents)
                    trace.write(canonical_json(block.trace) + "\n")
                    rows, peak = rows + 1, max(peak, rss_bytes())
                    report({"done": block.index + 1, "total": block.total, "unit": "block"})
            with finisher.encode.running():
                info = video.close()
        if info.num_frames != take.num_frames:
            raise LongtakeError(f"take {take.id}: {info.num_frames} frames came out, {take.num_frames} were due")
        return Film(info, rows, peak, finisher.timings)


@dataclass(frozen=True)
class Film:
    """A written video: its facts, the rows of its trace, the most memory held after a block, seconds by stage."""

    info: VideoInfo
    trace_rows: int
    peak_rss_bytes: int
    timings: dict[str, float]


def make_result(take: Take, film: Film, stats: dict[str, Any], timings: dict[str, float]) -> TakeResult:
    """The record of a take; `stats` and `timings` are the sampler's and ours, in seconds."""
    info, seconds = film.info, {**stats.get("timings", {}), **timings}
    return TakeResult(
        take_id=take.id,
        video_sha256=info.sha256,
        video_bytes=info.bytes,
        num_frames=info.num_frames,
        fps=float(info.fps),
        width=info.width,
        height=info.height,
        timings={key: round(float(value), 4) for key, value in seconds.items()},
        bank_bytes=int(stats.get("bank_bytes", 0)),
        peak_rss_bytes=film.peak_rss_bytes,
        trace_rows=film.trace_rows,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in VERSIONS_OF},
            **stats.get("computed_on", {}),
        },
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )


def rss_bytes() -> int:
    """What this process holds now. The kernel's own peak would be that of the largest take so far, not of this one."""
    import psutil

    return int(psutil.Process().memory_info().rss)
