"""`longtake verify FOLDER`: runs golden cases through the engine and compares every number.

A case is NAME.safetensors with NAME.json (format: tests/golden/README.md). A case passes if output,
flow and descriptors are within 5e-5, and every block chooses and attends the same frames.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from longtake.jobs.golden.recorded import check_keys, method_of
from longtake.jobs.golden.tables import same_choice
from longtake.platform.checkpoints.files import load_safetensors, load_strict, read_json
from longtake.platform.errors import ConfigError, LongtakeError, WeightsError
from longtake.platform.generation.rollout import Rollout, TextSwitch
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.parts.descriptors import avg_pool
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

TOLERANCE = 5e-5
"""Largest absolute difference allowed; a float64 run of the recorded cases differs by at most 4.4e-6."""


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
class Verdict:
    """Largest differences of one case; None if it does not record that output. `problem`: why it could not run."""

    case: str
    output: float | None = None
    flow: float | None = None
    descriptors: float | None = None
    frames_agree: bool = False
    problem: str = ""

    @property
    def passed(self) -> bool:
        differences = [d for d in (self.output, self.flow, self.descriptors) if d is not None]
        return not self.problem and self.frames_agree and all(d <= TOLERANCE for d in differences)


def verify(folder: Path) -> int:
    """Prints a verdict per case of `folder`; returns 0 if all pass, else 1. ConfigError if there is none."""
    torch.set_num_threads(1)
    table = Table("case", "output", "flow", "descriptors", "frames", "verdict", title=f"tolerance {TOLERANCE:g}")
    verdicts = [verdict_of(path) for path in case_files(folder)]
    for verdict in verdicts:
        table.add_row(*cells(verdict))
    console = Console()
    console.print(table)
    for verdict in [verdict for verdict in verdicts if verdict.problem]:
        console.print(f"{verdict.case}: {verdict.problem}", markup=False, soft_wrap=True)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def verdict_of(path: Path) -> Verdict:
    """A case that cannot run counts as failed, with its reason; the other cases still run."""
    try:
        return verify_case(path)
    except (LongtakeError, LookupError, RuntimeError, TypeError, ValueError, OSError) as error:
        reason = str(error) if isinstance(error, LongtakeError) else f"{type(error).__name__}: {error}"
        return Verdict(path.stem, problem=" ".join(reason.split()))


def case_files(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder}: is not a folder; give a folder of golden cases (NAME.json with NAME.safetensors)")
    cases = [path for path in sorted(folder.glob("*.json")) if is_case(path)]
    if not cases:
        raise ConfigError(f"{folder}: contains no golden case (.json with `blocks` beside its .safetensors)")
    return cases


def is_case(path: Path) -> bool:
    """Whether the file is JSON with a list of blocks."""
    try:
        facts = read_json(path)
    except WeightsError:
        return False
    return isinstance(facts, dict) and isinstance(facts.get("blocks"), list)


def cells(verdict: Verdict) -> list[str]:
    numbers = ["-" if d is None else f"{d:.1e}" for d in (verdict.output, verdict.flow, verdict.descriptors)]
    agree, passed = "agree" if verdict.frames_agree else "DIFFER", "pass" if verdict.passed else "FAIL"
    return [verdict.case, *numbers, agree, passed]


def verify_case(path: Path) -> Verdict:
    """Run one case and compare."""
    facts, tensors = read_json(path), load_safetensors(path.with_suffix(".safetensors"))
    check_keys(path, facts["config"])
    rollout = build_rollout(path.parent, facts, tensors)
    blocks = list(rollout.blocks(len(facts["blocks"])))
    output = torch.cat([block.latents for block in blocks], dim=1)
    flow = torch.stack([block.commit_flow for block in blocks if block.commit_flow is not None])
    return Verdict(
        path.stem,
        largest(output, tensors["output"]),
        largest(flow, tensors["flow_ctx"]) if "flow_ctx" in tensors else None,
        descriptor_difference(rollout, output, tensors),
        all(same_choice(*pair, facts, rollout.network.spec) for pair in zip(blocks, facts["blocks"], strict=True)),
    )


def largest(ours: Tensor, golden: Tensor) -> float:
    if ours.shape != golden.shape:
        return float("inf")
    difference = (ours - golden.float()).abs()
    return float(difference.max()) if bool(difference.isfinite().all()) else float("inf")


def descriptor_difference(rollout: Rollout, output: Tensor, tensors: dict[str, Tensor]) -> float | None:
    """Compares the descriptors that the method kept, or the average pool of the output if it keeps none."""
    if "descriptors" not in tensors:
        return None
    keeps = isinstance(rollout.method, RetrievalMemory)
    ours = rollout.method.descriptors.all if isinstance(rollout.method, RetrievalMemory) else avg_pool(output)
    if not keeps and ours.shape != tensors["descriptors"].shape:
        return None
    return largest(ours, tensors["descriptors"])


def build_rollout(folder: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Rollout:
    """Sets up the engine as in the recording, in float32."""
    config, spec = facts["config"], spec_of(facts["arch"])
    weights = folder / facts["weights"]
    network = CausalDiT(spec)
    load_strict(network, {key: value.float() for key, value in load_safetensors(weights).items()}, weights)
    chosen = method_of(folder, facts)
    recorded = Window(config.get("local_attn_size", 12), config.get("sink_size", 1), config["num_frame_per_block"])
    window = chosen.window_in(recorded)
    info = RolloutInfo(window, facts["batch"], seeds=(0,) * facts["batch"], network=spec)
    schedule = FlowSchedule(
        tuple(config["denoising_step_list"]), config["timestep_shift"], config["warp_denoising_step"]
    )
    chosen.check(window, (spec.channels, spec.latent_height, spec.latent_width))
    text, commit = tensors["prompt_embeds"].float(), float(config["context_noise"])
    return Rollout(
        network.eval(),
        schedule,
        chosen.build(info),
        text,
        golden_noise(tensors, window.block, len(schedule.steps)),
        commit_timestep=commit,
        keep_evicted=chosen.keeps_evicted,
        keep_flow=True,
        switches={
            prompt["block"]: TextSwitch(tensors[prompt["prompt_embeds"]].float(), prompt.get("cut", False))
            for prompt in facts.get("prompts", [])[1:]
        },
    )


def golden_noise(tensors: dict[str, Tensor], size: int, passes: int) -> GoldenNoise:
    """The recorded noise; a case with a single pass has no `renoise`."""
    again = tensors["renoise"].float() if passes > 1 else torch.empty(0)
    return GoldenNoise(tensors["noise"].float(), again, size)


def spec_of(arch: dict[str, Any]) -> DiTSpec:
    """A recorded `arch` as this engine's spec; ConfigError for a patch that spans frames."""
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
