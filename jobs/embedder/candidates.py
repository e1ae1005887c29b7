"""What is asked of `longtake train eval-embedder`, and whom it measures: the descriptors named and their controls.

avg-pool, an untrained encoder of the first embedder's sizes, random memory and the oracle are always there. What cannot
be used (a name unknown, other latents, weights that do not fit) is an error before anything is measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.jobs.embedder.options import EmbedderEvalOptions
from longtake.platform.errors import ConfigError
from longtake.platform.names import NAME
from longtake.platform.registry import did_you_mean
from longtake.platform.store.root import OutputRoot
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.client import OFF

if TYPE_CHECKING:
    from longtake.platform.methods.memory import MemoryConfig

AVG_POOL, UNTRAINED, RANDOM, ORACLE = CONTROLS = ("avg-pool", "untrained", "random", "oracle")
GENERIC = ("embedder", "best", "model")
"""Names of files and folders that say nothing about whose they are."""


@dataclass(frozen=True)
class Candidate:
    """A row of the result: what it is called, what was asked for, and the method that retrieves by it."""

    label: str
    told: str
    method: MemoryConfig

    @property
    def sha256(self) -> str | None:
        return self.method.fingerprint().get("method.descriptor")


def gather(options: EmbedderEvalOptions, spec: Any, scratch: Path, notes: list[str]) -> list[Candidate]:
    """Those asked for, then the controls; appends to `notes`. Raises ConfigError or WeightsError."""
    from longtake.platform.methods.oracle import Oracle
    from longtake.platform.methods.rag import Rag
    from longtake.platform.methods.random_memory import RandomMemory

    budget: dict[str, Any] = {"top_k": options.top_k, "recency_guard": options.recency_guard}
    asked = tuple(options.descriptors or ()) or tuple(shipped_for(spec.latent))
    if not asked:
        notes.append(f"no embedder of {spec.name}'s latents ships yet; the controls alone are measured")
    named = {label: (told, path) for label, told, path in (resolve(name, options) for name in asked)}
    if len(named) < len(asked):
        raise ConfigError("eval-embedder: two descriptors go by one name; label one of them: LABEL=DESCRIPTOR")
    named.pop(AVG_POOL, None)
    found = [Candidate(label, told, Rag(descriptor=path, **budget)) for label, (told, path) in named.items()]
    for one in found:
        check(one, spec)
    sizes = untrained_sizes(found, spec)
    found += [
        Candidate(AVG_POOL, AVG_POOL, Rag(**budget)),
        Candidate(UNTRAINED, UNTRAINED, Rag(descriptor=str(untrained(sizes, options.seed, scratch)), **budget)),
        Candidate(RANDOM, "random-memory", RandomMemory(**budget)),
        Candidate(ORACLE, "oracle-memory", Oracle(**budget)),
    ]
    check(found[-1], spec)
    labels = [one.label for one in found]
    if options.base not in labels:
        raise ConfigError(f"--base {options.base}: is not measured; {did_you_mean(options.base, labels)}")
    return found


def shipped_for(latent: tuple[int, int, int]) -> list[str]:
    """Shipped embedders made for these latents."""
    from longtake.platform.weights.embedder_catalog import embedder_spec, shipped_embedders

    specs = {name: embedder_spec(name) for name in shipped_embedders()}
    return [name for name, one in specs.items() if (one.in_channels, one.spatial_h, one.spatial_w) == latent]


def resolve(name: str, options: EmbedderEvalOptions) -> tuple[str, str, str]:
    """(label, descriptor as told, what a method takes) of `DESCRIPTOR` or `LABEL=DESCRIPTOR`."""
    label, equals, told = name.partition("=")
    if not equals or not NAME.fullmatch(label):
        label, told = "", name
    if label in CONTROLS and told != label:
        raise ConfigError(f"{name}: {label} is the name of a control that is always measured; choose another label")
    if not told.startswith(model_registry.SCHEME):
        return label or label_of(told), told, told
    if options.uri is None:
        raise ConfigError(f"{told}: needs a tracking store, and --tracking is {OFF}; name a file, or leave it out")
    version = model_registry.resolve(told, options.uri, OutputRoot(options.output).models.absolute())
    return label or f"{version.name}-{version.number}", told, str(version.weights)


def label_of(descriptor: str) -> str:
    """The last part of a path that says whose it is."""
    parts = [part.removesuffix(".safetensors") for part in Path(descriptor).parts]
    telling = [part for part in parts if part not in GENERIC] or parts or [descriptor]
    label = re.sub(r"[^a-z0-9._-]+", "-", telling[-1].lower()).strip("-._")[:64] or "embedder"
    return f"{label}-embedder" if label in CONTROLS and descriptor != label else label


def check(candidate: Candidate, spec: Any) -> None:
    """Window, latents, and that the weights are there and fit their sizes."""
    from longtake.platform.models.embedder import check_embedder
    from longtake.platform.weights.embedder_catalog import embedder_file

    candidate.method.check(spec.window, spec.latent)
    if candidate.method.described_by != AVG_POOL:
        check_embedder(embedder_file(candidate.method.described_by))


def untrained_sizes(found: Sequence[Candidate], spec: Any) -> Any:
    """Sizes of the first embedder that was asked for; without one, small ones for these latents."""
    from longtake.platform.models.spec import EmbedderSpec
    from longtake.platform.weights.embedder_catalog import embedder_spec

    paths = [one.method.described_by for one in found]
    if paths:
        return embedder_spec(paths[0])
    channels, height, width = spec.latent
    return EmbedderSpec(channels, height, width, latent_dim=128, hidden_dims=(64, 128))


def untrained(sizes: Any, seed: int, scratch: Path) -> Path:
    """A file of an embedder as it is before its first step."""
    from longtake.platform.models.embedder import fresh_embedder, save_embedder

    path = scratch / f"{UNTRAINED}.safetensors"
    save_embedder(fresh_embedder(sizes, seed), path, {"training": None})
    return path
