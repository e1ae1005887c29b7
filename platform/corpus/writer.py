"""Writes a corpus: the plan, the commits of its parts (shards), and the index at the end.

    <output>/corpora/<name>/  corpus.yaml plan.jsonl index.jsonl .lock .epoch
                              shards/NNNNN.safetensors shards/NNNNN.json

The plan assigns takes to shards, so the number and order of workers have no effect. A plan may only grow; new takes go
to new shards. A shard is done if and only if its record, linked last, matches its file.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from longtake.platform.corpus.reader import INDEX, PLAN, SHARDS, SPEC, read_shard, record_file, shard_file
from longtake.platform.corpus.records import CorpusEntry, ShardRecord, describe, unfit
from longtake.platform.digest import file_sha256
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.settings import config
from longtake.platform.store import durable
from longtake.platform.store.locked_folder import LockedFolder
from longtake.platform.store.plans import check_extension, from_row, to_row
from longtake.platform.store.root import OutputRoot
from longtake.platform.takes import Take

Latent = tuple[int, int, int]


class CorpusStore(LockedFolder):
    """The files of one corpus."""

    kind, inner = "corpus", SHARDS

    def __init__(self, root: Path | str, name: str, dtype: str, latent: Latent) -> None:
        """`dtype` and `latent` (C, H, W): the stored dtype and the shape of a frame. Makes nothing."""
        self.root = OutputRoot(root)
        super().__init__(self.root.corpora, name)
        self.dtype, self.latent = dtype, latent

    # The plan

    def plan(self) -> list[list[Take]]:
        """The takes of each shard. Raises StorageError if the plan is damaged."""
        path = self.folder / PLAN
        with durable.storage_errors(path, "read the plan"):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                return []
        shards: list[list[Take]] = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                shard, take = row.pop("shard"), from_row(row, self.root.folder)
                if shard == len(shards):
                    shards.append([])
                if shard != len(shards) - 1:
                    raise ValueError("shards are numbered in order")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise StorageError(f"{path}: line {number} is damaged; remove {self.folder} to start again") from error
            shards[shard].append(take)
        return shards

    def write_plan(self, spec_yaml: str, takes: list[Take], shard_takes: int) -> list[list[Take]]:
        """Writes corpus.yaml and plan.jsonl; returns the takes of each shard. Shards of an earlier plan stay the same.

        Raises ConfigError if takes of an earlier plan are missing or changed, or if the stored dtype changed.
        """
        shards, current = self.plan(), {take.id: take for take in takes}
        before = [take for shard in shards for take in shard]
        check_extension(self.folder, before, takes)
        self._check_dtype()
        shards = [[current[take.id] for take in shard] for shard in shards]  # their weights may be elsewhere now
        known = {take.id for take in before}
        new = [take for take in takes if take.id not in known]
        shards += [new[at : at + shard_takes] for at in range(0, len(new), shard_takes)]
        rows = [{"shard": n, **to_row(take, self.root.folder)} for n, shard in enumerate(shards) for take in shard]
        durable.replace_file(self.folder / SPEC, spec_yaml.encode())
        durable.replace_file(self.folder / PLAN, durable.json_lines(rows))
        return shards

    def _check_dtype(self) -> None:
        path = self.folder / SPEC
        before = config.load_yaml(path).get("dtype") if path.is_file() else None
        if before not in (None, self.dtype):
            raise ConfigError(
                f"{path}: dtype: {before} -> {self.dtype}; give the corpus another name, or undo the change"
            )

    # Shards

    def record(self, number: int, takes: list[Take]) -> ShardRecord | None:
        """The shard's record if the shard is done and has these takes."""
        record = read_shard(self.folder, number)
        same = record is not None and record.take_ids == {take.id for take in takes}
        return record if same and record and (record.dtype, record.latent) == (self.dtype, self.latent) else None

    def clear(self, number: int) -> None:
        """Removes an unfinished shard, its record first, so that it can be made again. Raises StorageError if a newer
        run holds the corpus."""
        self.check_epoch()
        with durable.storage_errors(shard_file(self.folder, number), "remove the unfinished shard"):
            record_file(self.folder, number).unlink(missing_ok=True)
            shard_file(self.folder, number).unlink(missing_ok=True)

    def commit(
        self,
        number: int,
        takes: list[Take],
        latents: Mapping[str, Tensor],
        seconds: float = 0.0,
        versions: dict[str, str] | None = None,
    ) -> ShardRecord:
        """Commits a shard. `latents`: take id -> [T, C, H, W] in the stored dtype, on the CPU.

        Takes with numbers that are not finite are left out, with the reason. Raises StorageError if the disk fails, if
        latents have another shape, or if a newer run holds the corpus; the shard is then not done.
        """
        left_out = {take.id: reason for take in takes if (reason := unfit(latents[take.id])) is not None}
        kept = [take for take in takes if take.id not in left_out]
        path = shard_file(self.folder, number)
        for take in kept:
            self._check_shape(path, take, latents[take.id])
        entries = [entry_of(take, number, latents[take.id]) for take in kept]
        size, digest = self._link(path, {take.id: latents[take.id] for take in kept})
        worker = f"{socket.gethostname()}:{os.getpid()}"
        record = ShardRecord(
            number, size, digest, self.dtype, self.latent, entries, left_out, round(seconds, 3), worker, versions or {}
        )
        return self._link_record(record, takes)

    def _check_shape(self, path: Path, take: Take, latents: Tensor) -> None:
        expected, kind = (take.latent_frames, *self.latent), torch_dtype(self.dtype)
        if tuple(latents.shape) != expected or latents.dtype != kind:
            actual = f"{list(latents.shape)} {latents.dtype}"
            raise StorageError(f"{path}: take {take.id} has latents {actual}, not {list(expected)} {kind}; run again")

    def _link(self, path: Path, latents: dict[str, Tensor]) -> tuple[int, str]:
        """Writes, syncs, reads back and links the file; returns its bytes and sha256."""
        from longtake.platform.checkpoints.writer import write_safetensors

        temp = durable.temp_path(path.parent, path.name)
        with durable.storage_errors(path, "write the shard"):
            try:
                write_safetensors(latents, temp)
                size, digest = temp.stat().st_size, file_sha256(temp)
                read_back(temp, latents)
                self.check_epoch()
                if not durable.link_new(temp, path) and file_sha256(path) != digest:
                    raise StorageError(f"{path}: another attempt wrote other numbers; run again")
            finally:
                temp.unlink(missing_ok=True)
            durable.fsync_folder(path.parent)
        return size, digest

    def _link_record(self, record: ShardRecord, takes: list[Take]) -> ShardRecord:
        path = record_file(self.folder, record.shard)
        with durable.storage_errors(path, "write the record"):
            durable.link_file(path, durable.json_bytes(record.to_json()))
            durable.fsync_folder(path.parent)
        done = self.record(record.shard, takes)
        if done is None or done.sha256 != record.sha256:
            raise StorageError(f"{path}: does not match its shard after the commit; run again")
        return done

    # The index

    def write_index(self, records: list[ShardRecord]) -> None:
        """One line per entry, in the order of the plan."""
        order = {take.id: position for position, take in enumerate(take for shard in self.plan() for take in shard)}
        entries = sorted((entry for record in records for entry in record.entries), key=lambda e: order[e.take_id])
        durable.replace_file(self.folder / INDEX, durable.json_lines([entry.to_json() for entry in entries]))


