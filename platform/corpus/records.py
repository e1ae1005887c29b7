"""The records of a corpus, as they lie on disk as JSON: an entry (one take's latents) and a shard (a file of entries).

Owns their fields, their strict reading and the statistics. A shard's record is written last, so where it is readable
and matches its file, the shard is done. Statistics are those of the numbers as stored, over all of a take's frames.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import Tensor

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
        told = checked(cls, data)
        for name in ("channel_mean", "channel_std"):
            told[name] = tuple(check_number(name, value) for value in told[name])
        return cls(**told)

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
        told = checked(cls, data)
        if len(told["latent"]) != 3 or told["dtype"] not in DTYPES:
            raise ValueError(f"frames of {told['latent']} {told['dtype']} are not kept")
        told["latent"] = tuple(int(check_number("latent", size)) for size in told["latent"])
        told["entries"] = [CorpusEntry.from_json(entry) for entry in told["entries"]]
        return cls(**told)


KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "tuple": (list, tuple),
    "list": (list,),
    "dict": (dict,),
}


def checked(cls: Any, data: Any) -> dict[str, Any]:
    """`data` as keyword arguments for a record class. Raises ValueError that names the field."""
    kinds = {one.name: KINDS[str(one.type).partition("[")[0]] for one in fields(cls)}
    if not isinstance(data, dict) or set(data) != set(kinds):
        raise ValueError(f"it has not exactly the fields {', '.join(kinds)}")
    for name, value in data.items():
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise ValueError(f"{name} is {str(value)[:40]!r}")
    return dict(data)


def check_number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} holds {str(value)[:40]!r}")
    return value


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
