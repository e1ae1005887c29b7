"""Converts pulled pickles and archives to safetensors, once, so that no run opens a pickle.

A converted file gets its final name after its weights are checked and written completely. Its record contains the hash
of its source.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.checkpoints.files import sha256
from longtake.platform.checkpoints.keys import check_fit, shapes_of
from longtake.platform.checkpoints.pickles import load_pickle, published_state
from longtake.platform.checkpoints.writer import write_safetensors
from longtake.platform.errors import WeightsError
from longtake.platform.store.durable import json_bytes, replace_file, storage_errors, temp_path
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import folder_of, pickle_of, require
from longtake.platform.weights.entries import Artefact, Pickle
from longtake.platform.weights.manifest import Manifest
from longtake.platform.weights.metric import metric_weights
from longtake.platform.weights.pull import Say
from longtake.platform.weights.vbench import METRIC

if TYPE_CHECKING:
    from torch import Tensor

Check = Callable[[Artefact, "dict[str, Tensor]", str], None]
"""(artefact, its weights by final name, their origin) -> None. Raises WeightsError if they do not fit the artefact."""


def convert(artefact: Artefact, check: Check, say: Say, delete_source: bool = False) -> None:
    """Convert an artefact, unless it has no pickle or is converted already. Raises WeightsError, StorageError."""
    folder = folder_of(artefact.name)
    require(artefact)
    with manifests.locked(folder):
        manifest = require(artefact)
        pickle = pickle_of(artefact, manifest)
        if pickle is None:
            return
        if not is_converted(folder, manifest, pickle):
            say(f"{artefact.name}: converting {folder / pickle.place}")
            manifest = run(artefact, folder, manifest, pickle, check)
        if delete_source:
            forget(folder, manifest, pickle.place)


def is_converted(folder: Path, manifest: Manifest, pickle: Pickle) -> bool:
    """Whether every output exists, is unchanged, and was made from the current source, if that still exists."""
    source = manifest.files.get(pickle.place)
    outputs = {place: record for place, record in manifest.files.items() if record.converted_from == pickle.place}
    return pickle.result in outputs and all(
        record.matches(folder / place) and (source is None or record.source_sha256 == source.sha256)
        for place, record in outputs.items()
    )


def run(artefact: Artefact, folder: Path, manifest: Manifest, pickle: Pickle, check: Check) -> Manifest:
    source, record = folder / pickle.place, manifest.files.get(pickle.place)
    if record is None or not source.is_file():
        raise WeightsError(f"{source}: file not found; run longtake weights pull {artefact.name}")
    if not record.matches(source):
        raise WeightsError(f"{source}: changed since it was pulled; run longtake weights verify {artefact.name}")
    weights, config = final_weights(artefact, source, pickle)
    check(artefact, weights, str(source))
    if config is not None:
        replace_file(folder / pickle.outputs[1], json_bytes(config))
    temp = temp_path(folder, pickle.result)
    with storage_errors(folder / pickle.result, "write the file"):
        try:
            write_safetensors(weights, temp)
            os.replace(temp, folder / pickle.result)
        finally:
            temp.unlink(missing_ok=True)
    for place in pickle.outputs:
        origin = {"converted_from": pickle.place, "source_sha256": record.sha256}
        manifest = manifest.with_file(place, manifests.record(folder / place, sha256(folder / place), **origin))
    manifests.write(folder, manifest)
    return manifest


def final_weights(
    artefact: Artefact, source: Path, pickle: Pickle
) -> "tuple[dict[str, Tensor], dict[str, object] | None]":
    """Weights under the names that the loader of this kind reads, and the content of its JSON file, or None."""
    if artefact.kind == METRIC:
        return metric_weights(source, pickle)
    weights = published_state(source, pickle.keys)
    if artefact.kind == "text":
        from longtake.platform.models.text.umt5 import spec_of, umt5_from_original

        weights = umt5_from_original(weights)
        return weights, spec_of(weights).to_json()
    if artefact.kind == "vae":
        from longtake.platform.models.vae.wan import config_of_original, vae_from_original

        sizes = config_of_original(weights, str(source))
        return vae_from_original(weights, sizes, str(source)), sizes
    if artefact.kind == "embedder":
        from longtake.platform.models.embedder import empty_embedder
        from longtake.platform.models.spec import spec_from

        spec = spec_from(load_pickle(source).get("config"), source)
        check_fit(shapes_of(weights), shapes_of(empty_embedder(spec).state_dict()), str(source))
        return weights, {"config": asdict(spec)}
    return weights, None


def forget(folder: Path, manifest: Manifest, place: str) -> None:
    """Delete a source and its record."""
    with storage_errors(folder / place, "delete the file"):
        (folder / place).unlink(missing_ok=True)
    manifests.write(folder, replace(manifest, files={k: v for k, v in manifest.files.items() if k != place}))
