"""Trained models in MLflow's registry: a version with its files and their hash, and an alias that a sweep may name.

`models:/longtake-embedder@best` is whatever version bears the alias now, `models:/longtake-embedder/3` is for ever.
Files are safetensors and json, never pickles. Registering the same weights again gives the version that they have.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from longtake.platform.digest import file_sha256
from longtake.platform.errors import WeightsError
from longtake.platform.store.durable import make_folder
from longtake.platform.tracking.client import SQLITE, TrackingError, writing

SCHEME = "models:/"
SHA256 = "longtake.sha256"
ADDRESS = re.compile(r"models:/([a-z0-9][a-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,63})|/([1-9][0-9]{0,8}))")
FOLDER = "model"
ADVICE = "train one with longtake train embedder, or name its tracking store in tracking.uri"


@dataclass(frozen=True)
class Version:
    """A registered version, its weights here as a file with the hash that it was registered with."""

    name: str
    number: str
    sha256: str
    weights: Path

    @property
    def label(self) -> str:
        return f"{self.name}/{self.number}"


def register(uri: str, run_id: str, name: str, alias: str, weights: Path, others: list[Path], move: bool = True) -> str:
    """Keep `weights` and `others` with the run, make a version of them unless there is one, move the alias to it.

    Without `move` an alias stays with the version that it has, but for a version that is new. Returns the version's
    number. Raises TrackingError.
    """
    digest = file_sha256(weights)
    with writing(uri) as client:
        known = next((v for v in versions(client, name) if v.tags.get(SHA256) == digest), None)
        if known is None:
            number = create(client, run_id, name, [weights, *others], digest)
        else:
            number = known.version
            if not is_whole(known):
                keep(client, known.run_id, [weights, *others], digest)
        if move or known is None or alias not in client.get_registered_model(name).aliases:
            client.set_registered_model_alias(name, alias, str(number))
    return str(number)


def is_whole(version: Any) -> bool:
    """False for a version whose files lay on this machine and are gone."""
    folder = local(version.source)
    return folder is None or any(folder.glob("*.safetensors"))


def keep(client: Any, run_id: str, files: list[Path], digest: str) -> None:
    for path in files:
        client.log_artifact(run_id, str(path), f"{FOLDER}/{digest[:16]}")


def versions(client: Any, name: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{name}'"))


def create(client: Any, run_id: str, name: str, files: list[Path], digest: str) -> Any:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Trained by longtake; safetensors with a json beside them")
    keep(client, run_id, files, digest)
    source = f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}/{digest[:16]}"
    return client.create_model_version(name, source, run_id, tags={SHA256: digest}).version


def resolve(address: str, uri: str, cache: Path) -> Version:
    """The version behind `address`, with its files: where they lie if that is this machine, else fetched into `cache`.

    Raises WeightsError (one line: address, what is wrong, what to do) and TrackingError.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise WeightsError(f"{address!r}: is no address of a model; write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match.groups()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise WeightsError(f"{address}: there is no tracking store {uri} yet; {ADVICE}")
    with writing(uri, "check tracking.uri, or register it again") as client:
        version = find(client, address, name, alias, number)
        folder = here(version.source) or fetched(client, version, cache / name / str(version.version))
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise WeightsError(f"{address}: {folder} holds {len(found)} .safetensors files, needs one; register it again")
    digest = file_sha256(found[0])
    if digest != version.tags.get(SHA256):
        raise WeightsError(
            f"{address}: {found[0]} is not what was registered (sha256 {digest[:12]}); register it again"
        )
    return Version(name, str(version.version), digest, found[0])


def find(client: Any, address: str, name: str, alias: str | None, number: str | None) -> Any:
    """The registry's record. Its errors are told by what the registry has instead."""
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, number)
    except Exception as error:
        names = sorted(model.name for model in client.search_registered_models())
        if name not in names:
            raise WeightsError(
                f"{address}: no model {name!r} is registered; known: {', '.join(names) or 'none'}; {ADVICE}"
            ) from error
        aliases = client.get_registered_model(name).aliases
        told = ", ".join(f"@{alias} = {number}" for alias, number in sorted(aliases.items())) or "no alias"
        numbers = ", ".join(sorted((str(v.version) for v in versions(client, name)), key=int))
        raise WeightsError(f"{address}: is not registered; {name} has versions {numbers} and {told}") from error


def here(source: str) -> Path | None:
    """The folder of a version's files if it is one of this machine."""
    folder = local(source)
    return folder if folder is not None and folder.is_dir() else None


def local(source: str) -> Path | None:
    """The path that a source names, if it is one of this machine's kind."""
    parts = urlparse(source)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def fetched(client: Any, version: Any, folder: Path) -> Path:
    """The version's files in `folder`, fetched from the run that registered them."""
    make_folder(folder)
    inner = f"{FOLDER}/{version.tags.get(SHA256, '')[:16]}"
    path = Path(client.download_artifacts(version.run_id, inner, str(folder)))
    if not path.is_dir():
        raise TrackingError(f"{version.name}/{version.version}: its files cannot be fetched; register it again")
    return path
