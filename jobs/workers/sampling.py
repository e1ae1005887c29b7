"""Generates and records takes, one or a few families at a time: a plain class with its backbone loaded.

Commits through the store only, and reads it first, so a take that is done is not generated again.
Deterministic on a CPU: one thread computes every sum, so pixels do not depend on the machine.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Hashable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.loaded import LoadedSampler, LoadSampler, load_sampler
from longtake.jobs.workers.recording import FamilyRecorder, Recording
from longtake.platform.build_info import code_version
from longtake.platform.machine.resources import Resources
from longtake.platform.store.records import TakeResult
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Report

if TYPE_CHECKING:
    from longtake.platform.backbones.base import BackboneSpec
    from longtake.platform.store.sweep import SweepStore

VERSIONS_OF = ("longtake", "torch", "numpy", "av")


@dataclass(frozen=True)
class MakeItem:
    """Takes to generate in one batch: of one or a few families, whose longest takes are of one cell."""

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

        Takes are committed as soon as their last block is done, those of equal length together: if one of these fails,
        none is. Reports tell the ids of those `made`.
        """
        done = {take.id: self.store.result(take.id) for take in payload.takes if self.store.is_done(take)}
        results = {take_id: result for take_id, result in done.items() if result is not None}
        missing = [take for take in payload.takes if take.id not in results]
        if missing:
            results |= self.make(missing, report)
        return [results[take.id] for take in payload.takes]

    def make(self, takes: list[Take], report: Report) -> dict[str, TakeResult]:
        from longtake.platform.backbones.base import backbones

        started, families = time.perf_counter(), list(by_family(takes).values())
        load_seconds, loaded = self.loaded.prepare(self.store, takes)
        report({"done": 0, "unit": "block"})  # loading has ended; from now on the pace of blocks counts
        longest, made = [family[0] for family in families], dict[str, TakeResult]()
        spec = backbones.get(takes[0].backbone).spec
        with ExitStack() as stack:
            blocks = stack.enter_context(closing(self.sampler.generate_together(longest)))
            recorders = [stack.enter_context(self.recorder(family, stack, spec)) for family in families]
            for rows in blocks:
                if rows[0].index == 0:
                    self.loaded.check(takes)  # the first block has loaded what the method needs
                ended = [one for recorder, block in zip(recorders, rows, strict=True) for one in recorder.add(block)]
                wall = time.perf_counter() - started
                share = {"load": load_seconds / len(families), "wall": wall / len(families)}
                stats = self.sampler.stats | {"computed_on": self.sampler.computed_on}
                for take, writer, recording in ended:
                    timings = recording.timings | share
                    made[take.id] = writer.commit(make_result(take, recording, stats, timings, loaded))
                told = {"made": list(made)} if made else {}
                report({"done": rows[0].index + 1, "total": rows[0].total, "unit": "block"} | told)
        return made

    def recorder(self, family: list[Take], stack: ExitStack, spec: BackboneSpec) -> FamilyRecorder:
        writers = [stack.enter_context(self.store.open_take(take)) for take in family]
        return FamilyRecorder(family, writers, self.sampler.decoder(family[0]), spec)


def by_family(takes: Iterable[Take]) -> dict[Hashable, list[Take]]:
    """The takes of each family, the longest first."""
    families: dict[Hashable, list[Take]] = {}
    for take in sorted(takes, key=lambda take: -take.latent_frames):
        families.setdefault(take.family, []).append(take)
    return families


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
