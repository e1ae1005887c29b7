"""Networks with seeded weights, the ones that the official answers were made with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from longtake.evaluators.models.base import load, networks, published_shapes
from tests.parity.seeded import published

LORA = {"r": 16, "lora_alpha": 0.5, "target_modules": ["qkv"]}


def weights_for(name: str) -> dict[str, dict[str, Tensor]]:
    """Artefact -> seeded tensors under their published names."""
    return {one: published(one, published_shapes(one)) for one in networks.get(name).artefacts}


@pytest.fixture(scope="module")
def seeded_network() -> Callable[[str], nn.Module]:
    """Name -> the network; the last one is kept, since a module asks for one after another."""
    held: dict[str, nn.Module] = {}

    def get(name: str) -> nn.Module:
        if name not in held:
            held.clear()
            held[name] = load(name, weights=weights_for(name), settings=LORA)
        return held[name]

    return get
