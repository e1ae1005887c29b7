"""Stand-ins for backbones: the architecture of a registered backbone, original or smaller sizes, random weights.

A stand-in does the same computation as the real backbone at the same cost. Nothing is downloaded. The Wan family has a
random network, VAE and text; other backbones keep their latents and the parts that ship with them. The decoded frames
are noise, which takes three times as long to encode as real video, so the decoder returns natural frames instead.
"""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from longtake.jobs.bench.natural_frames import NaturalDecoder
from longtake.jobs.bench.options import PROMPT, BenchOptions
from longtake.platform.backbones.base import Backbone, BackboneSpec, Condition, Decoder, backbones, prepare_network
from longtake.platform.backbones.wan import Wan
from longtake.platform.errors import ConfigError
from longtake.platform.machine.dtypes import BYTES, torch_dtype
from longtake.platform.machine.process import set_up_computing
from longtake.platform.machine.resources import Resources, find_device
from longtake.platform.models.causal_dit import CausalDiT, empty_dit
from longtake.platform.models.spec import DiTSpec
from longtake.platform.models.text.umt5 import UMT5_XXL, UMT5Spec
from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, random_vae

DTYPES = ("float32", "bf16")


def stand_in(options: BenchOptions) -> type[Backbone]:
    """The stand-in's class, registered as `options.name`."""
    original = backbones.get(options.backbone)
    small = wan_spec(original.spec, options) if issubclass(original, Wan) else own_spec(original.spec, options)
    parent: Any = RandomWan if issubclass(original, Wan) else original

    class StandIn(parent):
        spec = small

        def __init__(self, resources: Resources) -> None:
            super().__init__(resources)
            self.network = prepare_network(random_network(small, resources.compute_device()), resources)

        def decoder(self, prompt: str, latent_frames: int) -> Decoder:
            return NaturalDecoder(super().decoder(prompt, latent_frames), small)

    backbones.register(options.name)(StandIn)
    return StandIn


class RandomWan(Wan):
    """The other parts of the Wan family: a VAE scaled with the spec, and a text embedding of full length."""

    def __init__(self, resources: Resources) -> None:
        vae = random_vae(vae_config(self.spec))
        self.vae = nn.Module.to(vae, resources.decoding_device(), torch_dtype(self.spec.dtype))  # diffusers' own warns
        self.decode = resources.decode

    @classmethod
    def artefacts(cls) -> dict[str, str]:
        """Empty, since nothing is read."""
        return {}

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        """Empty, since the weights are random."""
        return {}

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        net = self.spec.network
        return Condition(torch.randn(1, net.text_len, net.text_dim, generator=torch.Generator().manual_seed(0)))


def own_spec(spec: BackboneSpec, options: BenchOptions) -> BackboneSpec:
    """Shrinks the network: heads, layers and feed-forward width; the size of a head stays."""
    return replace(spec, network=narrowed(spec.network, options.shrink), dtype=compute_dtype(spec, options))


def wan_spec(spec: BackboneSpec, options: BenchOptions) -> BackboneSpec:
    """Like `own_spec`, but also shrinks latents, pixels and text."""
    by, net = options.shrink, spec.network
    height, width = (max(side // by // 2, 1) * 2 for side in (net.latent_height, net.latent_width))
    text: dict[str, Any] = {"text_len": max(net.text_len // by, 1), "text_dim": max(net.text_dim // by, 1)}
    small = replace(own_spec(spec, options).network, latent_height=height, latent_width=width, **text)
    return replace(own_spec(spec, options), network=small, height=8 * height, width=8 * width)


def narrowed(net: DiTSpec, by: int) -> DiTSpec:
    heads = max(net.heads // by, 1)
    ffn, layers = max(net.ffn_dim // by, 1), max(net.layers // by, 1)
    return replace(net, heads=heads, dim=heads * net.head_dim, ffn_dim=ffn, layers=layers)


def compute_dtype(spec: BackboneSpec, options: BenchOptions) -> str:
    if options.dtype is None:
        return spec.dtype if find_device(options.device).type == "cuda" else "float32"
    if options.dtype not in DTYPES:
        raise ConfigError(f"dtype: {options.dtype!r} is not {' or '.join(DTYPES)}")
    return options.dtype


def vae_config(spec: BackboneSpec) -> dict[str, Any]:
    """The config of Wan's VAE, with its width scaled like that of the network."""
    base = WAN_VAE_CONFIG["base_dim"] * spec.network.text_dim // UMT5_XXL.d_model
    return WAN_VAE_CONFIG | {"base_dim": max(base, 2)}


def text_spec(spec: BackboneSpec) -> UMT5Spec:
    """UMT5-XXL scaled like the text of the spec; the size of a head stays."""
    width, full = spec.network.text_dim, UMT5_XXL
    sizes = {
        name: max(getattr(full, name) * width // full.d_model, 1)
        for name in ("vocab_size", "d_ff", "num_layers", "num_heads")
    }
    return replace(full, d_model=width, **sizes)


def weight_bytes(spec: BackboneSpec) -> int:
    """Bytes of the larger of network and text encoder, which are not loaded at the same time."""
    network = sum(value.numel() for value in empty_dit(spec.network).parameters())
    text = text_spec(spec)
    inner = text.num_heads * text.d_kv
    layer = 4 * text.d_model * inner + 3 * text.d_model * text.d_ff
    return max(network, text.vocab_size * text.d_model + text.num_layers * layer) * BYTES[spec.dtype]


def random_network(spec: BackboneSpec, device: torch.device) -> CausalDiT:
    network = empty_dit(spec.network)
    filled(network, device, torch_dtype(spec.dtype))
    return network


def filled(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Allocates a network of the meta device: weights with mean square 1 / inputs, vectors of ones, biases of zero.

    With zeros everywhere a GPU would use less power and run faster than with a real model.
    """
    network.to(dtype).to_empty(device=device)
    for name, value in network.named_parameters():
        if value.ndim > 1:
            value.data.normal_(std=value[0].numel() ** -0.5)
        else:
            value.data.fill_(0.0 if name.endswith("bias") else 1.0)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def text_seconds(options: BenchOptions) -> float:
    """Wall seconds to encode one prompt of full length after a warm-up, or to parse it for other backbones than Wan."""
    set_up_computing()
    spec, device = stand_in(options).spec, options.resources.compute_device()
    if not issubclass(backbones.get(options.backbone), Wan):
        backbone = backbones.get(options.name)(options.resources)
        return best_of_two(lambda: backbone.condition(PROMPT, spec.frames_per_block), device)
    network = random_text(text_spec(spec), device, torch_dtype(spec.dtype))
    ids = torch.randint(2, text_spec(spec).vocab_size, (1, spec.network.text_len), device=device)
    return best_of_two(lambda: network(input_ids=ids, attention_mask=torch.ones_like(ids)), device)


def random_text(spec: UMT5Spec, device: torch.device, dtype: torch.dtype) -> nn.Module:
    from longtake.platform.models.text.encoder import CONFIG, empty_network

    with TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(asdict(spec)))
        network: Any = empty_network(Path(folder))
    network.set_input_embeddings(network.shared)
    return filled(network, device, dtype)


def best_of_two(call: Any, device: torch.device) -> float:
    times = []
    for _ in range(2):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)
