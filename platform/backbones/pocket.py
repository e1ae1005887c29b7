"""The pocket backbones: small trained video diffusion models of the skyline world, shipped with the package.

`pocket` was trained only with its sliding window, so memory is training-free for it, as for the paper's backbones;
`pocket-mem` was also trained with frames of the past in its context; `pocket-sf` is `pocket`, trained further with its
own frames as the context. Weights called <recipe>-s<seed> are the same recipe, trained from another seed: the file is
all that it takes to register such a backbone. The model cards are beside the weights. All are conditioned on the
camera's column of every frame, which no Wan backbone is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from longtake.platform.backbones.base import (
    ENGINE,
    Backbone,
    BackboneSpec,
    Condition,
    Decoder,
    backbones,
    prepare_network,
)
from longtake.platform.backbones.pocket_network import NETWORK, SCHEDULE, WINDOW
from longtake.platform.checkpoints.files import load_safetensors, load_strict, sha256
from longtake.platform.checkpoints.int8_rows import unpack
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import Resources
from longtake.platform.pocket import script
from longtake.platform.pocket.latent_code import CODEC, UPSCALE
from longtake.platform.pocket.prompts import ENDLESS_COLUMNS, parse
from longtake.platform.pocket.truth import truth_of
from longtake.platform.pocket.world import COLUMNS, HEIGHT_PX, TRAINING_SEEDS_FROM, VIEW_COLUMNS, VIEW_PX
from longtake.platform.prompts import Prompt
from longtake.platform.takes import Take

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.models.causal_dit import CausalDiT
    from longtake.platform.pocket.codec import StreamingDecoder

WEIGHTS = Path(__file__).parent / "weights"


def pocket_spec(name: str) -> BackboneSpec:
    """Specification of a pocket backbone; its rates are in docs/measurements/estimates_cpu.csv."""
    return BackboneSpec(
        name,
        NETWORK,
        SCHEDULE,
        WINDOW,
        width=VIEW_PX * UPSCALE,
        height=HEIGHT_PX * UPSCALE,
        provides_prefix=True,
        has_camera=True,
        cpu_gflops=25.0,
        decode_seconds=0.0015,
        encode_seconds=0.0055,
        video_bytes_per_second=3_700,
    )


def weights_file(name: str) -> Path:
    return WEIGHTS / f"{name}.safetensors"


def pocket_network(name: str) -> CausalDiT:
    """The network of a pocket backbone in float32, with its shipped weights. Raises WeightsError."""
    from longtake.platform.models.causal_dit import CausalDiT

    network, path = CausalDiT(NETWORK), weights_file(name)
    load_strict(network, unpack(load_safetensors(path)), path)
    return network


@backbones.register("pocket")
class Pocket(Backbone):
    """A small model of the pocket world, trained with its sliding window alone. Ships with the package."""

    spec: ClassVar[BackboneSpec] = pocket_spec("pocket")

    def __init__(self, resources: Resources) -> None:
        from longtake.platform.pocket.codec import PocketCodec

        self.network = prepare_network(pocket_network(self.spec.name), resources)
        self.codec = PocketCodec()

    @classmethod
    def weights_file(cls) -> Path:
        return weights_file(cls.spec.name)

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        return {"weights": sha256(cls.weights_file()), "codec": sha256(CODEC), "engine": ENGINE}

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        parse(prompt)

    @classmethod
    def check_parts(cls, prompt: Prompt) -> None:
        script.check(prompt.text, prompt.later)

    @classmethod
    def check_seed(cls, seed: int) -> None:
        if seed >= TRAINING_SEEDS_FROM:
            raise ConfigError(f"seed {seed}: the training used seeds from {TRAINING_SEEDS_FROM} on; use a lower seed")

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        import torch

        parsed = parse(prompt)
        text = torch.from_numpy(parsed.text_tokens()).unsqueeze(0)
        return Condition(text, parsed.camera(latent_frames), VIEW_COLUMNS, parsed.world_columns)

    def decoder(self, prompt: str, latent_frames: int) -> StreamingDecoder:
        from longtake.platform.pocket.codec import StreamingDecoder

        return StreamingDecoder(self.codec, parse(prompt).camera(latent_frames))

    def condition_of(self, take: Take) -> Condition:
        """With a camera that follows the scripts of all texts, one after another, and what each frame should show."""
        truth = truth_of(take.prompt, take.switches, take.seed, take.latent_frames)
        found = replace(super().condition_of(take), places=truth.as_shown(take.prefix_frames))
        if not take.switches:
            return found
        world = ENDLESS_COLUMNS if any(one.cut for one in take.switches) else found.world_columns
        return replace(found, columns=script.camera_of(take), world_columns=world)

    def decoder_of(self, take: Take) -> Decoder:
        from longtake.platform.pocket.codec import StreamingDecoder

        return StreamingDecoder(self.codec, script.camera_of(take)) if take.switches else super().decoder_of(take)

    def prefix_latents(self, prompt: str, seed: int, frames: int) -> Tensor:
        """True views of the scene of (prompt, seed) along the prompt's camera: [F, 48, 1, 8]."""
        import torch

        truth = truth_of(prompt, (), seed, frames)
        numbers, inside = np.divmod(truth.columns_FC, COLUMNS)
        seen = np.stack([np.broadcast_to(truth.street_F[:, None], numbers.shape), numbers])
        parts, which = np.unique(seen.reshape(2, -1), axis=1, return_inverse=True)
        pictures = [truth.streets[street].picture(number) for street, number in parts.T.tolist()]
        scene = torch.stack([self.codec.encode_panorama(picture) for picture in pictures])
        return scene[which.reshape(numbers.shape), inside].transpose(1, 2).unsqueeze(2)


@backbones.register("pocket-mem")
class PocketMem(Pocket):
    """The same model, also trained with frames of the past, some relevant and some not. Ships with the package."""

    spec: ClassVar[BackboneSpec] = pocket_spec("pocket-mem")


@backbones.register("pocket-sf")
class PocketSelf(Pocket):
    """`pocket`, trained further with its own frames as the context. Ships with the package."""

    spec: ClassVar[BackboneSpec] = pocket_spec("pocket-sf")


RECIPES = {recipe.spec.name: recipe for recipe in (Pocket, PocketMem, PocketSelf)}
SEED = re.compile(rf"({'|'.join(RECIPES)})-s(\d+)")


def seed_of(recipe: type[Pocket], seed: str) -> type[Pocket]:
    """The backbone of another training of a recipe: its network with the weights <recipe>-s<seed>."""
    name = f"{recipe.spec.name}-s{seed}"
    about = f"The recipe of `{recipe.spec.name}`, trained from seed {seed}. Ships with the package."
    facts = {"spec": pocket_spec(name), "__doc__": about, "__module__": __name__}
    return type(f"{recipe.__name__}S{seed}", (recipe,), facts)


def register_seeds() -> None:
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        if match := SEED.fullmatch(path.stem):
            backbones.register(path.stem)(seed_of(RECIPES[match[1]], match[2]))


register_seeds()


def pocket_names() -> list[str]:
    """The names of the pocket backbones: the recipes, then other trainings of them."""
    return backbones.made_in(__name__)
