"""Real, very small backbones for the tests of the jobs: the pocket world with an untrained network of 20,000 numbers.

`tiny` works; `tiny-broken` cannot be told of a prompt that names brick, so that some of its takes fail every time, and
`tiny-wild` makes no numbers of one, and `tiny-killer` kills its process.
"""

import dataclasses
import hashlib
import os
import signal
from pathlib import Path
from typing import ClassVar

import torch

from longtake.platform.backbones.base import BackboneSpec, Condition, backbones
from longtake.platform.backbones.pocket import Pocket, pocket_spec
from longtake.platform.machine.resources import Resources
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.pocket.codec import PocketCodec


def tiny_spec(name: str) -> BackboneSpec:
    spec = pocket_spec(name)
    network = dataclasses.replace(spec.network, dim=32, ffn_dim=32, heads=1, layers=1, freq_dim=16)
    return dataclasses.replace(spec, network=network, schedule=FlowSchedule(steps=(1000,), shift=3.0, ancestral=False))


@backbones.register("tiny")
class Tiny(Pocket):
    spec: ClassVar[BackboneSpec] = tiny_spec("tiny")

    def __init__(self, resources: Resources) -> None:
        self.network = CausalDiT(self.spec.network)
        generator = torch.Generator().manual_seed(1)
        for parameter in self.network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        self.network.eval().requires_grad_(False)
        self.codec = PocketCodec()

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        return {"weights": hashlib.sha256(cls.spec.name.encode()).hexdigest()}


@backbones.register("tiny-broken")
class TinyBroken(Tiny):
    spec: ClassVar[BackboneSpec] = tiny_spec("tiny-broken")

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        if "brick" in prompt:
            raise RuntimeError("no bricks")
        return super().condition(prompt, latent_frames)


@backbones.register("tiny-killer")
class TinyKiller(Tiny):
    """Kills the process that samples a prompt that names brick."""

    spec: ClassVar[BackboneSpec] = tiny_spec("tiny-killer")

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        if "brick" in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().condition(prompt, latent_frames)


@backbones.register("tiny-wild")
class TinyWild(Tiny):
    """Diverges on prompts that name brick."""

    spec: ClassVar[BackboneSpec] = tiny_spec("tiny-wild")

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        found = super().condition(prompt, latent_frames)
        return dataclasses.replace(found, text=found.text * float("nan")) if "brick" in prompt else found


SWEEP = """
name: small
backbones: [tiny]
methods: [native, {rag: {top_k: 4, recency_guard: 2}}]
lengths_s: [3, 6]
prompts: ["dusk, brick; pan right 3 s, left 3 s, repeat", "noon, stone; pan right 3 s, left 3 s, repeat"]
suites: [classical]
output: OUTPUT
tracking: {uri: disabled}
workers: {cluster: inline}
"""


def write_sweep(folder: Path, text: str = SWEEP) -> Path:
    """The sweep file in `folder`, with its results beside it."""
    path = folder / "small.yaml"
    path.write_text(text.replace("OUTPUT", str(folder / "runs")))
    return path
