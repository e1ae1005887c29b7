"""Compares the parts of the Wan backbones with numbers that were recorded from their authors' code.

    python -m tests.platform.backbones.published_numbers FOLDER      (tests/golden/wan, or a folder of the same layout)

Every part takes the way of a user's files: a pickle in the published layout is imported, converted and loaded. Prints
the largest absolute difference of each part; exits with 1 if one is above its tolerance.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.jobs.golden.arrays import TOLERANCE
from longtake.jobs.golden.engine import build_rollout, spec_of
from longtake.platform.checkpoints.files import load_into
from longtake.platform.models.causal_dit import CausalDiT, empty_dit
from longtake.platform.models.text.encoder import load_network
from longtake.platform.models.vae.wan import ORIGINAL, WanDecoder, load_vae
from longtake.platform.weights.artefacts import artefact_file, folder_of
from longtake.platform.weights.catalog import UMT5, artefact
from longtake.platform.weights.check import check_weights
from longtake.platform.weights.convert import convert
from longtake.platform.weights.pull import import_files
from tests.platform.models.text.small_encoder import write_tokenizer

PART_TOLERANCE = 2e-5


def pulled(name: str, source: Path, network: CausalDiT | None = None) -> None:
    """An artefact from pickles in `source`, imported and converted into LONGTAKE_WEIGHTS."""
    import_files(artefact(name), source, lambda line: None)
    users = [] if network is None else [network]
    convert(artefact(name), lambda *of: check_weights(of[0], lambda _: users, *of[1:]), lambda line: None)


def weights_in(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}


def vae(folder: Path, pickles: Path) -> float:
    """Wan2.1_VAE.pth: the frames of Wan2.1's own decode, in float32."""
    tensors = load_file(folder / "vae_wan21_a.safetensors")
    torch.save(weights_in(tensors), pickles / ORIGINAL)
    pulled("wan-vae", pickles)
    made = WanDecoder(load_vae(folder_of("wan-vae"))).decode(tensors["latents"])
    return largest(made, tensors["frames"])


@torch.inference_mode()
def text(folder: Path, pickles: Path) -> float:
    """models_t5_umt5-xxl-enc-bf16.pth: the rows of Wan2.1's own encoder for 1 to 512 tokens, in float32."""
    tensors = load_file(folder / "text_wan21_a.safetensors")
    torch.save(weights_in(tensors), pickles / UMT5)
    write_tokenizer(pickles / "google" / "umt5-xxl")
    pulled("wan-text", pickles)
    network = load_network(folder_of("wan-text"), torch.device("cpu"), torch.float32)
    differences = []
    for ids, length in zip(
        tensors["ids"], json.loads((folder / "text_wan21_a.json").read_text())["lengths"], strict=True
    ):
        tokens = ids[None, :length]
        made = network(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0]
        differences.append(largest(made, tensors[f"rows_{length}"]))
    return max(differences)


def adapter(folder: Path, pickles: Path) -> float:
    """longlive_base.pt and lora.pt: 24 frames of LongLive's pipeline, which runs the adapter beside the weights."""
    source = folder / "lora_published_a"
    facts, tensors = json.loads((source / "expected.json").read_text()), load_file(source / "expected.safetensors")
    (pickles / "longlive_base.pt").write_bytes((source / "longlive_base.pt").read_bytes())
    (pickles / "lora.pt").write_bytes(lora_pickle(source, pickles))
    spec = spec_of(facts["arch"])
    for name in ("longlive-base", "longlive-lora"):
        pulled(name, pickles, empty_dit(spec))
    network = empty_dit(spec)
    base, lora = (
        artefact_file("longlive-base", "generator.safetensors"),
        artefact_file("longlive-lora", "lora.safetensors"),
    )
    load_into(network, base, torch.float32, lora=lora)
    save_file(network.state_dict(), pickles / "merged.safetensors")
    rollout = build_rollout(pickles / "expected.json", facts | {"batch": 1, "weights": "merged.safetensors"}, tensors)
    blocks = list(rollout.blocks(tensors["noise"].shape[1] // facts["config"]["num_frame_per_block"]))
    return largest(torch.cat([block.latents for block in blocks], dim=1), tensors["output"])


def lora_pickle(source: Path, pickles: Path) -> bytes:
    """lora.pt, or the published layout made again of its numbers in float16, which holds them exactly."""
    if (source / "lora.pt").exists():
        return (source / "lora.pt").read_bytes()
    wide = {name: value.float() for name, value in load_file(source / "lora.safetensors").items()}
    torch.save({"generator_lora": wide, "critic_lora": {}, "step": 1}, pickles / "lora.pt")
    return (pickles / "lora.pt").read_bytes()


def largest(made: Tensor, expected: Tensor) -> float:
    assert made.shape == expected.shape
    return float((made - expected).abs().max())


PARTS: dict[str, tuple[Callable[[Path, Path], float], float]] = {
    "vae": (vae, PART_TOLERANCE),
    "text": (text, PART_TOLERANCE),
    "adapter": (adapter, TOLERANCE),
}


def main(folder: Path) -> int:
    torch.set_num_threads(1)
    wrong = 0
    for name, (part, tolerance) in PARTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["LONGTAKE_WEIGHTS"] = f"{scratch}/weights"
            (Path(scratch) / "pickles").mkdir()
            difference = part(folder, Path(scratch) / "pickles")
        wrong += difference > tolerance
        print(f"{name}: largest difference {difference:.1e}, tolerance {tolerance:g}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
