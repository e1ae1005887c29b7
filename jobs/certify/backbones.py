"""The contract of a backbone: takes are a function of their id, whatever is made before, beside or together with them.

Shapes: latents [F, C, H, W], frames uint8 [f, height, width, 3].
"""

from __future__ import annotations

import builtins
import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from longtake.jobs.certify.check import DECLARATION, OTHER_PROMPT, PROMPT, Checks, disturb, named, require
from longtake.platform.backbones.base import BackboneSpec, backbones
from longtake.platform.checkpoints.files import sha256
from longtake.platform.errors import ConfigError
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.process import set_up_computing
from longtake.platform.machine.resources import Resources
from longtake.platform.methods.rag import Rag
from longtake.platform.takes import MethodSpec, Take

BACKBONE_CHECKS: Checks = {}
check = partial(named, BACKBONE_CHECKS)
WEIGHTS = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy"}


class BackboneSubject:
    """A registered backbone on the CPU, with `rag` so that the bank is in use, and the prompts that it understands."""

    def __init__(self, name: str):
        set_up_computing()
        self.name, self.kind = name, backbones.get(name)

    @property
    def spec(self) -> BackboneSpec:
        return self.kind.spec

    @cached_property
    def sampler(self) -> Sampler:
        return Sampler(self.name, Resources(device="cpu"))

    @cached_property
    def prompts(self) -> list[str]:
        known = []
        for prompt in (PROMPT, OTHER_PROMPT, "a cat on a skateboard", ""):
            try:
                self.kind.check_prompt(prompt)
                known.append(prompt)
            except ConfigError:
                continue
        return known

    def take(self, blocks: int = 8, seed: int = 0, prompt: int = 0) -> Take:
        method = MethodSpec("rag", "rag", asdict(Rag(recency_guard=0)))
        words, frames = self.prompts[prompt % len(self.prompts)], blocks * self.spec.frames_per_block
        return Take(self.name, method, max(1, frames // self.spec.latent_fps), frames, words, seed)

    def latents(self, takes: Sequence[Take], sampler: Sampler | None = None) -> Tensor:
        """[B, F, C, H, W] of takes that are made together."""
        blocks = (sampler or self.sampler).generate_together(takes)
        return torch.cat([torch.stack([row.latents for row in rows]) for rows in blocks], dim=1)

    @cached_property
    def made(self) -> Tensor:
        """The latents of the first take, in a sampler of its own."""
        return self.latents([self.take()], Sampler(self.name, Resources(device="cpu")))[0]


@check(DECLARATION)
def declared(subject: BackboneSubject) -> str:
    spec = subject.spec
    require(spec.name == subject.name, f"spec.name = {spec.name!r}, registered as {subject.name!r}")
    require(spec.width % 2 == spec.height % 2 == 0, f"{spec.width}x{spec.height}: sides of a video are even")
    costs = subject.kind.cost(subject.take(), Rag())
    require(all(math.isfinite(cost) and cost >= 0 for cost in costs.values()), f"cost() gives {costs}")
    made = subject.sampler.backbone
    return f"{spec.width}x{spec.height} at {spec.fps} fps, window {made.spec.window.size}"


@check("prompts")
def prompts(subject: BackboneSubject) -> str:
    """A prompt is accepted and conditions, or is refused with a ConfigError."""
    require(subject.prompts, "check_prompt refuses a pocket prompt, a plain sentence and an empty one")
    for prompt in subject.prompts:
        text = subject.sampler.backbone.condition(prompt, 24).text
        require(len(text) == 1 and torch.isfinite(text).all(), f"condition({prompt!r}) gives {list(text.shape)}")
    return f"{len(subject.prompts)} of 4 accepted, the others refused"


@check("frames")
def frames(subject: BackboneSubject) -> str:
    take, spec = subject.take(), subject.spec
    made = subject.sampler.decoder(take).push(subject.made)
    due = (take.num_frames, spec.height, spec.width, 3)
    require(made.shape == due and made.dtype == np.uint8, f"decodes to {made.dtype} {made.shape}, not to uint8 {due}")
    return f"{len(subject.made)} latent frames give {len(made)} of video"


@check("same bytes")
def same(subject: BackboneSubject) -> str:
    """A take that is made again, after another one, or shorter, has the same latents."""
    disturb(1)
    subject.latents([subject.take(seed=5, prompt=1)])
    again, short = subject.latents([subject.take()])[0], subject.latents([subject.take(5)])[0]
    require(torch.equal(again, subject.made), "made again after another take, a take has other latents")
    require(torch.equal(short, subject.made[: len(short)]), "a longer take does not begin like the shorter one")
    return "again, after another take, and shorter"


@check("seeds")
def seeds(subject: BackboneSubject) -> str:
    short = [subject.latents([subject.take(1, seed)])[0] for seed in (0, 1)]
    require(not torch.equal(*short), "seeds 0 and 1 give the same latents: the noise is not used")
    return "seeds 0 and 1 differ"


@check("batch")
def batch(subject: BackboneSubject) -> str:
    """Takes that are made together are, bit by bit, those made alone, in any order."""
    takes = [subject.take(6, seed, seed) for seed in range(3)]
    alone = [subject.latents([take])[0] for take in takes]
    for order in ([0, 1, 2], [2, 1]):
        together = subject.latents([takes[row] for row in order])
        for place, row in enumerate(order):
            same = torch.equal(together[place], alone[row])
            require(same, f"take {place + 1} of {len(order)} has other latents than alone")
    return "3 and 2 takes together: bit by bit as alone"


@check("decoder")
def decoder(subject: BackboneSubject) -> str:
    """Block by block, beside another decoder, or at once: the same frames, in arrays that stay; latents do too."""
    take, other = subject.take(), subject.take(seed=1, prompt=1)
    parts, before = list(subject.made.split(subject.spec.frames_per_block)), subject.made.clone()
    whole = subject.sampler.decoder(take).push(subject.made)
    first, beside, streamed, kept = subject.sampler.decoder(take), subject.sampler.decoder(other), [], []
    for part in parts:
        streamed.append(first.push(part))
        kept.append(streamed[-1].copy())
        beside.push(part.flip(0))
    require(torch.equal(subject.made, before), "push changes the latents")
    require(
        np.array_equal(np.concatenate(streamed), np.concatenate(kept)), "push writes again to an array that it gave"
    )
    require(np.array_equal(np.concatenate(kept), whole), "frames depend on the pushes, or on another decoder")
    return f"{len(parts)} pushes beside another video, or one: the same {len(whole)} frames"


@check("fingerprint")
def fingerprint(subject: BackboneSubject) -> str:
    """The sha256 of every file of weights that is read when the backbone is made."""
    prints = subject.kind.fingerprint()
    texts = all(isinstance(part, str) and part for pair in prints.items() for part in pair)
    require(prints and texts and prints == subject.kind.fingerprint(), f"{prints} is no mapping of texts that stays")
    with opened_files() as files:
        subject.kind(Resources(device="cpu"))
    weights = [path for path in map(Path, files) if path.suffix in WEIGHTS and path.is_file()]
    missing = [str(path) for path in weights if sha256(path) not in prints.values()]
    require(not missing, f"{', '.join(missing)}: read, but its sha256 is not in the fingerprint")
    return f"{len(prints)} entries, {len(weights)} files of weights read"


@contextmanager
def opened_files() -> Iterator[dict[str, None]]:
    """The names of the files that are opened meanwhile, by Python or by safetensors, which opens them itself."""
    import safetensors
    import safetensors.torch

    found: dict[str, None] = {}

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, *rest: Any, **options: Any) -> Any:
            found[str(file)] = None
            return function(file, *rest, **options)

        return opened

    with ExitStack() as patches:
        for module, name in (
            (builtins, "open"),
            (io, "open"),
            (safetensors, "safe_open"),
            (safetensors.torch, "safe_open"),
        ):
            patches.enter_context(mock.patch.object(module, name, noting(getattr(module, name))))
        yield found
