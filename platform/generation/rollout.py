"""The block loop: denoises the frames of a block with the context that the method planned, commits them, and repeats.

A block takes passes + 1 runs of the network: the denoising passes, and one at timestep 0 that writes the clean keys and
values to the cache. Prefix frames are not denoised. During the last pass the next block is prepared: evicted frames
move to the bank, the method plans, the planned frames are fetched, and noise is drawn. Where the prompt changes, the
frames that the method asks for are run again first. Knows no method, path or Ray. Only the bank grows (and one
descriptor per frame, for methods that compare frames), and inside a block the host never waits for the device, unless
the method watches passes.

Shapes: B batch, n frames a block, C channels, H x W latent size.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.tier import Tier
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.context import ContextBuffer
from longtake.platform.generation.grouped_context import GroupedContext
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.base import Method, Pass, Plan
from longtake.platform.models.causal_dit import CausalDiT, Modulation
from longtake.platform.models.schedule import FlowSchedule


class Noise(Protocol):
    """The source of a rollout's noise. Both methods return [B, n, C, H, W] that depends only on their arguments."""

    def initial(self, block: int) -> Tensor: ...

    def renoise(self, block: int, step: int) -> Tensor: ...


@dataclass(frozen=True)
class Block:
    """One finished block: clean latents and the plan that produced them.

    `given`: the latents come from the prefix. `commit_flow`: the network's flow in the commit pass, if requested.
    `attention`, if requested: per row, the share of attention of each plan entry, measured in the last denoising pass
    or, for a prefix block, in the commit pass.
    """

    index: int
    first: int
    latents: Tensor
    plan: Plan
    given: bool
    commit_flow: Tensor | None = None
    attention: Tensor | list[Tensor] | None = None


@dataclass(frozen=True)
class TextSwitch:
    """Another text [B, rows, D] from a block on; `cut`: it tells of another scene."""

    text: Tensor
    cut: bool = False


@dataclass(frozen=True)
class Prepared:
    """The inputs of a block. `noise`: the initial noise, then one per renoising; empty for a prefix block."""

    plan: Plan
    camera: Camera
    noise: list[Tensor]


FIRST_SLOTS = 24
"""Slots of the context's buffer at first, if the caller does not say; it doubles where a block attends more."""
COMMIT: dict[bool, frozenset[Pass]] = {False: frozenset({"commit"}), True: frozenset({"first", "commit"})}
"""Which passes the commit pass is, by whether the block is given: it has no other then."""
FIRST: frozenset[Pass] = frozenset({"first"})
NEITHER: frozenset[Pass] = frozenset()


