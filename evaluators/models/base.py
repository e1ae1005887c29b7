"""The networks of metrics and the loading of their weights.

One file of this folder adds one network: how to build it without weights, and how the published tensors map to the
names of its library. Weights are read from `LONGTAKE_WEIGHTS/<artefact>/metric.safetensors` under their published
names. Missing and unused tensors are errors. A loaded network is in float32 (or half precision if requested) and in
eval mode, and its weights require no gradient.
"""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from longtake.evaluators.models.published import check_published, differences, published_shapes
from longtake.platform.errors import SetupError, WeightsError
from longtake.platform.registry import Registry
from longtake.platform.weights.artefacts import artefact_file, checked_sha256, recorded_sha256

__all__ = ["Network", "Tensors", "load", "missing", "networks", "published_shapes", "weights_sha256"]

Tensors = Mapping[str, Tensor]
FILE = "metric.safetensors"
EXTRA = "pip install '.[vbench]'"
DISTRIBUTIONS = {"PIL": "pillow", "open_clip": "open-clip-torch"}  # packages whose name on PyPI differs
# Installed without their dependencies, which conflict with this project's; scores are checked with these versions.
PINNED = {"vbench": "0.1.5", "pyiqa": "0.1.16"}


class Network(ABC):
    """One network: its artefacts, the packages that it imports, and how to build it."""

    name: ClassVar[str]
    artefacts: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[str | None] = None  # a JSON file in the folder of the last artefact

    @abstractmethod
    def build(self) -> nn.Module:
        """The network without weights, on the default device (possibly meta)."""

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        """Map published tensors (by artefact) to the tensors of `build`. Default: one artefact, the same names."""
        return dict(published[self.artefacts[0]])

    def halve(self, network: nn.Module) -> None:
        """Change a loaded network to half precision, in place."""
        raise ValueError(f"network {self.name!r} runs in float32 only")


networks: Registry[type[Network]] = Registry("network", "longtake.evaluators.models")


def load(
    name: str,
    device: torch.device | str = "cpu",
    weights: Mapping[str, Tensors] | None = None,
    settings: Mapping[str, Any] | None = None,
    half: bool = False,
) -> nn.Module:
    """A network with its weights, ready to run on `device`.

    `weights` (artefact -> published tensors) and `settings` replace the files; the tensors are then shared, not copied.
    Raises SetupError for a missing package, and WeightsError for weights that are missing or do not fit.
    """
    network = networks.get(name)()
    for line in missing_packages(network):
        raise SetupError(f"network {name!r}: {line}")
    if weights is None:
        weights, settings = {one: read(one) for one in network.artefacts}, read_settings(network)
    for one in network.artefacts:
        check_published(one, {key: value.shape for key, value in weights[one].items()}, f"{one}/{FILE}")
    with torch.device("meta"):
        module = network.build()
    fill(module, network.rename(weights, settings or {}), name)
    module.eval().requires_grad_(False)
    if half:
        network.halve(module)
    return module.to(device)


def read(artefact: str) -> dict[str, Tensor]:
    """Read the tensors of an artefact. Raises WeightsError for a missing or damaged file, or bytes that are not those
    that were recorded."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = artefact_file(artefact, FILE)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run longtake weights pull {artefact}") from error
    checked_sha256(artefact)
    return tensors


def read_settings(network: Network) -> dict[str, Any]:
    if network.settings is None:
        return {}
    path = artefact_file(network.artefacts[-1], network.settings)
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        remedy = f"run longtake weights pull {network.artefacts[-1]}"
        raise WeightsError(f"{path}: cannot be read as a JSON object ({error}); {remedy}") from error


def fill(module: nn.Module, tensors: Tensors, name: str) -> None:
    """Assign tensors to a meta module, floats as float32. Raises SetupError if a library has changed the module."""
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    actual = {key: tuple(value.shape) for key, value in tensors.items()}
    if actual != expected:
        raise SetupError(f"network {name!r}: {differences(actual, expected)}; install the tested libraries: {EXTRA}")
    as_float = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    module.load_state_dict(as_float, assign=True)


def missing(name: str) -> list[str]:
    """One line per missing package or weight file, with the command that installs it; empty if the network can run."""
    network = networks.get(name)()
    return missing_packages(network) + [line for one in network.artefacts for line in missing_weights(one)]


def missing_packages(network: Network) -> list[str]:
    return [line for package in network.packages for line in missing_package(package)]


def missing_package(package: str) -> list[str]:
    if package not in PINNED:
        return [] if importlib.util.find_spec(package) else [f"{package} is not installed; run {EXTRA}"]
    requirement = f"{package}=={PINNED[package]}"
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = ""
    if installed == PINNED[package]:
        return []
    state = f"{installed} is installed, not {PINNED[package]}" if installed else "is not installed"
    return [f"{package} {state}; run pip install --no-deps {requirement}"]


def missing_weights(artefact: str) -> list[str]:
    try:
        recorded_sha256(artefact)
    except WeightsError as error:
        return [str(error)]
    return []


def weights_sha256(name: str) -> dict[str, str]:
    """Artefact -> recorded SHA-256 of the weights of a network. Raises WeightsError for missing weights."""
    return {one: recorded_sha256(one) for one in networks.get(name).artefacts}
