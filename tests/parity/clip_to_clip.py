"""The official networks that compare clips in VBench-Long, with seeded weights: DINOv2 ViT-B/14 and DreamSim.

Runs in the official environment. DINOv2 is transformers' copy, under the same position rule; DreamSim is its own code
from an archive laid out as published.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from networks import built, weights_of
from torch import Tensor, nn

LORA = {"r": 16, "lora_alpha": 0.5, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
DINOV2_NAMES = (
    ("cls_token", "embeddings.cls_token"),
    ("mask_token", "embeddings.mask_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("blocks.", "encoder.layer."),
    ("attn.proj", "attention.output.dense"),
    ("ls1.gamma", "layer_scale1.lambda1"),
    ("ls2.gamma", "layer_scale2.lambda1"),
    ("^norm", "layernorm"),
)


def dinov2() -> nn.Module:
    """Transformers' DINOv2 ViT-B/14: the original position rule, other names (see `to_transformers`)."""
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(hidden_size=768, image_size=518, patch_size=14, layer_norm_eps=1e-6))


def official_dinov2() -> nn.Module:
    """Gives the normed class token, as the hub's model does."""
    network = dinov2().eval().requires_grad_(False)
    network.load_state_dict(to_transformers(weights_of("dinov2-vitb14")))

    class ClassToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, frames_NCHW: Tensor) -> Tensor:
            return self.network(frames_NCHW).pooler_output

    return ClassToken()


def to_transformers(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's published tensors under the names of transformers 4.33."""
    renamed: dict[str, Tensor] = {}
    for name, value in published.items():
        if ".qkv." in name:
            block, kind = name.split(".")[1], name.rpartition(".")[2]
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"encoder.layer.{block}.attention.attention.{part}.{kind}"] = third
            continue
        for old, new in DINOV2_NAMES:
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed


def official_dreamsim(folder: Path) -> Any:
    """What `dreamsim.dreamsim` gives from an archive with the seeded weights, laid out in `folder` as published.

    Its DINO comes from the hub; here from DreamSim's own copy of that code. Its DINO head plays no part.
    """
    lay_out_dreamsim(folder)
    base, hub_load = built("dino-vitb16"), torch.hub.load
    torch.hub.load = lambda *args, **kwargs: base
    try:
        from dreamsim import dreamsim

        return dreamsim(pretrained=True, device="cpu", cache_dir=str(folder))[0]
    finally:
        torch.hub.load = hub_load


def lay_out_dreamsim(folder: Path) -> None:
    """The four parts of DreamSim's ensemble archive."""
    weights = weights_of("dreamsim-ensemble")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}

    for tower in ("clip", "open_clip"):
        torch.save({"state_dict": part(f"{tower}.")}, folder / f"{tower}_vitb16_pretrain.pth.tar")
    from dreamsim.feature_extraction.vision_transformer import DINOHead

    head = DINOHead(768, 2048).state_dict()
    named = {f"module.head.{name}": value for name, value in head.items()}
    named["module.head.last_layer.weight"] = head["last_layer.weight_v"]
    torch.save({"student": named}, folder / "dino_vitb16_pretrain.pth")
    lora = folder / "ensemble_lora"
    lora.mkdir()
    torch.save(part("lora."), lora / "adapter_model.bin")
    (lora / "adapter_config.json").write_text(json.dumps(LORA | {"peft_type": "LORA"}), encoding="utf-8")
