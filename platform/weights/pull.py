"""Brings an artefact's files into its folder, from its publisher or from a local one, and records each as it arrives.

What is there already and unchanged is kept, so that a pull that was cut off, or is repeated, brings what is missing.
Converts nothing (`convert.py`).
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from longtake.platform.checkpoints.files import sha256
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.store.durable import make_folder, storage_errors, temp_path
from longtake.platform.weights import hub, web
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import PULLED, READY, folder_of, state
from longtake.platform.weights.entries import Artefact, Fetch, Origin
from longtake.platform.weights.manifest import FileRecord, Manifest

Say = Callable[[str], None]


def pull(artefact: Artefact, revision: str | None, say: Say) -> None:
    """From the first origin, at a revision of its repository (None: main, or what is there).

    Raises WeightsError, StorageError, and ConfigError for a revision of what has none.
    """
    folder, origin = folder_of(artefact.name), artefact.origins[0]
    if revision and origin.is_web:
        raise ConfigError(f"--revision {revision}: {artefact.name} comes from {origin.repo}, which has no revisions")
    with manifests.working_on(folder):
        before = manifests.read(folder)
        if before and state(artefact) in (READY, PULLED) and revision in (None, before.revision, before.commit):
            return say(f"{artefact.name}: is there")
        source = web.snapshot(origin) if origin.is_web else hub.snapshot(origin.repo, revision)
        manifest = begun(artefact, origin, revision, source)
        for one, path, place in expand(origin, source.files):
            remote = web.look_up(source, path, one.sha256) if origin.is_web else hub.look_up(source, path)
            found = kept(before, folder, place, remote.etag)
            if found is None:
                say(f"{artefact.name}: fetching {remote.label} ({remote.bytes / 1e6:,.1f} MB)")
                digest = hub.fetch(remote, folder / place)
                check_fetched(one, digest, folder / place)
                found = manifests.record(folder / place, digest, path=path, etag=remote.etag)
            manifest = manifest.with_file(place, found)
            manifests.write(folder, merged(before, manifest))
        finish(folder, before, manifest)


def take(artefact: Artefact, source: Path, say: Say) -> None:
    """From a local folder: a mirror, or the files by their own names. Raises WeightsError, StorageError."""
    origin, found = locate(artefact, source)
    folder = folder_of(artefact.name)
    with manifests.working_on(folder):
        before = manifests.read(folder)
        manifest = Manifest(artefact.name, origin.repo, None, None, str(source.resolve()))
        for place, (one, path, file) in found.items():
            say(f"{artefact.name}: taking {file} ({file.stat().st_size / 1e6:,.1f} MB)")
            if one.sha256:
                check_pin(one, sha256(file), file)
            link_or_copy(file, folder / place)
            manifest = manifest.with_file(place, manifests.record(folder / place, sha256(folder / place), path=path))
            manifests.write(folder, merged(before, manifest))
        finish(folder, before, manifest)


def begun(artefact: Artefact, origin: Origin, revision: str | None, source: hub.Snapshot) -> Manifest:
    """The record of a pull that has brought nothing yet."""
    if origin.is_web:
        return Manifest(artefact.name, origin.repo, None, None, web.address(origin.repo))
    return Manifest(artefact.name, origin.repo, revision or "main", source.commit, hub.endpoint())


def check_fetched(one: Fetch, digest: str, file: Path) -> None:
    """Takes away what came and is not what the catalogue knows, and raises WeightsError."""
    try:
        check_pin(one, digest, file)
    except WeightsError:
        file.unlink()
        raise


def check_pin(one: Fetch, digest: str, file: Path) -> None:
    """WeightsError unless a file has the hash that is known of it, or nothing is known."""
    if not digest.startswith(one.sha256):
        said = f"has sha256 {digest[:12]} where the published file has {one.sha256[:12]}"
        raise WeightsError(f"{file}: {said}; it is damaged or another file, take it from elsewhere")


def expand(origin: Origin, files: tuple[str, ...]) -> list[tuple[Fetch, str, str]]:
    """(its entry, path in the repository, place in the folder) of every file of an origin.

    WeightsError if one is not there.
    """
    found = []
    for one in origin.files:
        paths = sorted(path for path in files if matches(one, path))
        if not paths:
            raise WeightsError(f"{origin.repo}: has no {one.path} at this revision; choose another with --revision")
        found += [(one, path, place_of(one, path)) for path in paths]
    return found


def matches(one: Fetch, path: str) -> bool:
    return fnmatchcase(path, one.path) and path.count("/") == one.path.count("/")


def place_of(one: Fetch, path: str) -> str:
    is_folder = one.place == "" or one.place.endswith("/")
    return one.place + path.rpartition("/")[2] if is_folder else one.place


def locate(artefact: Artefact, source: Path) -> tuple[Origin, dict[str, tuple[Fetch, str, Path]]]:
    """The first origin that a folder holds whole: place -> (its entry, path in the repository, file)."""
    if not source.is_dir():
        raise WeightsError(f"{source}: is no folder; --from takes a mirror or a folder of files")
    lacking = []
    for origin in artefact.origins:
        found = {one.path: locate_one(origin, one, source) for one in origin.files}
        if all(found.values()):
            places = {place_of(one, path): (one, path, file) for one in origin.files for path, file in found[one.path]}
            return origin, places
        lacking += [f"{origin.folder}/{path}" for path, files in found.items() if not files]
    raise WeightsError(f"{source}: has no {lacking[0]}, neither there nor by its bare name; --from needs it")


def locate_one(origin: Origin, one: Fetch, source: Path) -> list[tuple[str, Path]]:
    """(path in the repository, file) of what fits `one` in a mirror, a copy of its repository, or by its own name."""
    parent, _, name = one.path.rpartition("/")
    own = [source / one.place] if one.is_pattern and one.place else [source] if one.is_telling else []
    places = [folder.glob(name) for folder in (source / origin.folder / parent, source / parent, *own)]
    deep = source.rglob(name) if one.sha256 else iter(())  # its hash tells it from another of that name
    for place in (*places, deep):
        files = sorted(file for file in place if file.is_file() and not file.name.startswith("."))
        if files:
            return [(f"{parent}/{file.name}" if parent else file.name, file) for file in files]
    return []


def link_or_copy(file: Path, path: Path) -> None:
    """`path` becomes another name of the file where they share a disk, else a copy of it."""
    make_folder(path.parent)
    temp = temp_path(path.parent, path.name)
    with storage_errors(path, "take the file"):
        try:
            try:
                os.link(file.resolve(), temp)
            except OSError:
                shutil.copyfile(file, temp)
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)


def kept(before: Manifest | None, folder: Path, place: str, etag: str) -> FileRecord | None:
    """The record of a file that is there already, with the same bytes as the one that would be fetched."""
    known = before.files.get(place) if before else None
    if known is None or known.etag != etag:
        return None
    if known.matches(folder / place):
        return known
    is_same = (folder / place).is_file() and sha256(folder / place) == known.sha256
    return replace(known, mtime_ns=(folder / place).stat().st_mtime_ns) if is_same else None


def merged(before: Manifest | None, manifest: Manifest) -> Manifest:
    """What was there and what has come so far, so that no file that lies there is forgotten."""
    return replace(manifest, files={**(before.files if before else {}), **manifest.files})


def finish(folder: Path, before: Manifest | None, manifest: Manifest) -> None:
    """Keeps conversions of the very sources that came, and takes away what else an earlier pull had left."""
    hashes = {place: record.sha256 for place, record in manifest.files.items()}
    for place, record in (before.files if before else {}).items():
        if record.converted_from and hashes.get(record.converted_from) == record.source_sha256:
            manifest = manifest.with_file(place, record)
        elif place not in manifest.files:
            (folder / place).unlink(missing_ok=True)
    manifests.write(folder, manifest)
