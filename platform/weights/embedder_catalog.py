"""Finds embedders by name: shipped with the package, pulled with `longtake weights pull`, or a local file or folder."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.checkpoints.files import load_into
from longtake.platform.digest import remembered_sha256
from longtake.platform.errors import WeightsError
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.models.spec import EmbedderSpec, spec_beside
from longtake.platform.registry import did_you_mean
from longtake.platform.weights.artefacts import artefact_file
from longtake.platform.weights.catalog import ARTEFACTS

if TYPE_CHECKING:
    from longtake.platform.models.embedder import LatentAutoencoder

SHIPPED = Path(__file__).parents[1] / "models" / "embedders"


def shipped_embedders() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def published_embedders() -> list[str]:
    return sorted(artefact.name for artefact in ARTEFACTS.values() if artefact.kind == "embedder")


def embedder_file(name: str | Path) -> Path:
    """The safetensors file of a descriptor's name. Raises WeightsError if there is none."""
    if name in shipped_embedders():
        return SHIPPED / f"{name}.safetensors"
    if name in published_embedders():
        return artefact_file(str(name), "embedder.safetensors")
    path = Path(name)
    files = sorted(path.glob("*.safetensors")) if os.path.isdir(path) else [path] if os.path.isfile(path) else []
    if len(files) != 1 or files[0].suffix != ".safetensors":
        known = did_you_mean(str(name), ["avg-pool", "grid-pool", *shipped_embedders(), *published_embedders()])
        raise WeightsError(
            f"descriptor {name}: is not an embedder, a .safetensors file or a folder with exactly one; {known}; "
            "use one of these, or train one with longtake train embedder"
        )
    return files[0]


def remembered(path: Path) -> str:
    try:
        return remembered_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}; restore the file") from error


def embedder_sha256(name: str | Path) -> str:
    """The hash of the file's bytes, which are read again only if the file has changed. Raises WeightsError."""
    return remembered(embedder_file(name))


def embedder_spec(name: str | Path) -> EmbedderSpec:
    """Sizes from `config` of the .json beside the weights."""
    return spec_beside(embedder_file(name))


def load_embedder(name: str | Path) -> LatentAutoencoder:
    """The embedder, shared by all callers in a process that load the same weights; they may only move it.

    Raises WeightsError unless the weights of the file and of the model match exactly.
    """
    path = embedder_file(name)
    return cached_embedder(path, spec_beside(path), remembered(path))


@lru_cache(maxsize=2)
def cached_embedder(path: Path, spec: EmbedderSpec, digest: str) -> LatentAutoencoder:
    """`digest` is only part of the cache key: a file with other weights is another embedder."""
    from longtake.platform.models.embedder import empty_embedder

    model = empty_embedder(spec)
    load_into(model, path, torch_dtype("float32"))
    return model.eval().requires_grad_(False)
