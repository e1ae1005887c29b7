"""The engine, set up as a case was recorded, and a run of it that keeps what cases record beside latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.jobs.golden.recorded import method_of
from longtake.platform.checkpoints.files import load_safetensors, load_strict
from longtake.platform.errors import ConfigError
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.rollout import Block, Rollout, TextSwitch
from longtake.platform.methods.base import Pass, RolloutInfo, Source, Window
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

ALWAYS = {"model_type": "t2v", "qk_norm": True, "cross_attn_norm": True}
"""What is so in every network of ours."""
STATES = ("memory", "held", "chunks", "kinds")
"""What methods call their choices so far; lists, of a row each."""


@dataclass(frozen=True)
class GoldenNoise:
    """The recorded noise: `noise` [B, F, C, H, W] and `renoise` [blocks, passes - 1, B, n, C, H, W]."""

    noise: Tensor
    again: Tensor
    size: int

    def initial(self, block: int) -> Tensor:
        return self.noise[:, block * self.size : (block + 1) * self.size]

    def renoise(self, block: int, step: int) -> Tensor:
        return self.again[block, step]


@dataclass(frozen=True)
class KeepingSchedule(FlowSchedule):
    """`predicted`: the clean latents of every denoising pass so far."""

    predicted: list[Tensor] = field(default_factory=list)

    def clean(self, noisy: Tensor, flow: Tensor, sigma: Tensor) -> Tensor:
        self.predicted.append(super().clean(noisy, flow, sigma))
        return self.predicted[-1]


class ObservedRollout(Rollout):
    """`recached`: the network's flow in every pass that computed frames again. `commit_timestep`: of commit passes."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.switching, self.recached = False, list[Tensor]()
        self.commit_timestep = float(settings["commit_timestep"])

    def switch(self, to: TextSwitch, camera: Camera) -> None:
        self.switching = True
        super().switch(to, camera)
        self.switching = False

    def commit(
        self, latents: Tensor, entries: list[Tensor], passes: frozenset[Pass], measure: bool = False
    ) -> Tensor | None:
        flow = super().commit(latents, entries, passes, measure)
        if self.switching and flow is not None:
            self.recached.append(flow)
        return flow


@dataclass(frozen=True)
class Run:
    """What a rollout left. `made`: the derived entries that the last block attended; `states`: what the method had
    chosen before each block and after the last, by attribute."""

    rollout: ObservedRollout
    blocks: list[Block]
    made: Mapping[Source, Tensor]
    states: list[dict[str, list[Any]]]

    @property
    def output(self) -> Tensor:
        return torch.cat([block.latents for block in self.blocks], dim=1)

    @property
    def predicted(self) -> Tensor:
        """[blocks, passes - 1, B, n, C, H, W]: clean latents of every pass but the last."""
        assert isinstance(self.rollout.schedule, KeepingSchedule)
        made = torch.stack(self.rollout.schedule.predicted)
        return made.unflatten(0, (len(self.blocks), -1))[:, :-1]


def run(rollout: ObservedRollout, count: int) -> Run:
    """Generates so many blocks."""
    blocks, made, states = list[Block](), dict[Source, Tensor](), [state(rollout)]
    for block in rollout.blocks(count):
        blocks.append(block)
        states.append(state(rollout))
        if block.index == count - 2:  # what comes after is for a block that does not
            made = {source: entry for source, (_, entry) in rollout.cache.made.items()}
    return Run(rollout, blocks, made, states)


def state(rollout: Rollout) -> dict[str, list[Any]]:
    """The method's choices so far; rows that it changes in place are copied."""
    found = {name: getattr(rollout.method, name) for name in STATES if hasattr(rollout.method, name)}
    return {name: [row.copy() if isinstance(row, list) else row for row in rows] for name, rows in found.items()}


def build_rollout(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ObservedRollout:
    """Sets up the engine as in the recording, in float32. `path`: the .json of the case."""
    config, spec = facts["config"], spec_of(facts["arch"])
    weights = path.parent / facts["weights"]
    network = CausalDiT(spec)
    load_strict(network, {key: value.float() for key, value in load_safetensors(weights).items()}, weights)
    chosen = method_of(path, facts)
    recorded = Window(config.get("local_attn_size", 12), config.get("sink_size", 1), config["num_frame_per_block"])
    window = chosen.window_in(recorded)
    info = RolloutInfo(window, facts["batch"], seeds=(0,) * facts["batch"], network=spec)
    schedule = KeepingSchedule(steps_of(path, config), config["timestep_shift"], config["warp_denoising_step"])
    chosen.check(window, (spec.channels, spec.latent_height, spec.latent_width))
    texts = {
        prompt["block"]: TextSwitch(tensors[prompt["prompt_embeds"]].float(), prompt.get("cut", False))
        for prompt in facts.get("prompts", [])
    }
    first = texts.pop(0, TextSwitch(tensors["prompt_embeds"].float()))
    return ObservedRollout(
        network.eval(),
        schedule,
        chosen.build(info),
        first.text,
        golden_noise(tensors, window.block, len(schedule.steps)),
        commit_timestep=float(config["context_noise"]),
        keep_evicted=chosen.keeps_evicted,
        keep_flow=True,
        switches=texts,
    )


def steps_of(path: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The recorded steps; 750.0 is 750. Raises ConfigError for a fraction of a step that the schedule would warp."""
    steps = tuple(int(step) if step == int(step) else step for step in config["denoising_step_list"])
    if config["warp_denoising_step"] and not all(isinstance(step, int) for step in steps):
        raise ConfigError(f"{path}: config.denoising_step_list = {[*steps]}: must be whole steps, which can be warped")
    return steps


def golden_noise(tensors: Mapping[str, Tensor], size: int, passes: int) -> GoldenNoise:
    """The recorded noise; a case with a single pass has no `renoise`."""
    again = tensors["renoise"].float() if passes > 1 else torch.empty(0)
    return GoldenNoise(tensors["noise"].float(), again, size)


def sizes(arch: Mapping[str, Any]) -> dict[str, int]:
    """What follows from other sizes of a network."""
    rows, columns = (
        arch[f"latent_{side}"] // size for side, size in zip(("height", "width"), arch["patch_size"][1:], strict=True)
    )
    return {"out_dim": arch["in_dim"], "head_dim": arch["dim"] // arch["num_heads"], "tokens_per_frame": rows * columns}


def spec_of(arch: Mapping[str, Any]) -> DiTSpec:
    """A recorded `arch` as this engine's spec; ConfigError for another network, or a patch that spans frames."""
    for key, value in (ALWAYS | sizes(arch)).items():
        if arch.get(key, value) != value:
            raise ConfigError(f"arch.{key} = {arch[key]!r}: must be {value!r}; use another case")
    if arch["patch_size"][0] != 1:
        raise ConfigError(f"patch_size {arch['patch_size']}: a patch must be one frame deep; use another case")
    return DiTSpec(
        dim=arch["dim"],
        ffn_dim=arch["ffn_dim"],
        heads=arch["num_heads"],
        layers=arch["num_layers"],
        channels=arch["in_dim"],
        latent_height=arch["latent_height"],
        latent_width=arch["latent_width"],
        text_len=arch["text_len"],
        text_dim=arch["text_dim"],
        freq_dim=arch["freq_dim"],
        patch=tuple(arch["patch_size"][1:]),
        eps=arch["eps"],
    )
