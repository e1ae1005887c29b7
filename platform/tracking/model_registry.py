"""Trained models in MLflow's registry: versions with their files and hashes, and aliases that a sweep may name.

`models:/longtake-embedder@best` is the version that has the alias now; `models:/longtake-embedder/3` never changes.
Files are safetensors and json, never pickles. Registering the same weights again returns their existing version.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from longtake.platform.digest import file_sha256
from longtake.platform.errors import WeightsError
from longtake.platform.store.durable import make_folder
from longtake.platform.tracking.addresses import SQLITE
from longtake.platform.tracking.client import TrackingError, writing

SCHEME = "models:/"
SHA256 = "longtake.sha256"
ADDRESS = re.compile(r"models:/([a-z0-9][a-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,63})|/([1-9][0-9]{0,8}))")
FOLDER = "model"
ADVICE = "train one with longtake train embedder, or set tracking.uri to its tracking store"


@dataclass(frozen=True)
class Version:
    """A registered version: the local file of its weights, and the registered hash."""

    name: str
    number: str
    sha256: str
    weights: Path

    @property
    def label(self) -> str:
        return f"{self.name}/{self.number}"


def register(uri: str, run_id: str, name: str, alias: str, weights: Path, extra: list[Path], move: bool = True) -> str:
    """Logs `weights` and the `extra` files with the run, creates a version unless it exists, and moves the alias to it.

    Without `move`, an existing alias moves only to a new version. Returns the number of the version. Raises
    TrackingError.
    """
    digest = file_sha256(weights)
    with writing(uri) as client:
        existing = next((v for v in versions(client, name) if v.tags.get(SHA256) == digest), None)
        if existing is None:
            number = create(client, run_id, name, [weights, *extra], digest)
        else:
            number = existing.version
            if not is_whole(existing):
                keep(client, existing.run_id, [weights, *extra], digest)
        if move or existing is None or alias not in client.get_registered_model(name).aliases:
            client.set_registered_model_alias(name, alias, str(number))
    return str(number)


def is_whole(version: Any) -> bool:
    """False if the files of the version were on this machine and are missing."""
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
    """The version at `address` with its files, in place if they are on this machine, else downloaded into `cache`.

    Raises WeightsError (one line: address, problem, next step) and TrackingError.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise WeightsError(f"{address!r}: is not a model address; write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match.groups()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise WeightsError(f"{address}: tracking store {uri} does not exist; {ADVICE}")
    with writing(uri, "check tracking.uri, or register the model again") as client:
        version = find(client, address, name, alias, number)
        folder = local_folder(version.source) or download(client, version, cache / name / str(version.version))
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise WeightsError(f"{address}: {folder} contains {len(files)} .safetensors files, not one; register it again")
    digest = file_sha256(files[0])
    if digest != version.tags.get(SHA256):
        raise WeightsError(
            f"{address}: {files[0]} does not match the registered hash (sha256 {digest[:12]}); register it again"
        )
    return Version(name, str(version.version), digest, files[0])


def find(client: Any, address: str, name: str, alias: str | None, number: str | None) -> Any:
    """The registry's record. Raises WeightsError that names the registered models, versions and aliases."""
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
        alias_list = ", ".join(f"@{alias} = {number}" for alias, number in sorted(aliases.items())) or "no alias"
        numbers = ", ".join(sorted((str(v.version) for v in versions(client, name)), key=int))
        raise WeightsError(f"{address}: is not registered; {name} has versions {numbers} and {alias_list}") from error


def local_folder(source: str) -> Path | None:
    """The folder of a version's files if it exists on this machine."""
    folder = local(source)
    return folder if folder is not None and folder.is_dir() else None


def local(source: str) -> Path | None:
    """The path of a source that is a local path or a file URI, else None."""
    parts = urlparse(source)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def download(client: Any, version: Any, folder: Path) -> Path:
    """Downloads the version's files into `folder`, from the run that registered them."""
    make_folder(folder)
    inner = f"{FOLDER}/{version.tags.get(SHA256, '')[:16]}"
    path = Path(client.download_artifacts(version.run_id, inner, str(folder)))
    if not path.is_dir():
        raise TrackingError(f"{version.name}/{version.version}: its files cannot be downloaded; register it again")
    return path
