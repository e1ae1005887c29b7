"""The block loop: denoises the frames of a block with the context that the method planned, commits them, and repeats.

A block takes passes + 1 runs of the network: the denoising passes, and one at timestep 0 that writes the clean keys and
values to the cache. Prefix frames are not denoised. During the last pass the next block is prepared: evicted frames
move to the bank, the method plans, the planned frames are fetched, and noise is drawn. Knows no method, path or Ray.
Only the bank grows (and one descriptor per frame, for methods that compare frames), and inside a block the host never
waits for the device.

Shapes: B batch, n frames a block, C channels, H x W latent size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longtake.platform.generation.attention_share import AttentionShares
from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.tier import Tier
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.context import ContextBuffer
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.base import Method, Plan
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
    `attention` [B, attended], if requested: the share of attention of each plan entry, measured in the last denoising
    pass or, for a prefix block, in the commit pass.
    """

    index: int
    first: int
    latents: Tensor
    plan: Plan
    given: bool
    commit_flow: Tensor | None = None
    attention: Tensor | None = None


@dataclass(frozen=True)
class Prepared:
    """The inputs of a block. `noise`: the initial noise, then one per renoising; empty for a prefix block."""

    plan: Plan
    columns: list[dict[int, int]] | None
    noise: list[Tensor]


class Rollout:
    """Generates any number of blocks, on the network's device and in its dtype. `cache.bank` holds evicted frames."""

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
        self.context = ContextBuffer(spec, batch, window.size, dtype, device)
        self.prepared: dict[int, Prepared] = {}
        with torch.inference_mode():
            self.text = network.text_kv(text)
            self.passes = [(s, network.modulate(t)) for s, t in zip(self.sigmas(), schedule.timesteps, strict=True)]
            self.commit_modulation = network.modulate(torch.tensor(commit_timestep))
            if device.type == "cuda":
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
        plan = self.method.plan(first)
        columns = self.columns(plan, first)
        self.cache.prefetch(self.context.missing(plan, columns))
        return Prepared(plan, columns, noise)

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
        entries = self.cache.open_block(first)
        self.context.load(prepared.plan, self.cache, prepared.columns)
        self.cache.drop((row, frame) for row, frames in enumerate(self.method.forget(first)) for frame in frames)
        shares = AttentionShares(self.context.tokens) if self.attention_shares else None
        latents = self.denoise(prepared.noise, shares) if given is None else given.to(self.network.device)
        self.method.observe(first, latents)
        flow = self.commit(latents, entries, None if given is None else shares)
        self.cache.flush()
        attention = shares.in_order(self.context.slots(prepared.plan, prepared.columns)) if shares else None
        return Block(index, first, latents, prepared.plan, given is not None, flow, attention)

    def denoise(self, noise: list[Tensor], shares: AttentionShares | None) -> Tensor:
        """Latents of a new block: each pass predicts clean latents, which are noised again for the next pass."""
        noisy = noise[0]
        for step, (sigma, modulation) in enumerate(self.passes):
            flow = self.flow(noisy, modulation, shares if step + 1 == len(self.passes) else None)
            clean = self.schedule.clean(noisy, flow, sigma)
            if step + 1 < len(self.passes):
                fresh = noise[step + 1] if self.schedule.ancestral else clean + flow
                noisy = self.schedule.noised(clean, fresh, self.passes[step + 1][0])
        return clean

    def commit(self, latents: Tensor, entries: list[Tensor], shares: AttentionShares | None) -> Tensor | None:
        """Write the clean keys and values of a block to its entries. Returns the flow of this pass if it is kept."""
        context, modulation, flow = self.context, self.commit_modulation, None
        context.entries, context.shares = entries, None
        if self.keep_flow or shares is not None:
            flow = self.flow(latents, modulation, shares)
        else:
            self.network.commit(latents, modulation, self.text, context.attend, context.keep)
        context.entries = None
        return flow if self.keep_flow else None

    def close(self) -> None:
        """Release the bank's memory."""
        if self.cache.bank is not None:
            self.cache.bank.close()

    def flow(self, latents: Tensor, modulation: Modulation, shares: AttentionShares | None = None) -> Tensor:
        """One pass of the network. Adds its attention to `shares`, if given."""
        self.context.shares = shares
        return self.network(latents, modulation, self.text, self.context.attend)

    def columns(self, plan: Plan, first: int) -> list[dict[int, int]] | None:
        """Per row, the shortest offset in columns, round the world, of each attended frame from the block's first."""
        info = self.method.info
        if info.columns is None:
            return None
        return [self.row_columns(row, info.columns[b], first) for b, row in enumerate(plan.rows)]

    def row_columns(self, row: tuple, camera: np.ndarray, first: int) -> dict[int, int]:
        world = self.method.info.world_columns
        frames = [entry.frame for entry in row]
        offsets = (camera[frames] - camera[first] + world // 2) % world - world // 2
        return dict(zip(frames, offsets.tolist(), strict=True))
