"""The JSON records of a corpus: an entry (the latents of one take) and a shard (a file of entries).

Owns their fields, strict reading and statistics. The record of a shard is written last, so the shard is done if the
record is readable and matches its file. Statistics are those of the stored numbers over all frames of a take.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from longtake.platform.store.json_records import from_json

DTYPES = ("bf16", "float16", "float32")
"""The dtypes of stored latents, by their names in specs and records."""


@dataclass(frozen=True)
class CorpusEntry:
    """The latents of one take: `key` names the tensor [frames, C, H, W] in shard number `shard`."""

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
    """A shard file and its entries. `left_out`: take id -> the reason why it has no entry."""

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
            raise ValueError(f"frames of {record.latent} {record.dtype} are not supported")
        return record


def describe(latents_TCHW: Tensor) -> dict[str, Any]:
    """The statistics of an entry; standard deviations are of the population (divided by the count)."""
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
    """The reason to leave out latents in the stored dtype; None if they are valid."""
    good = latents_TCHW.isfinite().flatten(1).all(1)
    if bool(good.all()):
        return None
    name = str(latents_TCHW.dtype).removeprefix("torch.")
    return f"latent frame {int((~good).nonzero()[0])} holds numbers that are not finite in {name}"