def entry_of(take: Take, shard: int, latents: Tensor) -> CorpusEntry:
    return CorpusEntry(take.id, take.prompt, take.seed, take.latent_frames, shard, take.id, **describe(latents))


def read_back(path: Path, latents: dict[str, Tensor]) -> None:
    """Raises StorageError unless the file contains exactly these numbers."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            same = set(file.keys()) == set(latents) and all(
                file.get_tensor(key).equal(value) for key, value in latents.items()
            )
    except SafetensorError as error:
        raise StorageError(f"{path}: cannot be read back ({error}); check the disk and run again") from error
    if not same:
        raise StorageError(f"{path}: contains other numbers than were written; check the disk and run again")


def damage_lines(folder: Path) -> list[str]:
    """Checks the hash of every shard; returns one line per shard that does not match its record."""
    paths = sorted({path.with_suffix("") for path in (folder / SHARDS).glob("[0-9]*.*")})
    return [line for path in paths if (line := damage_line(folder, int(path.name))) is not None]


def damage_line(folder: Path, number: int) -> str | None:
    path, record = shard_file(folder, number), read_shard(folder, number)
    if record is None:
        return f"{path}: does not match its record; run again to make it again"
    with durable.storage_errors(path, "read the shard"):
        digest = file_sha256(path)
    if digest == record.sha256:
        return None
    again = f"remove {record_file(folder, number)} and run again to make it again"
    return f"{path}: sha256 {digest[:12]}, but its record says {record.sha256[:12]}; {again}"
