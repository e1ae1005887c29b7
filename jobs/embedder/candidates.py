"""The candidates of `longtake train eval-embedder`: the descriptors that the user names, and the controls.

The controls are always measured: avg-pool, an untrained encoder with the sizes of the first embedder, random memory and
the oracle. An unknown name, other latents or weights that do not fit raise an error before the first measurement.
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
from longtake.platform.settings.paths import expanded
from longtake.platform.store.root import OutputRoot
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.addresses import OFF

if TYPE_CHECKING:
    from longtake.platform.methods.parts.memory import MemoryConfig

AVG_POOL, UNTRAINED, RANDOM, ORACLE = CONTROLS = ("avg-pool", "untrained", "random", "oracle")
GENERIC = ("embedder", "best", "model")
"""Names of files and folders that do not identify an embedder."""


@dataclass(frozen=True)
class Candidate:
    """A row of the result: its label, the descriptor as the user wrote it, and the method that retrieves by it."""

    label: str
    descriptor: str
    method: MemoryConfig

    @property
    def sha256(self) -> str | None:
        return self.method.fingerprint().get("method.descriptor")


def gather(options: EmbedderEvalOptions, spec: Any, scratch: Path, notes: list[str]) -> list[Candidate]:
    """Returns the named candidates, then the controls; appends to `notes`. Raises ConfigError or WeightsError."""
    from longtake.platform.methods.oracle import Oracle
    from longtake.platform.methods.rag import Rag
    from longtake.platform.methods.random_memory import RandomMemory

    budget: dict[str, Any] = {"top_k": options.top_k, "recency_guard": options.recency_guard}
    names = tuple(options.descriptors or ()) or tuple(shipped_for(spec.latent))
    if not names:
        notes.append(f"no embedder for the latents of {spec.name} is shipped; measuring only the controls")
    descriptors = {label: (descriptor, path) for label, descriptor, path in (resolve(name, options) for name in names)}
    if len(descriptors) < len(names):
        raise ConfigError("eval-embedder: two descriptors have the same name; label one of them: LABEL=DESCRIPTOR")
    descriptors.pop(AVG_POOL, None)
    candidates = [Candidate(label, name, Rag(descriptor=path, **budget)) for label, (name, path) in descriptors.items()]
    for candidate in candidates:
        check(candidate, spec)
    sizes = untrained_sizes(candidates, spec)
    candidates += [
        Candidate(AVG_POOL, AVG_POOL, Rag(**budget)),
        Candidate(UNTRAINED, UNTRAINED, Rag(descriptor=str(write_untrained(sizes, options.seed, scratch)), **budget)),
        Candidate(RANDOM, "random-memory", RandomMemory(**budget)),
        Candidate(ORACLE, "oracle-memory", Oracle(**budget)),
    ]
    check(candidates[-1], spec)
    labels = [candidate.label for candidate in candidates]
    if options.base not in labels:
        raise ConfigError(f"--base {options.base}: is not measured; {did_you_mean(options.base, labels)}")
    return candidates


def shipped_for(latent: tuple[int, int, int]) -> list[str]:
    """Shipped embedders for latents of this shape."""
    from longtake.platform.weights.embedder_catalog import embedder_spec, shipped_embedders

    specs = {name: embedder_spec(name) for name in shipped_embedders()}
    return [name for name, sizes in specs.items() if (sizes.in_channels, sizes.spatial_h, sizes.spatial_w) == latent]


def resolve(name: str, options: EmbedderEvalOptions) -> tuple[str, str, str]:
    """Splits `DESCRIPTOR` or `LABEL=DESCRIPTOR` into (label, descriptor, value of the method's parameter)."""
    label, equals, descriptor = name.partition("=")
    if not equals or not NAME.fullmatch(label):
        label, descriptor = "", name
    descriptor = expanded(descriptor)
    if label in CONTROLS and descriptor != label:
        raise ConfigError(f"{name}: {label} is the name of a control; choose another label")
    if not descriptor.startswith(model_registry.SCHEME):
        return label or label_of(descriptor), descriptor, descriptor
    if options.uri is None:
        raise ConfigError(f"{descriptor}: needs a tracking store, but --tracking is {OFF}; give a file or another URI")
    version = model_registry.resolve(descriptor, options.uri, OutputRoot(options.output).models.absolute())
    return label or f"{version.name}-{version.number}", descriptor, str(version.weights)


def label_of(descriptor: str) -> str:
    """The last part of a path that identifies the embedder."""
    parts = [part.removesuffix(".safetensors") for part in Path(descriptor).parts]
    specific = [part for part in parts if part not in GENERIC] or parts or [descriptor]
    label = re.sub(r"[^a-z0-9._-]+", "-", specific[-1].lower()).strip("-._")[:64] or "embedder"
    return f"{label}-embedder" if label in CONTROLS and descriptor != label else label


def check(candidate: Candidate, spec: Any) -> None:
    """Checks the window, the latents, and that the weights exist and fit their sizes."""
    from longtake.platform.methods.parts.descriptors import POOLS
    from longtake.platform.models.embedder import check_embedder
    from longtake.platform.weights.embedder_catalog import embedder_file

    candidate.method.check(spec.window, spec.latent)
    if candidate.method.described_by not in POOLS:
        check_embedder(embedder_file(candidate.method.described_by))


def untrained_sizes(candidates: Sequence[Candidate], spec: Any) -> Any:
    """Sizes of the first trained embedder; without one, small sizes for these latents."""
    from longtake.platform.models.spec import EmbedderSpec
    from longtake.platform.weights.embedder_catalog import embedder_spec

    paths = [candidate.method.described_by for candidate in candidates if candidate.sha256 is not None]
    if paths:
        return embedder_spec(paths[0])
    channels, height, width = spec.latent
    return EmbedderSpec(channels, height, width, latent_dim=128, hidden_dims=(64, 128))


def write_untrained(sizes: Any, seed: int, scratch: Path) -> Path:
    """Writes the file of an untrained embedder; returns its path."""
    from longtake.platform.models.embedder import fresh_embedder, save_embedder

    path = scratch / f"{UNTRAINED}.safetensors"
    save_embedder(fresh_embedder(sizes, seed), path, {"training": None})
    return path
