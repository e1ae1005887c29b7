"""Wan's causal VAE as a stream: decodes latent frames to the same pixels as if the whole video were decoded at once.

Owns what the Wan backbones need from diffusers (architecture, config and weights), and is the only file that imports
it. `decoder.py` runs them. Every causal convolution of the decoder also reads the previous two frames. This history
belongs to the take (`WanDecoder`), never to the VAE, so that several takes can share one VAE. Latent frames are decoded
one by one, as in diffusers, so the boundaries of blocks change no bit. Memory does not grow with the length of the
video.

Shapes: n latent frames [n, 16, h, w] -> m frames [m, 8 h, 8 w, 3]; a take's first latent frame gives 1, a later one 4.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.platform.checkpoints.files import check_header, load_into, read_json
from longtake.platform.checkpoints.keys import check_fit, listing, shapes_of
from longtake.platform.errors import WeightsError
from longtake.platform.machine.vision_ops import ready
from longtake.platform.models.vae.conv import Layout, arrange_weights, default_layout
from longtake.platform.models.vae.decoder import StreamingDecoder
from longtake.platform.models.vae.pixels import all_finite, to_host, to_pixels

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ORIGINAL = "Wan2.1_VAE.pth"
WAN_VAE_CONFIG: dict[str, Any] = {
    "base_dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
    "latents_mean": [
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    ],
    "latents_std": [
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    ],
}
"""As published with Wan 2.1 (the names are diffusers', `temperal_downsample` included)."""
WAN_21: dict[str, Any] = {
    **{key: WAN_VAE_CONFIG[key] for key in ("dim_mult", "num_res_blocks", "attn_scales", "temperal_downsample")},
    **{"in_channels": 3, "out_channels": 3, "patch_size": None, "is_residual": False, "decoder_base_dim": None},
    **{"scale_factor_temporal": 4, "scale_factor_spatial": 8},
}
"""Settings that fix strides, frame counts and the positions of weights. A config may only change widths."""


class WanDecoder:
    """A streaming Decoder of one take, on the device and in the dtype of its VAE; latents may be on any device."""

    to_pixels = staticmethod(to_pixels)

    def __init__(self, vae: Any, layout: Layout | None = None):
        weight = vae.post_quant_conv.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.mean, self.std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        self.new_network = partial(StreamingDecoder, vae, layout or default_layout(self.device))
        self.network = self.new_network()

    def push(self, latents_FCHW: Tensor) -> np.ndarray:
        """Normalised latents [n, 16, h, w] -> uint8 [m, 8 h, 8 w, 3], (x + 1) * 127.5 rounded half to even.

        Mutates the take's history. On a GPU it runs on the caller's stream and returns when the frames are on the host.
        Raises LongtakeError when the VAE returns NaN or infinity.
        """
        parts = [(self.to_pixels(frames), all_finite(frames)) for frames in self.frames(latents_FCHW)]
        if not parts:
            return np.empty((0, 8 * latents_FCHW.shape[2], 8 * latents_FCHW.shape[3], 3), np.uint8)
        pixels, finite = zip(*parts, strict=True)
        return to_host(torch.cat(pixels), torch.stack(finite).all())

    @torch.inference_mode()
    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Normalised latents [n, 16, h, w] -> float32 [m, 3, 8 h, 8 w], not clamped; mutates the take's history."""
        frames = [frames.float() for frames in self.frames(latents_FCHW)]
        n, height, width = latents_FCHW.shape[0], 8 * latents_FCHW.shape[2], 8 * latents_FCHW.shape[3]
        return torch.cat(frames) if n else self.mean.new_empty(0, 3, height, width)

    @torch.inference_mode()
    def frames(self, latents_FCHW: Tensor) -> Iterator[Tensor]:
        """Yield the frames [1 or 4, 3, 8 h, 8 w] of each latent frame, in the VAE's dtype, once they are launched."""
        raw = latents_FCHW.to(self.device, torch.float32) * self.std + self.mean
        for z in raw.to(self.dtype):
            yield self.network(z[None, :, None])[0].transpose(0, 1)


def load_vae(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """The AutoencoderKLWan of a folder, in eval mode, with its convolutions in the device's memory layout.

    Raises WeightsError unless its weights fit its config exactly.
    """
    vae = meta_vae(read_config(folder))
    load_into(vae, folder / WEIGHTS, dtype, device)
    arrange_weights(vae, default_layout(torch.device(device)))
    return vae.eval().requires_grad_(False)


def check_vae(folder: Path) -> None:
    """Raises WeightsError unless config and weights fit each other; reads headers only."""
    check_header(folder / WEIGHTS, meta_vae(read_config(folder)))


def random_vae(config: dict[str, Any], seed: int = 0) -> Any:
    """An untrained AutoencoderKLWan of these sizes, the same for the same seed; for measurements and tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return vae_class()(**config).eval().requires_grad_(False)


def config_of_original(state: dict[str, Tensor], origin: str = ORIGINAL) -> dict[str, Any]:
    """The content of config.json for the weights of Wan2.1_VAE.pth, with the widths of their shapes. Raises
    WeightsError unless the first convolution of the encoder and conv2 are there."""
    try:
        (base_dim, _, *_), (z_dim, _, *_) = state["encoder.conv1.weight"].shape, state["conv2.weight"].shape
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{origin}: is not the VAE of Wan 2.1: its sizes cannot be computed without {error}"
        ) from error
    if z_dim != WAN_VAE_CONFIG["z_dim"]:
        raise WeightsError(f"{origin}: has {z_dim} latent channels, that of Wan 2.1 has 16; use another file")
    return WAN_VAE_CONFIG | {"base_dim": base_dim}


def vae_from_original(
    state: dict[str, Tensor], config: dict[str, Any] = WAN_VAE_CONFIG, origin: str = ORIGINAL
) -> dict[str, Tensor]:
    """The weights of Wan2.1_VAE.pth under the names that `load_vae` reads. Raises WeightsError if they do not fit."""
    ready()
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    try:
        renamed: dict[str, Tensor] = convert_wan_vae_to_diffusers(dict(state))
    except (ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{origin}: is not the VAE of Wan 2.1 ({error}); use another file") from error
    check_fit(shapes_of(renamed), shapes_of(meta_vae(config).state_dict()), origin)
    return renamed


def read_config(folder: Path) -> dict[str, Any]:
    """The sizes in config.json. Raises WeightsError for missing or unknown keys, or another VAE."""
    path = folder / CONFIG
    config = {key: value for key, value in read_json(path).items() if not key.startswith("_")}
    missing, unknown = WAN_VAE_CONFIG.keys() - config.keys(), config.keys() - WAN_VAE_CONFIG.keys() - WAN_21.keys()
    if missing or unknown:
        raise WeightsError(f"{path}: missing {listing(sorted(missing))}; unknown {listing(sorted(unknown))}")
    for key, expected in WAN_21.items():
        if config.get(key, expected) != expected:
            raise WeightsError(f"{path}: {key} is {config[key]}, the VAE of Wan 2.1 has {expected}; use that VAE")
    if not len(config["latents_mean"]) == len(config["latents_std"]) == config["z_dim"]:
        raise WeightsError(f"{path}: latents_mean and latents_std must have z_dim = {config['z_dim']} numbers each")
    return {key: config[key] for key in WAN_VAE_CONFIG}


def meta_vae(config: dict[str, Any]) -> Any:
    """The architecture on the meta device."""
    with torch.device("meta"):
        return vae_class()(**config)


def vae_class() -> Any:
    ready()
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    return AutoencoderKLWan
