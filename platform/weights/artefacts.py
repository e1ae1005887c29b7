"""Where weights lie and whether they may be used: `LONGTAKE_WEIGHTS/<artefact>/`, else ~/.cache/longtake/weights.

A loader asks for a file or folder by artefact and gets a path, or one line that names the command to run; there is
never another file in its place. Nothing here fetches, converts or reads weights.
"""

import hashlib
import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from longtake.platform.errors import WeightsError
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.catalog import artefact
from longtake.platform.weights.entries import SOURCE, Artefact, Pickle
from longtake.platform.weights.manifest import FileRecord, Manifest

ABSENT, INCOMPLETE, PULLED, CHANGED, READY = "absent", "incomplete", "pulled, needs convert", "changed", "ready"


def weights_root() -> Path:
    told = os.environ.get("LONGTAKE_WEIGHTS")
    return Path(told).expanduser() if told else Path.home() / ".cache" / "longtake" / "weights"


def folder_of(name: str) -> Path:
    return weights_root() / name


def artefact_file(name: str, file: str) -> Path:
    """A file of an artefact. Raises WeightsError, with the command that brings it, when it is not there."""
    path = folder_of(artefact(name).name) / file
    if not path.is_file():
        raise WeightsError(f"{path}: is not there; run {remedy(name)}")
    return path


def artefact_folder(name: str) -> Path:
    """An artefact's folder. Raises WeightsError, with the command, unless every file that it needs is there."""
    folder = folder_of(name)
    have = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    missing = unmet(artefact(name), have)
    if missing:
        raise WeightsError(f"{folder / missing[0]}: is not there; run {remedy(name)}")
    return folder


def recorded_sha256(name: str) -> str:
    """One hash over the usable files' names and recorded hashes; reads no weights.

    Raises WeightsError when one of them is missing, or is not as it was when it was recorded.
    """
    folder, manifest = folder_of(name), manifests.read(folder_of(name))
    missing = unmet(artefact(name), usable(manifest))
    if manifest is None or missing:
        raise WeightsError(f"{folder / missing[0]}: is not recorded; run {remedy(name)}")
    digest = hashlib.sha256()
    for place, record in sorted(usable(manifest).items()):
        if not record.matches(folder / place):
            raise WeightsError(f"{folder / place}: changed since it was recorded; run longtake weights verify {name}")
        digest.update(f"{place} {record.sha256}\n".encode())
    return digest.hexdigest()


def require(wanted: Artefact) -> Manifest:
    """What was recorded of an artefact. Raises WeightsError when it was never pulled."""
    manifest = manifests.read(folder_of(wanted.name))
    if manifest is None:
        raise WeightsError(f"{folder_of(wanted.name)}: nothing is there; run longtake weights pull {wanted.name}")
    return manifest


def usable(manifest: Manifest | None) -> dict[str, FileRecord]:
    """The recorded files that a loader may open: not the sources of conversions."""
    files = manifest.files if manifest else {}
    return {place: record for place, record in files.items() if not place.startswith(SOURCE)}


def expected(folder: Path, manifest: Manifest) -> dict[str, FileRecord]:
    """The recorded files that should be there: a source may be deleted once it is converted."""
    done = {record.converted_from for record in manifest.files.values()}
    return {place: record for place, record in manifest.files.items() if place not in done or (folder / place).exists()}


def unmet(wanted: Artefact, have: Iterable[str]) -> list[str]:
    """The patterns of what an artefact needs that no file fits; `*` stays within a folder."""
    have = list(have)
    return [
        need
        for need in wanted.needs
        if not any(fnmatchcase(place, need) and place.count("/") == need.count("/") for place in have)
    ]


def state(wanted: Artefact) -> str:
    """absent, incomplete, 'pulled, needs convert', changed or ready, by sizes and times alone."""
    folder, manifest = folder_of(wanted.name), manifests.read(folder_of(wanted.name))
    if manifest is None:
        return ABSENT
    if not all(record.matches(folder / place) for place, record in expected(folder, manifest).items()):
        return CHANGED
    have, pickle = [*usable(manifest)], pickle_of(wanted, manifest)
    if unmet(wanted, [*have, *pickle.makes] if pickle else have):
        return INCOMPLETE
    return PULLED if stale(manifest) or unmet(wanted, have) else READY


def pickle_of(wanted: Artefact, manifest: Manifest) -> Pickle | None:
    """The pickle that was pulled of an artefact, there or converted and deleted since."""
    known = {*manifest.files, *(record.converted_from for record in manifest.files.values())}
    return next((one.pickle for one in wanted.origins if one.pickle and one.pickle.place in known), None)


def stale(manifest: Manifest) -> list[str]:
    """Converted files whose source has been pulled anew since."""
    files = manifest.files
    return [
        place
        for place, record in files.items()
        if record.converted_from in files and record.source_sha256 != files[str(record.converted_from)].sha256
    ]


def remedy(name: str) -> str:
    """The command that brings what an artefact lacks."""
    return f"longtake weights {'convert' if state(artefact(name)) == PULLED else 'pull'} {name}"
