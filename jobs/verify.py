"""`longtake verify FOLDER`: run golden cases through the engine and compare number by number.

A case is NAME.safetensors with NAME.json (format: tests/golden/README.md). Passing means output and flow within
5e-5, descriptors within 5e-5, and the same frames chosen and attended in every block.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import Block, Rollout
from longtake.platform.methods.base import MethodConfig, RolloutInfo, Window
from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag, RetrievalMemory
from longtake.platform.models.causal_dit import CausalDiT, DiTSpec
from longtake.platform.models.checkpoints import load_safetensors, load_strict, read_json
from longtake.platform.models.schedule import FlowSchedule

TOLERANCE = 5e-5
"""Largest absolute difference allowed; a float64 run of the recorded cases differs by at most 4.4e-6."""


@dataclass(frozen=True)
class GoldenNoise:
    """Noise as recorded: `noise` [B, F, C, H, W] and `renoise` [blocks, passes - 1, B, n, C, H, W]."""

    noise: Tensor
    again: Tensor
    size: int

    def initial(self, block: int) -> Tensor:
        return self.noise[:, block * self.size : (block + 1) * self.size]

    def renoise(self, block: int, step: int) -> Tensor:
        return self.again[block, step]


@dataclass(frozen=True)
class Verdict:
    """Largest differences of one case; None where the case records nothing to compare."""

    case: str
    output: float
    flow: float | None
    descriptors: float | None
    frames_agree: bool

    @property
    def passed(self) -> bool:
        worst = [d for d in (self.output, self.flow, self.descriptors) if d is not None]
        return self.frames_agree and all(d <= TOLERANCE for d in worst)


def verify(folder: Path) -> int:
    """Print a verdict per case of `folder`; 0 if all pass, 1 if any fails. ConfigError if there is no case."""
    torch.set_num_threads(1)
    table = Table("case", "output", "flow", "descriptors", "frames", "verdict", title=f"tolerance {TOLERANCE:g}")
    verdicts = []
    for path in case_files(folder):
        verdicts.append(verify_case(path))
        table.add_row(*cells(verdicts[-1]))
    Console().print(table)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def case_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; give one that holds golden cases (NAME.json with NAME.safetensors)")
    found = [path for path in sorted(folder.glob("*.json")) if "blocks" in read_json(path)]
    if not found:
        raise ConfigError(f"{folder}: holds no golden case (a .json with `blocks` beside its .safetensors)")
    return found


def cells(verdict: Verdict) -> list[str]:
    numbers = ["-" if d is None else f"{d:.1e}" for d in (verdict.output, verdict.flow, verdict.descriptors)]
    agree, passed = "agree" if verdict.frames_agree else "DIFFER", "pass" if verdict.passed else "FAIL"
    return [verdict.case, *numbers, agree, passed]


def verify_case(path: Path) -> Verdict:
    """Run one case and compare."""
    facts, tensors = read_json(path), load_safetensors(path.with_suffix(".safetensors"))
    rollout = build_rollout(path.parent, facts, tensors)
    blocks = list(rollout.blocks(len(facts["blocks"])))
    output = torch.cat([block.latents for block in blocks], dim=1)
    flow = torch.stack([block.commit_flow for block in blocks])
    return Verdict(
        path.stem,
        largest(output, tensors["output"]),
        largest(flow, tensors["flow_ctx"]) if "flow_ctx" in tensors else None,
        descriptor_difference(rollout, tensors),
        all(map(same_frames, blocks, facts["blocks"])),
    )


def largest(ours: Tensor, golden: Tensor) -> float:
    difference = (ours - golden).abs()
    return float(difference.max()) if bool(difference.isfinite().all()) else float("inf")


def descriptor_difference(rollout: Rollout, tensors: dict[str, Tensor]) -> float | None:
    if not isinstance(rollout.method, RetrievalMemory) or "descriptors" not in tensors:
        return None
    return largest(rollout.method.descriptors.all, tensors["descriptors"])


def same_frames(block: Block, golden: dict[str, Any]) -> bool:
    """Attended frames, their time indices, their order and the query's indices."""
    attended = [[[at.frame, at.time] for at in row] for row in block.plan.rows]
    return attended == golden["attended"] and list(block.plan.query_times) == golden["query_positions"]


def build_rollout(folder: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Rollout:
    """The engine set up as the case was recorded."""
    config = facts["config"]
    weights = folder / facts["weights"]
    network = CausalDiT(spec_of(facts["arch"]))
    load_strict(network, load_safetensors(weights), weights)
    window = Window(config["local_attn_size"], config["sink_size"], config["num_frame_per_block"])
    info = RolloutInfo(window, facts["batch"], seeds=(0,) * facts["batch"])
    schedule = FlowSchedule(
        tuple(config["denoising_step_list"]), config["timestep_shift"], config["warp_denoising_step"]
    )
    noise = GoldenNoise(tensors["noise"], tensors["renoise"], window.block)
    chosen = method_of(folder, config, window, spec_of(facts["arch"]))
    method = chosen.build(info)
    text, commit = tensors["prompt_embeds"], float(config["context_noise"])
    keep = chosen.keeps_evicted
    return Rollout(network.eval(), schedule, method, text, noise, commit_timestep=commit, keep_evicted=keep)


def method_of(folder: Path, config: dict[str, Any], window: Window, spec: DiTSpec) -> MethodConfig:
    if not config["use_latentmem"]:
        return Native()
    descriptor = str(folder / config["ae_weights"]) if config["compression_method"] == "ae" else "avg-pool"
    rag = Rag(top_k=config["memory_size"], recency_guard=config["recent_exclude"], descriptor=descriptor)
    rag.check(window, (spec.channels, spec.latent_height, spec.latent_width))
    return rag


def spec_of(arch: dict[str, Any]) -> DiTSpec:
    """A recorded `arch` as this engine's spec."""
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
