"""A backbone of the pocket world that the faulty ones derive from: an untrained network of 20,000 numbers."""

from dataclasses import replace

import torch

from longtake.platform.backbones.base import prepare_network
from longtake.platform.backbones.pocket import Pocket, pocket_spec
from longtake.platform.checkpoints.files import sha256
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.pocket.codec import PocketCodec
from longtake.platform.pocket.latent_code import CODEC


def small_spec(name):
    spec = pocket_spec(name)
    network = replace(spec.network, dim=32, ffn_dim=32, heads=1, layers=1, freq_dim=16)
    return replace(spec, network=network, schedule=FlowSchedule(steps=(1000,), shift=3.0, ancestral=False))


class Small(Pocket):
    def __init__(self, resources):
        network, generator = CausalDiT(self.spec.network), torch.Generator().manual_seed(1)
        for parameter in network.parameters():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
        self.network = prepare_network(network, resources)
        self.codec = PocketCodec()

    @classmethod
    def fingerprint(cls):
        return {"codec": sha256(CODEC)}
