"""The official networks of VBench: what their published tensors are called, and what they compute with seeded weights.

Runs in the official environment (requirements.txt beside this file) and needs nothing of longtake:

    python tests/parity/networks.py     writes shapes.json: artefact -> {published tensor: shape}

clip_to_clip.py has the networks that compare clips, answers.py records what all of them answer.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import seeded
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
SHAPES = HERE / "shapes.json"
GOLDEN = HERE.parent / "golden" / "vbench" / "networks.json"
PACKAGES = [
    "torch",
    "torchvision",
    "vbench",
    "timm",
    "openai-clip",
    "pyiqa",
    "dreamsim",
    "peft",
    "transformers",
    "numpy",
]


def declare_torchvision() -> torch.library.Library:
    """torchvision from the registry is built for CUDA: beside a CPU torch two operators must be declared first."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def dino() -> nn.Module:
    """DINO's own ViT-B/16, as DreamSim ships it."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    return vit_base(patch_size=16)


def clip_visual(resolution: int, patch: int, width: int, layers: int, out: int) -> nn.Module:
    from clip.model import VisionTransformer

    return VisionTransformer(resolution, patch, width, layers, width // 64, out)


def clip_b() -> nn.Module:
    return clip_visual(224, 32, 768, 12, 512)


def clip_l() -> nn.Module:
    return clip_visual(224, 14, 1024, 24, 768)


def musiq() -> nn.Module:
    from pyiqa.archs.musiq_arch import MUSIQ

    network = MUSIQ(pretrained=False)
    network.training = False
    return network


def amt() -> nn.Module:
    from importlib import import_module

    return import_module("vbench.third_party.amt.networks.AMT-S").Model(corr_radius=3, corr_lvls=4, num_flows=3)


class Args(SimpleNamespace):
    """RAFT asks `name in args`."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


def raft() -> nn.Module:
    from vbench.third_party.RAFT.core.raft import RAFT

    return RAFT(Args(small=False, mixed_precision=False, alternate_corr=False))


def as_dino() -> nn.Module:
    """A CLIP tower in DreamSim's DINO shape: a norm where DINO has dropout."""
    network = dino()
    network.pos_drop = nn.LayerNorm(768)
    return network


OFFICIAL: dict[str, Callable[[], nn.Module]] = {
    "dino-vitb16": dino,
    "clip-vit-b-32": clip_b,
    "clip-vit-l-14": clip_l,
    "aesthetic-linear": lambda: nn.Linear(768, 1),
    "musiq-spaq": musiq,
    "amt-s": amt,
    "raft-things": raft,
}


def shapes_of(network: nn.Module, prefix: str = "") -> dict[str, list[int]]:
    return {prefix + name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def dinov2_shapes() -> dict[str, list[int]]:
    """DINOv2's published names: DINO's, and a mask token and two layer scales per block."""
    shapes = shapes_of(dino()) | {"mask_token": [1, 768], "pos_embed": [1, 1 + 37 * 37, 768]}
    shapes["patch_embed.proj.weight"] = [768, 3, 14, 14]
    return shapes | {f"blocks.{block}.ls{which}.gamma": [768] for block in range(12) for which in (1, 2)}


def dreamsim_shapes() -> dict[str, list[int]]:
    """DreamSim's ensemble without its DINO base: two CLIP towers with their projections, and the LoRA of all three."""
    shapes: dict[str, list[int]] = {}
    for tower in ("clip.", "open_clip."):
        shapes |= shapes_of(as_dino(), tower) | {f"{tower}proj": [768, 512]}
    for tower in range(3):
        for block in range(12):
            name = f"lora.base_model.model.extractor_list.{tower}.model.blocks.{block}.attn.qkv"
            shapes |= {f"{name}.lora_A.weight": [16, 768], f"{name}.lora_B.weight": [2304, 16]}
    return shapes


def torchvision_raft_shapes() -> dict[str, list[int]]:
    from torchvision.models.optical_flow import raft_large

    return shapes_of(raft_large())


def write_shapes() -> None:
    shapes = {name: shapes_of(build(), "visual." * name.startswith("clip")) for name, build in OFFICIAL.items()}
    shapes |= {"dinov2-vitb14": dinov2_shapes(), "dreamsim-ensemble": dreamsim_shapes()}
    shapes |= {"raft-things/torchvision": torchvision_raft_shapes()}
    lines = [f"{json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}" for name, one in shapes.items()]
    SHAPES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def built(artefact: str) -> nn.Module:
    """The official network with the seeded weights of its artefact, in evaluation."""
    network = OFFICIAL[artefact]()
    weights = {name.removeprefix("visual."): value for name, value in weights_of(artefact).items()}
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def weights_of(artefact: str) -> dict[str, Tensor]:
    return seeded.published(artefact, json.loads(SHAPES.read_text(encoding="utf-8"))[artefact])


if __name__ == "__main__":
    library = declare_torchvision()
    write_shapes()
