"""DreamSim's ensemble (Fu et al., 2023) for background_consistency between clips: three ViT-B/16 with LoRA.

Weights: the DINO ViT-B/16 of `dino`, and clip_vitb16, open_clip_vitb16 and ensemble_lora of DreamSim's v0.2.0 archive.
The towers are plain ViTs with DINO's tensor names; those of CLIP have a norm in place of DINO's dropout, and a
projection. The LoRA is merged into the qkv weights: W + (lora_alpha / r) B A.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import WIDTH, OriginalVit, prefixed, vit_base
from longtake.platform.errors import WeightsError

# In the order of the embedding; the tensor names of the LoRA contain a tower's index in this order.
TOWERS = ("dino", "clip", "open_clip")
PROJECTED = 512
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
LORA = re.compile(r"lora\.(?:base_model\.model\.)+extractor_list\.(\d)\.model\.(.+)\.lora_([AB])\.weight")


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class ProjectedVit(OriginalVit):
    """A CLIP tower: its norm before the blocks replaces DINO's position dropout."""

    def __init__(self, act: type[nn.Module]):
        vit = vit_base(224, 16, eps=1e-5, act=act)
        vit.pos_drop = nn.LayerNorm(WIDTH, eps=1e-5)
        super().__init__(vit)
        self.proj = nn.Parameter(torch.empty(WIDTH, PROJECTED))

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        return super().forward(frames_NCHW) @ self.proj


class Ensemble(nn.Module):
    """Frames [n, 3, 224, 224], RGB 0..1 -> embeddings [n, 1792] with mean 0 and length 1.

    The part of DINO is its class token before the final norm.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dino = OriginalVit(vit_base(224, 16))
        self.clip = ProjectedVit(QuickGelu)
        self.open_clip = ProjectedVit(nn.GELU)

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        for_clip = normed(frames_NCHW, *CLIP)
        dino = self.dino.blocks_out(normed(frames_NCHW, *IMAGENET))[:, 0]
        embedding = torch.cat([dino, self.clip(for_clip), self.open_clip(for_clip)], dim=1)
        return F.normalize(embedding - embedding.mean(dim=1, keepdim=True), dim=1)


def normed(frames_NCHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    offset, scale = (frames_NCHW.new_tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    return (frames_NCHW - offset) / scale


@networks.register("dreamsim")
class DreamSim(Network):
    name = "dreamsim"
    artefacts = ("dino-vitb16", "dreamsim-ensemble")
    packages = ("torchvision", "timm")
    settings = "adapter_config.json"

    def build(self) -> nn.Module:
        return Ensemble()

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        ensemble = published["dreamsim-ensemble"]
        towers = prefixed(published["dino-vitb16"], "dino.vit.")
        for name, value in ensemble.items():
            tower, _, rest = name.partition(".")
            if tower != "lora":
                towers[f"{tower}.proj" if rest == "proj" else f"{tower}.vit.{rest}"] = value
        scale = lora_scale(settings)
        for name, (a, b) in lora_pairs(ensemble).items():
            towers[name] = towers[name].float() + scale * (b.float() @ a.float())
        return towers


def lora_pairs(ensemble: Tensors) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight name of a tower in this module -> its A [r, in] and B [out, r]."""
    sides: dict[str, dict[str, Tensor]] = {}
    for name, value in ensemble.items():
        if match := LORA.fullmatch(name):
            tower, weight, side = match.groups()
            sides.setdefault(f"{TOWERS[int(tower)]}.vit.{weight}.weight", {})[side] = value
    return {name: (pair["A"], pair["B"]) for name, pair in sides.items()}


def lora_scale(settings: Mapping[str, Any]) -> float:
    """lora_alpha / r of adapter_config.json. Raises WeightsError for an adapter of another kind."""
    plain = settings.get("bias", "none") == "none" and not settings.get("fan_in_fan_out") and "r" in settings
    if not plain or "lora_alpha" not in settings:
        raise WeightsError(
            "dreamsim-ensemble/adapter_config.json: is not a plain LoRA with r and lora_alpha; "
            "get the published one: longtake weights pull dreamsim-ensemble"
        )
    return float(settings["lora_alpha"]) / int(settings["r"])
