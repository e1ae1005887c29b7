"""Pulls an artefact's files into its folder, from its publisher or a local folder, and records each as it arrives.

Files that exist and are unchanged are kept, so that repeating an interrupted pull fetches only the missing ones.
Converts nothing (`convert.py`).
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from longtake.platform.checkpoints.files import sha256
from longtake.platform.errors import ConfigError, WeightsError, masked
from longtake.platform.store.durable import make_folder, storage_errors, temp_path
from longtake.platform.weights import hub, web
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import PULLED, READY, folder_of, state
from longtake.platform.weights.entries import Artefact, Fetch, Origin
from longtake.platform.weights.manifest import FileRecord, Manifest

Say = Callable[[str], None]
AUTHORS_FOLDERS = ("checkpoints", "wan_models", "longlive_models")
"""Into which the READMEs of LongLive-RAG, Causal-Forcing and LongLive tell people to download."""


def pull(artefact: Artefact, revision: str | None, say: Say) -> None:
    """Pull from the first origin's repository, at a revision (None: the present one, or main).

    Raises WeightsError, StorageError, and ConfigError for a revision of a web address.
    """
    folder, first = folder_of(artefact.name), artefact.origins[0]
    if revision and first.is_web:
        raise ConfigError(f"--revision {revision}: {artefact.name} comes from {first.repo}, which has no revisions")
    with manifests.locked(folder):
        before = manifests.read(folder)
        if before and state(artefact) in (READY, PULLED) and revision in (None, before.revision, before.commit):
            return say(f"{artefact.name}: already present")
        source = web.snapshot(first) if first.is_web else hub.snapshot(first.repo, revision)
        origin, files = expand_first(artefact, source.files)
        manifest = empty_manifest(artefact, origin, revision, source)
        for entry, path, place in files:
            remote = web.look_up(source, path, entry.sha256) if origin.is_web else hub.look_up(source, path)
            record = unchanged_record(before, folder, place, remote.etag)
            if record is None:
                say(f"{artefact.name}: fetching {remote.label} ({remote.bytes / 1e6:,.1f} MB)")
                digest = hub.fetch(remote, folder / place)
                check_fetched(entry, digest, folder / place)
                record = manifests.record(folder / place, digest, path=path, etag=remote.etag)
            manifest = manifest.with_file(place, record)
            manifests.write(folder, with_earlier(before, manifest))
        finish(folder, before, manifest)


def import_files(artefact: Artefact, source: Path, say: Say) -> None:
    """Import from a local folder: a mirror, or the files under their own names. Raises WeightsError, StorageError."""
    origin, files = locate(artefact, source)
    folder = folder_of(artefact.name)
    with manifests.locked(folder):
        before = manifests.read(folder)
        manifest = Manifest(artefact.name, origin.repo, None, None, str(source.resolve()))
        for place, (entry, path, file) in files.items():
            say(f"{artefact.name}: importing {file} ({file.stat().st_size / 1e6:,.1f} MB)")
            if entry.sha256:
                check_pin(entry, sha256(file), file)
            link_or_copy(file, folder / place)
            manifest = manifest.with_file(place, manifests.record(folder / place, sha256(folder / place), path=path))
            manifests.write(folder, with_earlier(before, manifest))
        finish(folder, before, manifest)


def empty_manifest(artefact: Artefact, origin: Origin, revision: str | None, source: hub.Snapshot) -> Manifest:
    """The manifest of a pull before its first file."""
    if origin.is_web:
        return Manifest(artefact.name, origin.repo, None, None, masked(web.address(origin.repo)))
    return Manifest(artefact.name, origin.repo, revision or "main", source.commit, masked(hub.endpoint()))


def check_fetched(entry: Fetch, digest: str, file: Path) -> None:
    """If the file's hash is not the one in the catalogue, delete the file and raise WeightsError."""
    try:
        check_pin(entry, digest, file)
    except WeightsError:
        file.unlink()
        raise


def check_pin(entry: Fetch, digest: str, file: Path) -> None:
    """Raises WeightsError if the catalogue has a hash for the file and it differs."""
    if not digest.startswith(entry.sha256):
        hashes = f"has sha256 {digest[:12]}, the published file has {entry.sha256[:12]}"
        raise WeightsError(f"{file}: {hashes}; it is damaged or another file, get it from another source")


def expand_first(artefact: Artefact, files: tuple[str, ...]) -> tuple[Origin, list[tuple[Fetch, str, str]]]:
    """The first origin in the repository of the first one whose files it has, expanded. Raises WeightsError."""
    errors = []
    for origin in artefact.origins:
        if origin.repo == artefact.origins[0].repo:
            try:
                return origin, expand(origin, files)
            except WeightsError as error:
                errors.append(error)
    raise errors[0]


