"""A corpus of latents as its readers see it: entries in the order of the plan, and any frames of any of them.

Owns what a corpus looks like on disk and the reading of it; `corpus_writer.py` makes it. A shard is mapped, never
loaded: so many frames cost so many frames of reading, whatever the length of the take and the size of the file.
Shapes: a take is [T, C, H, W], with T its latent frames.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.platform import config
from longtake.platform.corpus.mapped import MappedTensors
from longtake.platform.corpus.records import CorpusEntry, ShardRecord
from longtake.platform.dtypes import torch_dtype
from longtake.platform.errors import ConfigError, StorageError
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
    """The shard's record if it is done: readable, about this shard, and of the size of the file beside it."""
    data = durable.read_json(record_file(folder, number))
    try:
        record = ShardRecord.from_json(data)
        size = shard_file(folder, number).stat().st_size
    except (OSError, ValueError):
        return None
    return record if (record.shard, record.bytes) == (number, size) else None


class Corpus:
    """A finished corpus. Plain data and lazily opened files, so that it pickles; each process maps for itself."""

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
        """Read the index and hold it against the shards' records and sizes; no latents are read.

        Raises ConfigError of one line for what is missing, foreign, empty, of another size or of mixed shapes.
        """
        folder = Path(folder)
        told = read_spec(folder)
        entries = read_index(folder)
        records = [find_shard(folder, number) for number in dict.fromkeys(entry.shard for entry in entries)]
        check_alike(folder, records)
        check_listed(folder, entries, records)
        digest = hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()
        first = records[0]
        backbone = str(told.get("backbone") or IMPORTED)
        return cls(folder, str(told["name"]), backbone, first.latent, torch_dtype(first.dtype), entries, digest)

    def __len__(self) -> int:
        return len(self.entries)

    def frames(self, entry: int, first: int, count: int) -> Tensor:
        """Latent frames first .. first + count - 1 of an entry: [count, C, H, W], a copy in the stored dtype.

        Raises ConfigError for frames that the entry has not, StorageError when what is stored is not what the index
        says or holds numbers that are not finite.
        """
        one = self.entries[entry]
        if first < 0 or count < 1 or first + count > one.frames:
            raise ConfigError(
                f"{self.folder}: entry {entry} has latent frames 0 to {one.frames - 1}, not {first} to "
                f"{first + count - 1}; ask for fewer"
            )
        path = shard_file(self.folder, one.shard)
        try:
            if one.shard not in self._files:
                self._files[one.shard] = MappedTensors(path)
            found = self._files[one.shard].rows(one.key, first, count)
        except (OSError, ValueError, AttributeError, KeyError, RuntimeError) as error:  # a damaged header
            raise StorageError(f"{path}: {one.key} cannot be read ({error}); {REHASH}") from error
        if tuple(found.shape) != (count, *self.latent) or found.dtype != self.dtype:
            raise StorageError(f"{path}: {one.key} is {list(found.shape)} {found.dtype}; {REHASH}")
        if not torch.stack(found.aminmax()).isfinite().all():  # an extreme is NaN where any number is
            raise StorageError(f"{path}: {one.key} holds latents that are not finite; {REHASH}")
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}


def read_spec(folder: Path) -> dict[str, Any]:
    """corpus.yaml of a folder that is a corpus. Raises ConfigError where it is none."""
    if not folder.is_dir():
        what = "is a file; name the folder of a corpus" if folder.exists() else f"there is no such folder; {MAKE}"
        raise ConfigError(f"{folder}: {what}")
    if not (folder / SPEC).is_file():
        raise ConfigError(f"{folder}: is no corpus, it has no {SPEC}; name the folder that longtake corpus printed")
    told = config.load_yaml(folder / SPEC)
    if not isinstance(told.get("name"), str):
        raise ConfigError(f"{folder / SPEC}: names no corpus; {MAKE} again")
    return told


def read_index(folder: Path) -> list[CorpusEntry]:
    """Raises ConfigError when there is none, it lists nothing, or a line of it is no entry."""
    path = folder / INDEX
    if not path.is_file():
        raise ConfigError(f"{path}: is not there, the corpus is not finished; run longtake corpus SPEC.yaml again")
    with durable.storage_errors(path, "read the index"):
        lines = path.read_bytes().splitlines()
    if not lines:
        raise ConfigError(f"{path}: lists no entry, the corpus is empty; {MAKE} again")
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(CorpusEntry.parse(line))
        except ValueError as error:
            raise ConfigError(f"{path}: line {number} is no entry ({error}); {MAKE} again") from error
    return entries


def find_shard(folder: Path, number: int) -> ShardRecord:
    record = read_shard(folder, number)
    if record is None:
        path = shard_file(folder, number)
        wrong = "has another size than its record says" if path.is_file() else "is not there"
        raise ConfigError(f"{path}: {wrong}, or its record is damaged; run longtake corpus SPEC.yaml again to make it")
    return record


def check_alike(folder: Path, records: list[ShardRecord]) -> None:
    """ConfigError unless all shards hold frames of one shape and one type."""
    first = records[0]
    for record in records[1:]:
        if (record.latent, record.dtype) != (first.latent, first.dtype):
            raise ConfigError(
                f"{shard_file(folder, record.shard)}: holds frames {list(record.latent)} {record.dtype} where shard "
                f"{first.shard} has {list(first.latent)} {first.dtype}; a corpus has one shape, make two of it"
            )


def check_listed(folder: Path, entries: list[CorpusEntry], records: list[ShardRecord]) -> None:
    """ConfigError unless every entry of the index is one of its shard's, each once."""
    held = {(entry.shard, entry.key): entry for record in records for entry in record.entries}
    for number, entry in enumerate(entries, 1):
        if held.pop((entry.shard, entry.key), None) != entry:
            raise ConfigError(
                f"{folder / INDEX}: line {number}: {entry.key} is not what shard {entry.shard} says, or there twice; "
                f"{MAKE} again"
            )
