"""Samples takes with a loaded backbone: yields latents block by block, for the caller to decode.

Owns the noise and the memory of banks. Noise depends on (backbone, first text, seed, block, pass), so that all methods
get the same noise; order, workers and interruptions change no pixel; and a longer take starts exactly like a shorter
one.
Knows no path of a run and no Ray. Holds one block of latents and, for methods that attend past frames, the bank.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.platform import kernels
from longtake.platform.backbones.base import Backbone, BackboneSpec, Condition, Decoder, backbones, check_precision
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.rollout import Block, Rollout, TextSwitch
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import Resources
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.groups import digest
from longtake.platform.models import attention, fp8
from longtake.platform.settings import config
from longtake.platform.takes import Take


class TakeNoise:
    """Standard normal noise [B, n, C, H, W], one row per take, from Philox with the take's noise key."""

    def __init__(self, takes: Sequence[Take], spec: BackboneSpec):
        net = spec.network
        self.shape = (spec.frames_per_block, net.channels, net.latent_height, net.latent_width)
        self.keys = [stream_key(take, "noise") for take in takes]

    def initial(self, block: int) -> Tensor:
        return self.draw(block, 0)

    def renoise(self, block: int, step: int) -> Tensor:
        return self.draw(block, step + 1)

    def draw(self, block: int, part: int) -> Tensor:
        keys = [np.array([key, (block << 8) + part], np.uint64) for key in self.keys]
        rows = [np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape, np.float32) for key in keys]
        return torch.from_numpy(np.stack(rows))


def stream_key(take: Take, stream: str) -> int:
    """A 64-bit key of (stream, backbone, first text, seed). It excludes the method, so that methods get the same noise,
    and what the text changes to, so that a timed prompt begins exactly like the plain one."""
    text = "\0".join((stream, take.backbone, take.prompt, str(take.seed)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class BlockOutput:
    """One finished block of a take: clean latents [n, C, H, W] on the sampler's device, and its row of the trace."""

    index: int
    total: int
    latents: Tensor
    trace: dict[str, Any]


class Sampler:
    """Keeps one backbone loaded. `generate` samples one take and then reports time and memory in `stats`."""

    def __init__(self, backbone: str, resources: Resources | None = None):
        self.resources = resources or Resources()
        self.check(backbones.get(backbone).spec)
        self.backbone: Backbone = backbones.get(backbone)(self.resources)
        capacity = self.resources.bank.on_this_machine(self.resources.samplers_per_machine)
        self.tiers = build_tiers(capacity, self.backbone.network.device)
        self.stats: dict[str, Any] = {}

    def check(self, spec: BackboneSpec) -> None:
        """Raises ConfigError, before weights are read, for a precision that the backbone or device does not support."""
        check_precision(spec, self.resources.precision)
        if self.resources.precision == "fp8":
            fp8.check_device(self.resources.compute_device())

    @property
    def computed_on(self) -> dict[str, str]:
        """Hardware and software of this sampler, for the records of its takes."""
        device, dtype = self.backbone.network.device, self.backbone.network.dtype
        native = "bf16" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")
        kernel = {"kernels": "triton" if kernels.used_on(device) else "torch"} if device.type == "cuda" else {}
        return kernel | {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "dtype": str(dtype).removeprefix("torch."),
            "precision": self.resources.precision or native,
            "attention": attention.backend(device, dtype, self.backbone.spec.network.head_dim),
            "compiled": str(self.resources.compile).lower(),
        }

    def generate(self, take: Take) -> Iterator[BlockOutput]:
        """Blocks in order. Mutates `stats`: {"timings": {"generate"} in seconds, "bank_bytes"}."""
        return (outputs[0] for outputs in self.generate_together([take]))

    def generate_together(self, takes: Sequence[Take]) -> Iterator[list[BlockOutput]]:
        """The same block of every take, in order. The takes, of one cell and with equal prefix and times of switches,
        are rows of one batch.

        On a CPU every row equals, bit for bit, the take sampled alone. Mutates `stats`: the average per take.
        """
        rollout, prefix = self.rollout(takes)
        device, event = self.backbone.network.device, None
        total = takes[0].latent_frames // self.backbone.spec.frames_per_block
        seconds, started = 0.0, time.perf_counter()
        try:
            for block in rollout.blocks(total, prefix):
                if device.type == "cuda":  # run at most one block ahead, so that the clock measures work, not queueing
                    previous, event = event, torch.cuda.current_stream(device).record_event()
                    if previous is not None:
                        previous.synchronize()
                seconds += time.perf_counter() - started
                bank = rollout.cache.bank
                bank_bytes = bank.peak_bytes // len(takes) if bank else 0
                self.stats = {"timings": {"generate": seconds / len(takes)}, "bank_bytes": bank_bytes}
                yield [
                    BlockOutput(block.index, total, latents, trace_row(block, row))
                    for row, latents in enumerate(block.latents)
                ]
                started = time.perf_counter()
        finally:
            rollout.close()

    def decoder(self, take: Take) -> Decoder:
        """A new decoder for the take's latents."""
        return self.backbone.decoder_of(take)

    def rollout(self, takes: Sequence[Take]) -> tuple[Rollout, Tensor | None]:
        """A rollout for takes of one cell, and the latents of their prefix, or None.

        Raises ConfigError, before anything is computed, if the banks do not fit.
        """
        backbone, spec = self.backbone, self.backbone.spec
        conditions = [backbone.condition_of(take) for take in takes]
        method = method_config(takes[0])
        window, prefix = method.window_in(spec.window), None
        if takes[0].prefix_frames:
            prefix = torch.stack([backbone.prefix_latents(t.prompt, t.seed, t.prefix_frames) for t in takes])
        rollout = Rollout(
            backbone.network,
            spec.schedule,
            build_method(takes, method, spec, conditions),
            pad_texts([condition.text[0] for condition in conditions]),
            TakeNoise(takes, spec),
            keep_evicted=method.keeps_evicted,
            bank_dtype=torch_dtype(method.bank_dtype) if method.bank_dtype else None,
            tiers=self.tiers,
            attention_shares=self.resources.attention_shares,
            switches=text_switches(takes, spec, conditions),
            slots=method.context_slots(takes[0].latent_frames, window, spec.network),
        )
        rollout.cache.reserve(method.banked_frames(takes[0].latent_frames, window, spec.frame))
        return rollout, prefix


def text_switches(takes: Sequence[Take], spec: BackboneSpec, conditions: Sequence[Condition]) -> dict[int, TextSwitch]:
    """By block, the texts that the takes of a batch continue with. Raises ValueError if they change at other blocks."""
    if len({take.switch_frames for take in takes}) > 1:
        raise ValueError("takes whose prompts change at other blocks are not rows of one batch")
    return {
        one.frame // spec.frames_per_block: TextSwitch(
            pad_texts([condition.later[number][0] for condition in conditions]), one.cut
        )
        for number, one in enumerate(takes[0].switches)
    }


def pad_texts(texts: list[Tensor]) -> Tensor:
    """Texts [rows, D] of any length -> [B, most rows, D], padded with zeros, as the network pads them."""
    return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)


