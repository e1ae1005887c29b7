"""Reads a corpus of latents: its entries in the order of the plan, and any range of frames of an entry.

Owns the layout of a corpus on disk; `writer.py` writes it. Shards are memory-mapped, so reading frames costs only these
frames, for any length of the take and size of the file.
Shapes: a take is [T, C, H, W], with T its latent frames.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.platform.corpus.mapped import MappedTensors
from longtake.platform.corpus.records import CorpusEntry, ShardRecord
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.settings import config
from longtake.platform.store import durable

SPEC, PLAN, INDEX, SHARDS = "corpus.yaml", "plan.jsonl", "index.jsonl", "shards"
IMPORTED = "imported"
REHASH = "check it with longtake corpus SPEC.yaml --verify"
MAKE = "make it with longtake corpus SPEC.yaml"


def shard_file(folder: Path, number: int) -> Path:
    return folder / SHARDS / f"{number:05}.safetensors"


def record_file(folder: Path, number: int) -> Path:
    return folder / SHARDS / f"{number:05}.json"


def read_shard(folder: Path, number: int) -> ShardRecord | None:
    """The shard's record if the shard is done: the record is readable, has its number and the size of its file."""
    data = durable.read_json(record_file(folder, number))
    try:
        record = ShardRecord.from_json(data)
        size = shard_file(folder, number).stat().st_size
    except (OSError, ValueError):
        return None
    return record if (record.shard, record.bytes) == (number, size) else None


class Corpus:
    """A finished corpus. Plain data and lazily opened files, so it pickles; every process maps the files itself."""

    def __init__(
        self,
        folder: Path,
        name: str,
        backbone: str,
        latent: tuple[int, int, int],
        dtype: torch.dtype,
        entries: list[CorpusEntry],
        digest: str,
    ) -> None:
        self.folder, self.name, self.backbone = folder, name, backbone
        self.latent, self.dtype, self.entries, self.digest = latent, dtype, entries, digest
        self._files: dict[int, MappedTensors] = {}

    @classmethod
    def open(cls, folder: Path | str) -> Corpus:
        """Reads the index and checks it against the records and sizes of the shards; reads no latents.

        Raises ConfigError of one line for missing, foreign, empty or resized files, and for mixed shapes.
        """
        folder = Path(folder)
        spec = read_spec(folder)
        entries = read_index(folder)
        records = [find_shard(folder, number) for number in dict.fromkeys(entry.shard for entry in entries)]
        check_alike(folder, records)
        check_listed(folder, entries, records)
        digest = hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()
        first = records[0]
        backbone = str(spec.get("backbone") or IMPORTED)
        return cls(folder, str(spec["name"]), backbone, first.latent, torch_dtype(first.dtype), entries, digest)

    def __len__(self) -> int:
        return len(self.entries)

    def frames(self, entry: int, first: int, count: int) -> Tensor:
        """A copy of latent frames first .. first + count - 1 of an entry: [count, C, H, W] in the stored dtype.

        Raises ConfigError for frames that the entry does not have, and StorageError if the stored latents do not match
        the index or are not finite.
        """
        record = self.entries[entry]
        if first < 0 or count < 1 or first + count > record.frames:
            raise ConfigError(
                f"{self.folder}: entry {entry} has latent frames 0 to {record.frames - 1}, not {first} to "
                f"{first + count - 1}; ask for fewer"
            )
        path = shard_file(self.folder, record.shard)
        try:
            if record.shard not in self._files:
                self._files[record.shard] = MappedTensors(path)
            latents = self._files[record.shard].rows(record.key, first, count)
        except (OSError, ValueError, AttributeError, KeyError, RuntimeError) as error:  # a damaged header
            raise StorageError(f"{path}: {record.key} cannot be read ({error}); {REHASH}") from error
        if tuple(latents.shape) != (count, *self.latent) or latents.dtype != self.dtype:
            raise StorageError(f"{path}: {record.key} is {list(latents.shape)} {latents.dtype}; {REHASH}")
        if not torch.stack(latents.aminmax()).isfinite().all():  # the extremes are NaN if any number is
            raise StorageError(f"{path}: {record.key} holds latents that are not finite; {REHASH}")
        return latents

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}


def read_spec(folder: Path) -> dict[str, Any]:
    """Reads corpus.yaml. Raises ConfigError if the folder is not a corpus."""
    if not os.path.isdir(folder):
        what = "is a file; give the folder of a corpus" if os.path.exists(folder) else f"no such folder; {MAKE}"
        raise ConfigError(f"{folder}: {what}")
    if not (folder / SPEC).is_file():
        raise ConfigError(f"{folder}: is not a corpus (no {SPEC}); give the folder that longtake corpus printed")
    spec = config.load_yaml(folder / SPEC)
    if not isinstance(spec.get("name"), str):
        raise ConfigError(f"{folder / SPEC}: has no name of a corpus; {MAKE} again")
    return spec


def read_index(folder: Path) -> list[CorpusEntry]:
    """Reads the index. Raises ConfigError if it is missing or empty, or if a line is not an entry."""
    path = folder / INDEX
    if not path.is_file():
        raise ConfigError(f"{path}: is missing, so the corpus is not finished; run longtake corpus SPEC.yaml again")
    with durable.storage_errors(path, "read the index"):
        lines = path.read_bytes().splitlines()
    if not lines:
        raise ConfigError(f"{path}: has no entry, so the corpus is empty; {MAKE} again")
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(CorpusEntry.parse(line))
        except ValueError as error:
            raise ConfigError(f"{path}: line {number} is not an entry ({error}); {MAKE} again") from error
    return entries


def find_shard(folder: Path, number: int) -> ShardRecord:
    record = read_shard(folder, number)
    if record is None:
        path = shard_file(folder, number)
        wrong = "its size differs from its record" if path.is_file() else "is missing"
        raise ConfigError(f"{path}: {wrong}, or its record is damaged; run longtake corpus SPEC.yaml again to make it")
    return record


def check_alike(folder: Path, records: list[ShardRecord]) -> None:
    """Raises ConfigError unless all shards have frames of one shape and dtype."""
    first = records[0]
    for record in records[1:]:
        if (record.latent, record.dtype) != (first.latent, first.dtype):
            raise ConfigError(
                f"{shard_file(folder, record.shard)}: has frames {list(record.latent)} {record.dtype}, but shard "
                f"{first.shard} has {list(first.latent)} {first.dtype}; make a corpus for each shape"
            )


def check_listed(folder: Path, entries: list[CorpusEntry], records: list[ShardRecord]) -> None:
    """Raises ConfigError unless every entry of the index is an entry of its shard, exactly once."""
    by_key = {(entry.shard, entry.key): entry for record in records for entry in record.entries}
    for number, entry in enumerate(entries, 1):
        if by_key.pop((entry.shard, entry.key), None) != entry:
            raise ConfigError(
                f"{folder / INDEX}: line {number}: {entry.key} does not match shard {entry.shard}, or is listed twice; "
                f"{MAKE} again"
            )
