"""What a network of a metric is, and how it gets its weights.

One file of this folder adds one network: how to build it empty from its library, and how the published tensors map to
the library's names. Weights come from `LONGTAKE_WEIGHTS/<artefact>/metric.safetensors` under their published names and
must fit both ways: nothing missing, nothing unused. A loaded network is float32 (or half, where it says so), in eval
mode, and its weights take no gradient.
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
from longtake.platform.weights.artefacts import artefact_file, recorded_sha256

__all__ = ["Network", "Tensors", "load", "missing", "networks", "published_shapes", "weights_sha256"]

Tensors = Mapping[str, Tensor]
FILE = "metric.safetensors"
EXTRA = "pip install 'longtake[vbench]'"
DISTRIBUTIONS = {"PIL": "pillow", "open_clip": "open-clip-torch"}  # where the name on the index is another
# Installed without what they depend on, which cannot stand beside this project's own; scores are checked with these.
PINNED = {"vbench": "0.1.5", "pyiqa": "0.1.16"}


class Network(ABC):
    """One network: its artefacts, the importable packages it needs, and how to make it."""

    name: ClassVar[str]
    artefacts: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[str | None] = None  # a json file beside the weights, in the last artefact's folder

    @abstractmethod
    def build(self) -> nn.Module:
        """The network without weights, on the default device, which may be meta."""

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        """Artefact -> published tensors, to the tensors that `build` has. Here: one artefact, the same names."""
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

    `weights` (artefact -> published tensors) and `settings` stand in for the files; the tensors are then shared, not
    copied. Raises SetupError when a package is missing and WeightsError when weights are, or do not fit.
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
    """The tensors of an artefact. Raises WeightsError when the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = artefact_file(artefact, FILE)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run longtake weights pull {artefact}") from error


def read_settings(network: Network) -> dict[str, Any]:
    if network.settings is None:
        return {}
    path = artefact_file(network.artefacts[-1], network.settings)
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        remedy = f"run longtake weights pull {network.artefacts[-1]}"
        raise WeightsError(f"{path}: cannot be read as a json table ({error}); {remedy}") from error


def fill(module: nn.Module, tensors: Tensors, name: str) -> None:
    """Give a meta module its tensors, floats as float32. Raises SetupError when an installed library has changed."""
    want = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    have = {key: tuple(value.shape) for key, value in tensors.items()}
    if have != want:
        raise SetupError(f"network {name!r}: {differences(have, want)}; install the tested libraries: {EXTRA}")
    as_float = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    module.load_state_dict(as_float, assign=True)


def missing(name: str) -> list[str]:
    """What a network lacks here, one line each with the command that brings it; empty when it can run."""
    network = networks.get(name)()
    return missing_packages(network) + [line for one in network.artefacts for line in missing_weights(one)]


def missing_packages(network: Network) -> list[str]:
    return [line for package in network.packages for line in missing_package(package)]


def missing_package(package: str) -> list[str]:
    if package not in PINNED:
        return [] if importlib.util.find_spec(package) else [f"{package} is not installed; run {EXTRA}"]
    wanted = f"{package}=={PINNED[package]}"
    try:
        found = version(package)
    except PackageNotFoundError:
        found = ""
    if found == PINNED[package]:
        return []
    state = f"{found} is installed, not {PINNED[package]}" if found else "is not installed"
    return [f"{package} {state}; run pip install --no-deps {wanted}"]


def missing_weights(artefact: str) -> list[str]:
    try:
        recorded_sha256(artefact)
    except WeightsError as error:
        return [str(error)]
    return []


def weights_sha256(name: str) -> dict[str, str]:
    """Artefact -> the recorded hash of what a network reads. Raises WeightsError when something is missing."""
    return {one: recorded_sha256(one) for one in networks.get(name).artefacts}
