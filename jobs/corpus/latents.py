"""`LatentWorker` makes one shard of a corpus at a time: it samples the planned takes or reads them from files.

A plain class that keeps its backbone loaded and decodes nothing. It checks the store first and never makes a finished
shard again. A shard that fails leaves nothing in the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from longtake.jobs.corpus import imports
from longtake.jobs.workers.loaded import LoadedSampler
from longtake.platform.corpus.records import ShardRecord
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import Resources
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Report

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from longtake.platform.corpus.writer import CorpusStore

VERSIONS_OF = ("longtake", "torch", "numpy")


class Source(Protocol):
    """Where the latents of takes come from: take id -> [T, C, H, W] on the CPU."""

    def latents(self, takes: list[Take], kind: dtype, report: Report) -> dict[str, Tensor]: ...

    @property
    def computed_on(self) -> dict[str, str]: ...


class Sampled:
    """Samples latents, `batch` takes at a time; on a CPU the batch size does not change a bit of them.

    Like a sampler of a sweep, it refuses takes that were planned with other weights or code.
    """

    def __init__(self, store: CorpusStore, resources: Resources, batch: int):
        self.store, self.batch, self.loaded = store, batch, LoadedSampler(resources)

    @property
    def computed_on(self) -> dict[str, str]:
        return dict(self.loaded.sampler.computed_on)

    def latents(self, takes: list[Take], kind: dtype, report: Report) -> dict[str, Tensor]:
        self.loaded.prepare(self.store, takes)
        report({"done": 0, "unit": "block"})
        result: dict[str, Tensor] = {}
        batches = [takes[at : at + self.batch] for at in range(0, len(takes), self.batch)]
        for number, batch in enumerate(batches):
            result |= self.together(batch, kind, report, number, len(batches))
        return result

    def together(
        self, takes: Sequence[Take], kind: dtype, report: Report, number: int, batches: int
    ) -> dict[str, Tensor]:
        """Samples batch `number` of `batches`."""
        import torch

        parts: list[list[Tensor]] = [[] for _ in takes]
        with closing(self.loaded.sampler.generate_together(takes)) as blocks:
            for rows in blocks:
                if rows[0].index == 0:
                    self.loaded.check(takes)  # the first block has loaded what the method needs
                for part, block in zip(parts, rows, strict=True):
                    part.append(block.latents.to("cpu", kind, copy=True))
                index, total = rows[0].index, rows[0].total
                report({"done": number * total + index + 1, "total": batches * total, "unit": "block"})
        return {take.id: torch.cat(part) for take, part in zip(takes, parts, strict=True)}


class Imported:
    """Reads latents from a folder of files; the prompt of a take is the name of its file."""

    computed_on: dict[str, str] = {}

    def __init__(self, folder: Path):
        self.folder = folder

    def latents(self, takes: list[Take], kind: dtype, report: Report) -> dict[str, Tensor]:
        read: dict[str, Tensor] = {}
        for number, take in enumerate(takes, 1):
            read[take.id] = imports.read(self.folder / take.prompt).to(kind, copy=True).contiguous()
            report({"done": number, "total": len(takes), "unit": "file"})
        return read


@dataclass(frozen=True)
class ShardItem:
    """A shard to make: its number and its takes."""

    number: int
    takes: list[Take]


class LatentWorker:
    """Makes one shard at a time and commits it through the store."""

    def __init__(self, store: CorpusStore, source: Source):
        self.store, self.source = store, source

    def run(self, payload: ShardItem, report: Report) -> ShardRecord:
        number, takes = payload.number, payload.takes
        record = self.store.record(number, takes)
        if record is None:
            self.store.clear(number)
            started = time.perf_counter()
            latents = self.source.latents(takes, torch_dtype(self.store.dtype), report)
            versions = {name: version(name) for name in VERSIONS_OF} | self.source.computed_on
            record = self.store.commit(number, takes, latents, time.perf_counter() - started, versions)
        return record
