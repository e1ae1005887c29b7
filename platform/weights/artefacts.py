"""Paths and states of weights, in `$LONGTAKE_WEIGHTS/<artefact>/` or ~/.cache/longtake/weights/<artefact>/.

A loader requests a file or folder of an artefact and gets its path, or a WeightsError that names the command to run. No
other file is substituted. This module never fetches or converts weights, and reads
them only to hash them.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from longtake.platform.digest import remembered_sha256
from longtake.platform.errors import NotPulledError, WeightsError
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.catalog import artefact
from longtake.platform.weights.entries import SOURCE, Artefact, Pickle
from longtake.platform.weights.manifest import FileRecord, Manifest

ABSENT, INCOMPLETE, PULLED, CHANGED, READY = "absent", "incomplete", "pulled, needs convert", "changed", "ready"


def weights_root() -> Path:
    configured = os.environ.get("LONGTAKE_WEIGHTS")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "longtake" / "weights"


def folder_of(name: str) -> Path:
    """The folder of an artefact, which may not exist. Raises ConfigError for an unknown name."""
    return weights_root() / (artefact(name).folder or name)


def artefact_file(name: str, file: str) -> Path:
    """The path of an artefact's file. Raises NotPulledError with the command to run if the file is missing."""
    path = folder_of(name) / file
    if not path.is_file():
        raise NotPulledError(f"{path}: file not found; run {remedy(name)}")
    return path


def artefact_folder(name: str) -> Path:
    """The path of an artefact's folder. Raises NotPulledError with the command to run if a required file is missing."""
    folder = folder_of(name)
    paths = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    missing = missing_patterns(artefact(name), paths)
    if missing:
        raise NotPulledError(f"{folder / missing[0]}: file not found; run {remedy(name)}")
    return folder


def recorded_sha256(name: str) -> str:
    """One hash over the names and recorded hashes of the usable files; reads no weights.

    Raises WeightsError if a file is missing or has changed since it was recorded.
    """
    folder, manifest = folder_of(name), manifests.read(folder_of(name))
    missing = missing_patterns(artefact(name), usable_files(manifest))
    if manifest is None or missing:
        raise WeightsError(f"{folder / missing[0]}: is not recorded; run {remedy(name)}")
    for place, record in usable_files(manifest).items():
        if not record.matches(folder / place):
            raise WeightsError(f"{folder / place}: changed since it was recorded; run longtake weights verify {name}")
    return joined_sha256({place: record.sha256 for place, record in usable_files(manifest).items()})


def checked_sha256(name: str) -> str:
    """The same hash, after the bytes of the usable files were read and hashed again: for what is about to be loaded.

    Raises WeightsError if a file is missing or its bytes are not those that were recorded.
    """
    recorded_sha256(name)
    return folder_sha256(folder_of(name))


def folder_sha256(folder: Path) -> str:
    """The hash of an artefact in any folder, from the bytes of its usable files. Raises WeightsError."""
    manifest = manifests.read(folder)
    if manifest is None:
        raise WeightsError(f"{folder}: has no {manifests.MANIFEST}; run longtake weights pull")
    found = {}
    for place, record in usable_files(manifest).items():
        try:
            found[place] = remembered_sha256(folder / place)
        except OSError as error:
            raise WeightsError(f"{folder / place}: {error.strerror}; run longtake weights pull") from error
        if found[place] != record.sha256:
            raise WeightsError(
                f"{folder / place}: its sha256 is {found[place][:12]}, not the recorded {record.sha256[:12]}; "
                f"run longtake weights verify {manifest.artefact}"
            )
    return joined_sha256(found)


def joined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash over the names and hashes of files."""
    lines = [f"{place} {digest}\n" for place, digest in sorted(hashes.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require(entry: Artefact) -> Manifest:
    """An artefact's manifest. Raises WeightsError if the artefact was never pulled."""
    manifest = manifests.read(folder_of(entry.name))
    if manifest is None:
        raise WeightsError(f"{folder_of(entry.name)}: was never pulled; run longtake weights pull {entry.name}")
    return manifest


def usable_files(manifest: Manifest | None) -> dict[str, FileRecord]:
    """The recorded files that a loader may open, without the sources of conversions."""
    files = manifest.files if manifest else {}
    return {place: record for place, record in files.items() if not place.startswith(SOURCE)}


def expected_files(folder: Path, manifest: Manifest) -> dict[str, FileRecord]:
    """The recorded files that should exist. A source may be deleted once it is converted."""
    sources = {record.converted_from for record in manifest.files.values()}
    return {path: record for path, record in manifest.files.items() if path not in sources or (folder / path).exists()}


def missing_patterns(entry: Artefact, paths: Iterable[str]) -> list[str]:
    """The required patterns of an artefact that no path matches; `*` does not match `/`."""
    paths = list(paths)
    return [
        pattern
        for pattern in entry.needs
        if not any(fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for path in paths)
    ]


def state(entry: Artefact) -> str:
    """absent, incomplete, 'pulled, needs convert', changed or ready, from sizes and modification times only."""
    folder, manifest = folder_of(entry.name), manifests.read(folder_of(entry.name))
    if manifest is None:
        return ABSENT
    if not all(record.matches(folder / place) for place, record in expected_files(folder, manifest).items()):
        return CHANGED
    paths, pickle = [*usable_files(manifest)], pickle_of(entry, manifest)
    if missing_patterns(entry, [*paths, *pickle.outputs] if pickle else paths):
        return INCOMPLETE
    return PULLED if stale_files(manifest) or missing_patterns(entry, paths) else READY


def pickle_of(entry: Artefact, manifest: Manifest) -> Pickle | None:
    """The pickle that was pulled for an artefact, even if it was deleted after its conversion."""
    places = {*manifest.files, *(record.converted_from for record in manifest.files.values())}
    return next((origin.pickle for origin in entry.origins if origin.pickle and origin.pickle.place in places), None)


def stale_files(manifest: Manifest) -> list[str]:
    """Converted files whose source was pulled again after the conversion."""
    files = manifest.files
    return [
        place
        for place, record in files.items()
        if record.converted_from in files and record.source_sha256 != files[str(record.converted_from)].sha256
    ]


def remedy(name: str) -> str:
    """The command that makes an artefact ready."""
    return f"longtake weights {'convert' if state(artefact(name)) == PULLED else 'pull'} {name}"
