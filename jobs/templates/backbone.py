"""my-backbone: a small video diffusion model of the pocket world, with random weights.

A backbone is a network with its weights, schedule and window. It says how a prompt conditions it and how its latents
become frames; here the pocket world's own prompts and codec do both.
"""

from dataclasses import replace
from typing import ClassVar

from longtake.platform.backbones.base import ENGINE, BackboneSpec, backbones, prepare_network
from longtake.platform.backbones.pocket import Pocket, pocket_spec
from longtake.platform.checkpoints.files import sha256
from longtake.platform.machine.resources import Resources
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.pocket.latent_code import CODEC

WEIGHTS_SEED = 1


def my_spec() -> BackboneSpec:
    spec = pocket_spec("my-backbone")  # the numbers that `longtake plan` estimates with are in it too
    network = replace(spec.network, dim=32, ffn_dim=64, heads=1, layers=2)
    return replace(spec, network=network, schedule=FlowSchedule(steps=(1000, 500), shift=3.0, ancestral=False))


@backbones.register("my-backbone")
class MyBackbone(Pocket):
    spec: ClassVar[BackboneSpec] = my_spec()

    def __init__(self, resources: Resources) -> None:
        import torch  # not at the top: `longtake plan` needs the numbers of a backbone alone

        from longtake.platform.models.causal_dit import CausalDiT
        from longtake.platform.pocket.codec import PocketCodec

        network, generator = CausalDiT(self.spec.network), torch.Generator().manual_seed(WEIGHTS_SEED)
        for parameter in network.parameters():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
        self.network = prepare_network(network, resources)
        self.codec = PocketCodec()

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        """Whatever changes pixels; of every file of weights its sha256."""
        return {"weights": f"seed {WEIGHTS_SEED}", "codec": sha256(CODEC), "engine": ENGINE}
