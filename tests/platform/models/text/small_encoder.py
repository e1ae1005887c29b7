"""A random UMT5 of 60 kB in both published layouts, and as the engine reads it, with a real small tokenizer.

`write_original`: models_t5_umt5-xxl-enc-bf16.pth under the original names, google/umt5-xxl/. `write_diffusers`:
text_encoder/ and tokenizer/. `write_encoder`: the folder that longtake keeps. A seed gives the same weights in all.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from longtake.platform.models.text.umt5 import spec_of, umt5_from_original

ORIGINAL = "models_t5_umt5-xxl-enc-bf16.pth"
HEADS, HEAD_DIM, LAYERS, BUCKETS = 4, 8, 2, 32
PIECES = "▁a ▁the ▁of ▁in ▁city ▁street ▁dusk ▁brick ▁stone ▁camera ▁glides ▁past ▁boats ▁rain ▁light ▁and"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"&-"
VOCABULARY = ["<pad>", "</s>", "<unk>", "▁", *PIECES.split(), *LETTERS]


def original_state(text_dim: int = 32, seed: int = 0) -> dict[str, Tensor]:
    """bfloat16 weights by the original names, of a size that lets every part be seen in the result."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(shape, generator=generator)).bfloat16()

    inner, hidden, thin = HEADS * HEAD_DIM, 2 * text_dim, 1 / math.sqrt(text_dim)
    state = {"token_embedding.weight": random(len(VOCABULARY), text_dim)}
    for block in (f"blocks.{index}." for index in range(LAYERS)):
        state |= {f"{block}attn.{name}.weight": random(inner, text_dim, scale=thin) for name in "qkv"}
        state[f"{block}attn.o.weight"] = random(text_dim, inner, scale=thin)
        state[f"{block}pos_embedding.embedding.weight"] = random(BUCKETS, HEADS)
        state |= {f"{block}ffn.{name}.weight": random(hidden, text_dim, scale=thin) for name in ("gate.0", "fc1")}
        state[f"{block}ffn.fc2.weight"] = random(text_dim, hidden, scale=thin)
        state |= {f"{block}{norm}.weight": 1 + random(text_dim, scale=0.2) for norm in ("norm1", "norm2")}
    return state | {"norm.weight": 1 + random(text_dim, scale=0.2)}


def write_tokenizer(folder: Path) -> None:
    """A Unigram tokenizer as that of UMT5: words begin with ▁, a text ends with </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    scores = [(piece, 0.0 if rank < 3 else -2.0 - 0.01 * rank) for rank, piece in enumerate(VOCABULARY)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = {**names, "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))


def write_original(folder: Path, text_dim: int = 32, seed: int = 0) -> Path:
    """The files of Wan-AI/Wan2.1-T2V-1.3B that are about text; returns `folder`."""
    write_tokenizer(folder / "google" / "umt5-xxl")
    torch.save(original_state(text_dim, seed), folder / ORIGINAL)
    return folder


def write_diffusers(folder: Path, text_dim: int = 32, seed: int = 0, shards: int = 2) -> Path:
    """The files of Wan-AI/Wan2.1-T2V-1.3B-Diffusers that are about text; returns `folder`."""
    write_tokenizer(folder / "tokenizer")
    write_weights(folder / "text_encoder", original_state(text_dim, seed), shards)
    return folder


def write_encoder(folder: Path, text_dim: int = 32, seed: int = 0, shards: int = 1) -> Path:
    """The flat folder that TextEncoder loads; returns it."""
    write_tokenizer(folder / "tokenizer")
    write_weights(folder, original_state(text_dim, seed), shards)
    return folder


def write_weights(folder: Path, original: dict[str, Tensor], shards: int) -> None:
    """config.json and the weights in transformers' names; with an index where there is more than one file."""
    weights = umt5_from_original(original)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(spec_of(weights).to_json()))
    if shards == 1:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    where = {key: names[index % shards] for index, key in enumerate(weights)}
    for name in names:
        save_file({key: weights[key] for key in weights if where[key] == name}, folder / name, {"format": "pt"})
    size = sum(value.nbytes for value in weights.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": where})
    )
