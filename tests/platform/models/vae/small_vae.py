"""Small VAEs in the layouts in which Wan 2.1's is published: diffusers' folder, and the names of Wan2.1_VAE.pth."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from longtake.platform.models.vae.wan import CONFIG, WAN_VAE_CONFIG, WEIGHTS, random_vae

RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}


def small_config(base_dim: int = 2) -> dict[str, Any]:
    """Wan's VAE with fewer channels: 2 make files of 270 kB, 96 is the published one."""
    return WAN_VAE_CONFIG | {"base_dim": base_dim}


def write_vae(folder: Path, base_dim: int = 2, seed: int = 0, weights: str = WEIGHTS) -> Path:
    """config.json and random weights in `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    config = small_config(base_dim)
    about = {"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.33.0.dev0"}
    (folder / CONFIG).write_text(json.dumps(about | config, indent=2))
    save_file(random_vae(config, seed).state_dict(), folder / weights)
    return folder


def one_shot(vae: Any, latents_FCHW: Tensor) -> Tensor:
    """[n, 16, h, w] -> [m, 3, 8 h, 8 w]: diffusers' decode of the whole video, with the published mean and std."""
    mean, std = (torch.tensor(WAN_VAE_CONFIG[key])[:, None, None] for key in ("latents_mean", "latents_std"))
    raw = (latents_FCHW.cpu() * std + mean).transpose(0, 1)[None].to(vae.device, vae.dtype)
    with torch.no_grad():
        return vae.decode(raw).sample[0].transpose(0, 1)


def original_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of Wan2.1_VAE.pth.

    There both coders are conv1, a flat list of blocks, a middle and a head, and a residual block is a list: norm,
    activation, convolution, norm, activation, dropout, convolution.
    """
    return {original_name(name): value for name, value in state.items()}


def original_name(name: str) -> str:
    head, _, rest = name.partition(".")
    if head in ("quant_conv", "post_quant_conv"):
        return f"{'conv1' if head == 'quant_conv' else 'conv2'}.{rest}"
    rest = re.sub(r"\b(norm1|conv1|norm2|conv2)\b", lambda found: RESIDUAL[found[0]], rest)
    rest = re.sub(r"^conv_in\b", "conv1", rest).replace("conv_shortcut", "shortcut")
    rest = re.sub(r"^norm_out\b", "head.0", re.sub(r"^conv_out\b", "head.2", rest))
    rest = re.sub(r"^mid_block\.resnets\.(\d)", lambda found: f"middle.{2 * int(found[1])}", rest)
    rest = rest.replace("mid_block.attentions.0", "middle.1").replace("down_blocks", "downsamples")
    rest = re.sub(r"^up_blocks\.(\d)\.resnets\.(\d)", lambda at: f"upsamples.{4 * int(at[1]) + int(at[2])}", rest)
    rest = re.sub(r"^up_blocks\.(\d)\.upsamplers\.0", lambda at: f"upsamples.{4 * int(at[1]) + 3}", rest)
    return f"{head}.{rest}"
