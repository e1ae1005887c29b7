"""Generates and records takes, one or a few of a cell at a time: a plain class with its backbone loaded.

Commits through the store only, and reads it first, so a take that is done is not generated again.
Deterministic on a CPU: one thread computes every sum, so pixels do not depend on the machine.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.loaded import LoadedSampler, LoadSampler, load_sampler
from longtake.jobs.workers.recording import Recording, TakeRecorder
from longtake.platform.build_info import code_version
from longtake.platform.machine.resources import Resources
from longtake.platform.store.records import TakeResult
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Report

if TYPE_CHECKING:
    from longtake.platform.store.commit import TakeWriter
    from longtake.platform.store.sweep import SweepStore

VERSIONS_OF = ("longtake", "torch", "numpy", "av")


@dataclass(frozen=True)
class MakeItem:
    """Takes of one cell to generate in one batch."""

    takes: tuple[Take, ...]


class SamplerWorker:
    """Runs one item at a time."""

    def __init__(self, store: SweepStore, resources: Resources | None = None, load: LoadSampler = load_sampler):
        self.store, self.loaded = store, LoadedSampler(resources or Resources(), load)

    @property
    def sampler(self) -> Any:
        return self.loaded.sampler

    def run(self, payload: MakeItem, report: Report) -> list[TakeResult]:
        """Generate the takes in one batch; returns their records in the same order.

        If one fails, none is committed; only the attempt counters remain.
        """
        done = {take.id: self.store.result(take.id) for take in payload.takes if self.store.is_done(take)}
        results = {take_id: result for take_id, result in done.items() if result is not None}
        missing = [take for take in payload.takes if take.id not in results]
        if missing:
            results |= self.make(missing, report)
        return [results[take.id] for take in payload.takes]

    def make(self, takes: list[Take], report: Report) -> dict[str, TakeResult]:
        started = time.perf_counter()
        load_seconds, loaded = self.loaded.prepare(self.store, takes)
        report({"done": 0, "unit": "block"})  # loading has ended; from now on the pace of blocks counts
        with ExitStack() as stack:
            writers = [stack.enter_context(self.store.open_take(take)) for take in takes]
            recordings = self.record(takes, writers, report)
            share = {"load": load_seconds / len(takes), "wall": (time.perf_counter() - started) / len(takes)}
            stats = self.sampler.stats | {"computed_on": self.sampler.computed_on}
            return {
                take.id: writer.commit(make_result(take, recording, stats, recording.timings | share, loaded))
                for take, writer, recording in zip(takes, writers, recordings, strict=True)
            }

    def record(self, takes: list[Take], writers: list[TakeWriter], report: Report) -> list[Recording]:
        """Generate block by block; finished blocks are written to the videos meanwhile."""
        from longtake.platform.backbones.base import backbones

        spec = backbones.get(takes[0].backbone).spec
        with ExitStack() as stack:
            blocks = stack.enter_context(closing(self.sampler.generate_together(takes)))
            recorders = [
                stack.enter_context(TakeRecorder(take, writer, self.sampler.decoder(take), spec))
                for take, writer in zip(takes, writers, strict=True)
            ]
            for rows in blocks:
                if rows[0].index == 0:
                    self.loaded.check(takes)  # the first block has loaded what the method needs
                for recorder, block in zip(recorders, rows, strict=True):
                    recorder.add(block)
                report({"done": rows[0].index + 1, "total": rows[0].total, "unit": "block"})
        return [recorder.recording for recorder in recorders]


def make_result(
    take: Take, recording: Recording, stats: dict[str, Any], timings: dict[str, float], loaded: dict[str, str]
) -> TakeResult:
    """The record of a take; `stats` comes from the sampler, `timings` (seconds) and `loaded` from this worker."""
    info, seconds = recording.info, {**stats.get("timings", {}), **timings}
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
        peak_rss_bytes=recording.peak_rss_bytes,
        trace_rows=recording.trace_rows,
        attended_frames=round(recording.attended_frames, 4),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in VERSIONS_OF},
            **({"commit": commit} if (commit := code_version()) else {}),
            **{key: str(value) for key, value in stats.get("computed_on", {}).items()},
        },
        loaded=loaded,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
