"""The three Wan backbones with a network of 60,000 weights; everything else about them is as they are.

They read the same artefacts, so a folder of weights in the published layout, only smaller, is all that they need.
"""

import dataclasses
from typing import ClassVar

from longtake.platform.backbones.base import BackboneSpec, backbones
from longtake.platform.backbones.wan import CausalForcing, LongLive, SelfForcing
from longtake.platform.methods.base import Window


def mini_spec(spec: BackboneSpec) -> BackboneSpec:
    """Latents of 4 x 6, so videos of 32 x 48; a window of 7 frames, which a take of 3 s fills."""
    network = dataclasses.replace(
        spec.network, dim=48, ffn_dim=64, heads=2, layers=2, latent_height=4, latent_width=6, text_dim=32
    )
    name, window = f"mini-{spec.name}", Window(7, 1, 3)
    return dataclasses.replace(spec, name=name, network=network, window=window, width=48, height=32, gpus=0.0)


@backbones.register("mini-self-forcing")
class MiniSelfForcing(SelfForcing):
    spec: ClassVar[BackboneSpec] = mini_spec(SelfForcing.spec)


@backbones.register("mini-causal-forcing")
class MiniCausalForcing(CausalForcing):
    spec: ClassVar[BackboneSpec] = mini_spec(CausalForcing.spec)


@backbones.register("mini-longlive")
class MiniLongLive(LongLive):
    spec: ClassVar[BackboneSpec] = mini_spec(LongLive.spec)