def method_config(take: Take) -> MethodConfig:
    return config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")


def build_method(
    takes: Sequence[Take], method: MethodConfig, spec: BackboneSpec, conditions: Sequence[Condition]
) -> Method:
    """The context method of the takes, in the backbone's window unless its parameters set another."""
    window, first = method.window_in(spec.window), conditions[0]
    method.check(window, spec.latent)
    cameras = [condition.columns for condition in conditions if condition.columns is not None]
    places = [condition.places for condition in conditions if condition.places is not None]
    info = RolloutInfo(
        window,
        len(takes),
        tuple(stream_key(take, "memory") for take in takes),
        np.stack(cameras) if cameras else None,
        first.view_columns,
        tuple(condition.world_columns for condition in conditions),
        spec.frame,
        spec.network,
        np.stack(places) if places else None,
    )
    return method.build(info)


def trace_row(block: Block, row: int = 0) -> dict[str, Any]:
    """The trace of a block: its query, and [frame, time index, reason, similarity or null] of each entry attended.

    Then, where they say something: `entries`, the names of derived entries by their place in `attended`; `parts`, the
    share of each entry's tokens that is attended over all layers and heads, and `groups`, the digest of what each of
    them attends; `attention`, if it was measured: the share of each entry.
    """
    plan, attended = block.plan, block.plan.rows[row]
    record: dict[str, Any] = {
        "block": block.index,
        "first": block.first,
        "given": block.given,
        "query": list(plan.query_times),
        "attended": [[entry.frame, entry.time, entry.reason, entry.similarity] for entry in attended],
    }
    if names := {str(i): entry.entry for i, entry in enumerate(attended) if entry.entry}:
        record["entries"] = names
    if plan.groups:
        record |= {"parts": [entry.part for entry in attended], "groups": digest(plan.groups[row])}
    return record if block.attention is None else record | {"attention": block.attention[row].tolist()}