class Rollout:
    """Generates any number of blocks, on the network's device and in its dtype. `cache.bank` holds evicted frames.
    `switches`: by block, the texts that follow `text`; `slots`: the most frames that a block will attend."""

    def __init__(
        self,
        network: CausalDiT,
        schedule: FlowSchedule,
        method: Method,
        text: Tensor,
        noise: Noise,
        *,
        commit_timestep: float = 0.0,
        keep_evicted: bool = True,
        bank_dtype: torch.dtype | None = None,
        tiers: list[Tier] | None = None,
        attention_shares: bool = False,
        keep_flow: bool = False,
        switches: Mapping[int, TextSwitch] | None = None,
        slots: int | None = None,
    ):
        spec, window, batch = network.spec, method.window, text.shape[0]
        device, dtype = network.device, network.dtype
        self.network, self.schedule, self.method, self.noise = network, schedule, method, noise
        self.attention_shares, self.keep_flow = attention_shares, keep_flow
        bank = None
        if keep_evicted:
            tiers = build_tiers(BankCapacity(), device) if tiers is None else tiers
            bank = Bank(tiers, bank_dtype or dtype, dtype, device)
        entry = (2, spec.layers, batch, spec.frame_tokens, spec.heads, spec.head_dim)
        self.cache = KVCache(entry, window, bank, dtype, device)
        self.context: ContextBuffer | GroupedContext
        if method.grouped:
            self.context = GroupedContext(spec, batch, method)
        else:
            self.context = ContextBuffer(spec, batch, slots or min(window.size, FIRST_SLOTS), dtype, device)
        self.prepared: dict[int, Prepared] = {}
        self.switches = dict(switches or {})
        self.recent = deque[Tensor](maxlen=-(-window.size // window.block) if self.switches else 0)
        with torch.inference_mode():
            self.text = network.text_kv(text)
            self.passes = [(s, network.modulate(t)) for s, t in zip(self.sigmas(), schedule.timesteps, strict=True)]
            self.commit_modulation = network.modulate(torch.tensor(commit_timestep))
            if device.type == "cuda" and isinstance(self.context, ContextBuffer):
                self.context.warm_up(window.block, self.text[0])

    def sigmas(self) -> list[Tensor]:
        return list(self.schedule.sigma(self.schedule.timesteps))

    def blocks(self, count: int, prefix: Tensor | None = None) -> Iterator[Block]:
        """Blocks 0 .. count - 1. The first k blocks take their latents from `prefix` [B, n * k, C, H, W].

        Raises ValueError if the prefix is not a whole number of blocks.
        """
        size = self.method.window.block
        if prefix is not None and prefix.shape[1] % size:
            raise ValueError(f"a prefix of {prefix.shape[1]} frames is not a whole number of blocks of {size}")
        given = [] if prefix is None else list(prefix.split(size, dim=1))
        for index in range(count):
            block = self.block(index, given[index] if index < len(given) else None)
            if index + 1 < count:
                self.prepared[index + 1] = self.prepare(index + 1, index + 1 < len(given))
            yield block

    @torch.inference_mode()
    def prepare(self, index: int, given: bool = False) -> Prepared:
        """Plan block `index`, start to fetch its context and draw its noise. The previous block must be finished."""
        first = index * self.method.window.block
        noise = [] if given else self.draw(index)  # before the plan, which waits for descriptors
        camera = Camera(self.method.info, first)
        if index in self.switches:
            self.switch(self.switches[index], camera)
        plan = self.method.plan(first)
        self.cache.prefetch(self.context.missing(plan, self.cache, camera))
        return Prepared(plan, camera, noise)

    def switch(self, to: TextSwitch, camera: Camera) -> None:
        """Continue with another text. Frames that the method names get their keys and values anew, in one pass. Before
        block 0 there are none: it only has another text."""
        self.text = self.network.text_kv(to.text)
        again = self.method.switch(camera.first, to.cut) if camera.first else None
        if again is None:
            return
        kept = torch.cat([*self.recent], dim=1)
        latents = kept[:, again.frames.start - camera.first :][:, : len(again.frames)]
        self.context.load(again.plan, self.cache, camera)
        self.commit(latents, self.cache.open_frames(again.frames), COMMIT[True] if again.watched else NEITHER)

    def draw(self, index: int) -> list[Tensor]:
        """All noise of a block, on the device."""
        again = range(len(self.passes) - 1) if self.schedule.ancestral else []
        drawn = [self.noise.initial(index), *(self.noise.renoise(index, step) for step in again)]
        if self.network.device.type == "cpu":
            return drawn
        return [noise.pin_memory().to(self.network.device, non_blocking=True) for noise in drawn]

    @torch.inference_mode()
    def block(self, index: int, given: Tensor | None = None) -> Block:
        first = index * self.method.window.block
        prepared = self.prepared.pop(index, None) or self.prepare(index, given is not None)
        entries = self.cache.open_block(first, self.method.pinned(first))
        self.context.load(prepared.plan, self.cache, prepared.camera)
        self.cache.drop((row, frame) for row, frames in enumerate(self.method.forget(first)) for frame in frames)
        latents = self.denoise(prepared.noise) if given is None else given.to(self.network.device)
        plan = self.context.attended()
        self.method.observe(first, latents)
        flow = self.commit(latents, entries, COMMIT[given is not None], given is not None and self.attention_shares)
        plan = plan if given is None else self.context.attended()
        self.method.committed(first, self.cache)
        self.recent.append(latents)
        self.cache.flush()
        attention = self.context.measured(plan) if self.attention_shares else None
        return Block(index, first, latents, plan, given is not None, flow, attention)

    @torch.inference_mode()
    def trial(self, index: int, plan: Plan) -> Tensor:
        """Latents of the next block as they would be under another plan; nothing is committed. For methods without
        groups, and only while `blocks` waits after block `index` - 1, a block that is not of the prefix."""
        prepared = self.prepared[index]
        self.context.load(plan, self.cache, prepared.camera)
        return self.denoise(prepared.noise)

    def denoise(self, noise: list[Tensor]) -> Tensor:
        """Latents of a new block: each pass predicts clean latents, which are noised again for the next pass."""
        noisy = noise[0]
        for step, (sigma, modulation) in enumerate(self.passes):
            self.context.passes = FIRST if step == 0 else NEITHER
            flow = self.flow(noisy, modulation, self.attention_shares and step + 1 == len(self.passes))
            clean = self.schedule.clean(noisy, flow, sigma)
            if step + 1 < len(self.passes):
                fresh = noise[step + 1] if self.schedule.ancestral else clean + flow
                noisy = self.schedule.noised(clean, fresh, self.passes[step + 1][0])
        return clean

    def commit(
        self, latents: Tensor, entries: list[Tensor], passes: frozenset[Pass], measure: bool = False
    ) -> Tensor | None:
        """Write the clean keys and values of frames to their entries. Returns the flow of this pass if it is kept."""
        context, modulation, flow = self.context, self.commit_modulation, None
        context.entries, context.measuring, context.passes = entries, False, passes
        if self.keep_flow or measure or passes & self.method.watched:
            flow = self.flow(latents, modulation, measure)
        else:
            self.network.commit(latents, modulation, self.text, context.attend, context.keep)
        context.entries = None
        return flow if self.keep_flow else None

    def close(self) -> None:
        """Release the bank's memory."""
        if self.cache.bank is not None:
            self.cache.bank.close()

    def flow(self, latents: Tensor, modulation: Modulation, measure: bool = False) -> Tensor:
        """One pass of the network. `measure`: record the shares of its attention."""
        self.context.measuring = measure
        return self.network(latents, modulation, self.text, self.context.attend)
