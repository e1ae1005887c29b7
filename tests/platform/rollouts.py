"""A very small network, its noise, and rollouts of both; for the tests of the engine."""

import torch

from longtake.platform.generation.rollout import Rollout
from longtake.platform.methods.base import FrameSize, RolloutInfo, Window
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

SPEC = DiTSpec(
    dim=24, ffn_dim=32, heads=2, layers=2, channels=3, latent_height=2, latent_width=4, text_len=4, text_dim=5
)
ENTRY_VALUES = 2 * 2 * 2 * 24
"""Numbers in a frame's entry: keys and values x 2 layers x 2 tokens x 24."""


class Noise:
    """Every (row, block, pass) has its own generator."""

    def __init__(self, seeds):
        self.seeds = seeds

    def initial(self, block):
        return torch.cat([self.one(seed * 100_000 + block * 10) for seed in self.seeds])

    def renoise(self, block, step):
        return torch.cat([self.one(seed * 100_000 + block * 10 + step + 1) for seed in self.seeds])

    def one(self, key):
        return torch.randn(1, 3, 3, 2, 4, generator=torch.Generator().manual_seed(key))


def new_network(spec=SPEC):
    torch.manual_seed(0)
    return CausalDiT(spec).eval().requires_grad_(False)


def start(network, config, seeds=(1,), window=Window(12, 1, 3), **kwargs):  # noqa: B008 (frozen)
    frame = FrameSize(SPEC.frame_kv_values, 4, SPEC.frame_kv_scales)
    info = RolloutInfo(config.window_in(window), len(seeds), tuple(seeds), frame=frame, network=network.spec)
    text = torch.cat([torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(s)) for s in seeds])
    return Rollout(
        network, FlowSchedule(), config.build(info), text, Noise(seeds), keep_evicted=config.keeps_evicted, **kwargs
    )


def latents(rollout, blocks, prefix=None):
    return torch.cat([block.latents for block in rollout.blocks(blocks, prefix)], dim=1)
