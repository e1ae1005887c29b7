"""Embedders by name: those that ship, those that `longtake weights pull` brings, and files of one's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.checkpoints.files import load_into, sha256
from longtake.platform.dtypes import torch_dtype
from longtake.platform.errors import WeightsError
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
    return sorted(one.name for one in ARTEFACTS.values() if one.kind == "embedder")


def embedder_file(name: str | Path) -> Path:
    """The safetensors file behind a descriptor's name. Raises WeightsError, one line, when there is none."""
    if name in shipped_embedders():
        return SHIPPED / f"{name}.safetensors"
    if name in published_embedders():
        return artefact_file(str(name), "embedder.safetensors")
    path = Path(name)
    found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
    if len(found) != 1 or found[0].suffix != ".safetensors":
        known = did_you_mean(str(name), ["avg-pool", *shipped_embedders(), *published_embedders()])
        raise WeightsError(
            f"descriptor {name}: is no embedder, no .safetensors file and no folder with just one; {known}; "
            "take one of these, or train one with longtake train embedder"
        )
    return found[0]


def embedder_sha256(name: str | Path) -> str:
    return sha256(embedder_file(name))


def embedder_spec(name: str | Path) -> EmbedderSpec:
    """Sizes from `config` of the .json beside the weights."""
    return spec_beside(embedder_file(name))


def load_embedder(name: str | Path) -> LatentAutoencoder:
    """The embedder, one for all of a process that ask for the same weights: move it, but change nothing in it.

    Every weight of the file and of the model must be matched.
    """
    path = embedder_file(name)
    return loaded(path, spec_beside(path), sha256(path))


@lru_cache(maxsize=2)
def loaded(path: Path, spec: EmbedderSpec, digest: str) -> LatentAutoencoder:
    """`digest` is a key only: a file of other weights is another embedder."""
    from longtake.platform.models.embedder import empty_embedder

    model = empty_embedder(spec)
    load_into(model, path, torch_dtype("float32"))
    return model.eval().requires_grad_(False)
