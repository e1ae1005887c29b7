"""The records of a corpus, as they lie on disk as JSON: an entry (one take's latents) and a shard (a file of entries).

Owns their fields, their strict reading and the statistics. A shard's record is written last, so where it is readable
and matches its file, the shard is done. Statistics are those of the numbers as stored, over all of a take's frames.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from longtake.platform.store.json_records import from_json

DTYPES = ("bf16", "float16", "float32")
"""What latents may be kept in, by the name that a spec and a record say."""


@dataclass(frozen=True)
class CorpusEntry:
    """One take's latents: `key` names its tensor [frames, C, H, W] in shard number `shard`."""

    take_id: str
    prompt: str
    seed: int
    frames: int
    shard: int
    key: str
    mean: float
    std: float
    minimum: float
    maximum: float
    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> CorpusEntry:
        """Raises ValueError unless `data` has exactly these fields, of these types."""
        return from_json(cls, data, exact=True)

    @classmethod
    def parse(cls, line: bytes) -> CorpusEntry:
        return cls.from_json(json.loads(line))


@dataclass(frozen=True)
class ShardRecord:
    """A shard file and what is in it. `left_out`: take id -> why it has no entry."""

    shard: int
    bytes: int
    sha256: str
    dtype: str
    latent: tuple[int, int, int]
    entries: list[CorpusEntry]
    left_out: dict[str, str]
    seconds: float = 0.0
    worker: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def take_ids(self) -> set[str]:
        return {entry.take_id for entry in self.entries} | set(self.left_out)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> ShardRecord:
        """Raises ValueError unless `data` has exactly these fields, of these types."""
        record = from_json(cls, data, exact=True)
        if len(record.latent) != 3 or record.dtype not in DTYPES:
            raise ValueError(f"frames of {record.latent} {record.dtype} are not kept")
        return record


def describe(latents_TCHW: Tensor) -> dict[str, Any]:
    """An entry's statistics; standard deviations are those of the numbers themselves (divided by their count)."""
    values = latents_TCHW.double()
    channels = values.transpose(0, 1).flatten(1)
    return {
        "mean": float(values.mean()),
        "std": float(values.std(correction=0)),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "channel_mean": tuple(channels.mean(1).tolist()),
        "channel_std": tuple(channels.std(1, correction=0).tolist()),
    }


def unfit(latents_TCHW: Tensor) -> str | None:
    """Why latents, as they would be stored, are not kept; None if they are."""
    good = latents_TCHW.isfinite().flatten(1).all(1)
    if bool(good.all()):
        return None
    name = str(latents_TCHW.dtype).removeprefix("torch.")
    return f"latent frame {int((~good).nonzero()[0])} holds numbers that are not finite in {name}"