def expand(origin: Origin, files: tuple[str, ...]) -> list[tuple[Fetch, str, str]]:
    """(entry, path in the repository, place in the folder) of every file of an origin.

    Raises WeightsError if an entry has no file.
    """
    expanded = []
    for entry in origin.files:
        paths = sorted(path for path in files if matches(entry, path))
        if not paths:
            raise WeightsError(f"{origin.repo}: has no {entry.path} at this revision; choose another with --revision")
        expanded += [(entry, path, place_of(entry, path)) for path in paths]
    return expanded


def matches(entry: Fetch, path: str) -> bool:
    return fnmatchcase(path, entry.path) and path.count("/") == entry.path.count("/")


def place_of(entry: Fetch, path: str) -> str:
    is_folder = entry.place == "" or entry.place.endswith("/")
    return entry.place + path.rpartition("/")[2] if is_folder else entry.place


def locate(artefact: Artefact, source: Path) -> tuple[Origin, dict[str, tuple[Fetch, str, Path]]]:
    """The first origin whose files are all in a folder, and place -> (entry, path in the repository, file)."""
    if not os.path.isdir(source):
        raise WeightsError(f"{source}: is not a folder; --from expects a mirror or a folder of files")
    missing = []
    for origin in artefact.origins:
        matched = [(entry, locate_entry(origin, entry, source)) for entry in origin.files]
        if all(files for _, files in matched):
            triples = [(entry, path, file) for entry, files in matched for path, file in files]
            return origin, {place_of(entry, path): (entry, path, file) for entry, path, file in triples}
        missing += [f"{origin.folder}/{entry.path}" for entry, files in matched if not files]
    raise WeightsError(f"{source}: has no {missing[0]}, under this path or its file name; --from needs it")


def locate_entry(origin: Origin, entry: Fetch, source: Path) -> list[tuple[str, Path]]:
    """(path in the repository, file) of the files of an entry: in one of the places of its repository, or by name."""
    parent, _, name = entry.path.rpartition("/")
    by_name = [source / entry.place] if entry.is_pattern and entry.place else [source] if entry.is_specific else []
    globs = [folder.glob(name) for folder in (*(place / parent for place in places_of(origin, source)), *by_name)]
    deep = source.rglob(name) if entry.sha256 else iter(())  # the hash excludes other files of that name
    for paths in (*globs, deep):
        files = sorted(file for file in paths if file.is_file() and not file.name.startswith("."))
        if files:
            return [(f"{parent}/{file.name}" if parent else file.name, file) for file in files]
    return []


def places_of(origin: Origin, source: Path) -> list[Path]:
    """Where a copy of a repository may lie in a folder: as in a mirror, as the folder itself, under its own name, and
    where the authors of the backbones tell people to download it."""
    name = origin.folder.rpartition("/")[2]
    of_authors = [source / folder for folder in AUTHORS_FOLDERS]
    return [source / origin.folder, source, source / name, *of_authors, *(folder / name for folder in of_authors)]


def link_or_copy(file: Path, path: Path) -> None:
    """Make `path` a hard link to the file or, on another file system, a copy of it."""
    make_folder(path.parent)
    temp = temp_path(path.parent, path.name)
    with storage_errors(path, "import the file"):
        try:
            try:
                os.link(file.resolve(), temp)
            except OSError:
                shutil.copyfile(file, temp)
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)


def unchanged_record(before: Manifest | None, folder: Path, place: str, etag: str) -> FileRecord | None:
    """The record of an existing file, if its content is that of the file to be fetched."""
    record = before.files.get(place) if before else None
    if record is None or record.etag != etag:
        return None
    if record.matches(folder / place):
        return record
    is_same = (folder / place).is_file() and sha256(folder / place) == record.sha256
    return replace(record, mtime_ns=(folder / place).stat().st_mtime_ns) if is_same else None


def with_earlier(before: Manifest | None, manifest: Manifest) -> Manifest:
    """The manifest with the files of the earlier one, so that every file in the folder stays recorded."""
    return replace(manifest, files={**(before.files if before else {}), **manifest.files})


def finish(folder: Path, before: Manifest | None, manifest: Manifest) -> None:
    """Write the final manifest: keep the conversions of unchanged sources and delete other files of an earlier pull."""
    hashes = {place: record.sha256 for place, record in manifest.files.items()}
    for place, record in (before.files if before else {}).items():
        if record.converted_from and hashes.get(record.converted_from) == record.source_sha256:
            manifest = manifest.with_file(place, record)
        elif place not in manifest.files:
            (folder / place).unlink(missing_ok=True)
    manifests.write(folder, manifest)
