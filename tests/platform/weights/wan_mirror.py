"""A mirror of the published repositories of the Wan family, in their layout, with random weights of a few MB in all.

`write_mirror` lays it out as <owner>/<repository>/<file>, as `longtake weights pull --from` takes it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.embedder import fresh_embedder
from longtake.platform.models.spec import DiTSpec, EmbedderSpec
from tests.platform.models.text.small_encoder import write_original
from tests.platform.models.vae.small_vae import write_vae

LORA_RANK = 4
PROMPTS = [
    "A boat crosses the harbour at dusk.",
    "Rain falls on a stone street.",
    "The camera glides past a brick city.",
]


def network_state(spec: DiTSpec, seed: int) -> dict[str, Tensor]:
    """Weights of a size that makes the flow depend on everything, by the network's own names."""
    torch.manual_seed(seed)
    network = CausalDiT(spec)
    return {name: value + 0.02 * torch.randn_like(value) for name, value in network.state_dict().items()}


def lora_state(spec: DiTSpec, seed: int) -> dict[str, Tensor]:
    """PEFT's names for an update of every linear layer of the blocks."""
    generator, found = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    with torch.device("meta"):
        blocks = CausalDiT(spec).blocks
    for name, module in blocks.named_modules():
        if isinstance(module, torch.nn.Linear):
            key = f"base_model.model.model.blocks.{name}"
            found[f"{key}.lora_A.weight"] = 0.1 * torch.randn(LORA_RANK, module.in_features, generator=generator)
            found[f"{key}.lora_B.weight"] = 0.1 * torch.randn(module.out_features, LORA_RANK, generator=generator)
    return found


def embedder_checkpoint(spec: DiTSpec) -> dict[str, Any]:
    """The weights of an embedder of this network's latents and its sizes, as the authors' training saves them."""
    sizes = EmbedderSpec(spec.channels, spec.latent_height, spec.latent_width, 8, (8, 12))
    return {"epoch": 399, "model": fresh_embedder(sizes, 5).state_dict(), "config": asdict(sizes) | {"epochs": 400}}


def save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def write_mirror(folder: Path, spec: DiTSpec) -> Path:
    """Everything that the three backbones and the grid of the paper need; returns `folder`."""
    wrapped = {f"model._fsdp_wrapped_module.{key}": value for key, value in network_state(spec, 1).items()}
    save(folder / "gdhe17/Self-Forcing/checkpoints/self_forcing_dmd.pt", {"generator_ema": wrapped})
    plain = {f"model.{key}": value for key, value in network_state(spec, 2).items()}
    save(folder / "zhuhz22/Causal-Forcing/chunkwise/causal_forcing.pt", {"generator": plain})
    longlive = folder / "Efficient-Large-Model/LongLive-1.3B/models"
    save(longlive / "longlive_base.pt", {"generator": {f"model.{k}": v for k, v in network_state(spec, 3).items()}})
    save(longlive / "lora.pt", {"generator_lora": lora_state(spec, 4)})
    write_vae(folder / "Wan-AI/Wan2.1-T2V-1.3B-Diffusers/vae", weights="diffusion_pytorch_model.safetensors")
    write_original(folder / "Wan-AI/Wan2.1-T2V-1.3B", spec.text_dim)
    published = folder / "qixinhu11/LongLive-RAG/checkpoints"
    save(published / "ae_latent_mem.pt", embedder_checkpoint(spec))
    (published / "moviegenbench_128_refined.txt").write_text("\n".join(PROMPTS) + "\n")
    return folder
