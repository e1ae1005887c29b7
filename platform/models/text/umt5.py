"""Sizes of a UMT5 encoder, and the names of its weights in the two published layouts.

Owns the renaming of Wan's original file (models_t5_umt5-xxl-enc-bf16.pth: only the encoder, with a relative position
bias in every layer) to the names of transformers. Reads and writes no files and copies no tensors.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from longtake.platform.checkpoints.keys import listing
from longtake.platform.errors import WeightsError

EMBEDDING, TWIN = "shared.weight", "encoder.embed_tokens.weight"
"""Two names of the token embedding; a file may contain either or both."""


@dataclass(frozen=True)
class UMT5Spec:
    """Sizes of an encoder, under their names in config.json. All published UMT5 models share the defaults."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    feed_forward_proj: str = "gated-gelu"
    layer_norm_epsilon: float = 1e-6
    pad_token_id: int = 0
    eos_token_id: int = 1

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", **asdict(self)}


UMT5_XXL = UMT5Spec(vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64)

OUTSIDE_BLOCKS = {"token_embedding.weight": EMBEDDING, "norm.weight": "encoder.final_layer_norm.weight"}
IN_BLOCK = {
    "norm1": "layer.0.layer_norm",
    **{f"attn.{name}": f"layer.0.SelfAttention.{name}" for name in "qkvo"},
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}


def umt5_from_original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The original file's weights under transformers' names, not copied. Raises WeightsError for unknown names."""
    renamed = {key: renamed_key(key) for key in state}
    unknown = sorted(key for key, name in renamed.items() if name is None)
    if unknown:
        raise WeightsError(f"not the text encoder of Wan: unexpected {listing(unknown)}")
    return {str(renamed[key]): value for key, value in state.items()}


def renamed_key(key: str) -> str | None:
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", key)
    if block is None:
        return OUTSIDE_BLOCKS.get(key)
    part = IN_BLOCK.get(block[2])
    return part and f"encoder.block.{block[1]}.{part}.weight"


def spec_of(weights: dict[str, Tensor]) -> UMT5Spec:
    """Infer the sizes of an encoder from the shapes of its weights (transformers' names). Raises WeightsError."""
    first = "encoder.block.0.layer."
    try:
        vocab, width = weights[EMBEDDING].shape
        buckets, heads = weights[f"{first}0.SelfAttention.relative_attention_bias.weight"].shape
        inner, hidden = (
            weights[f"{first}{name}.weight"].shape[0] for name in ("0.SelfAttention.q", "1.DenseReluDense.wi_0")
        )
    except (KeyError, ValueError) as error:
        raise WeightsError(f"not the text encoder of Wan: its sizes cannot be computed without {error}") from error
    layers = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.block."))
    return UMT5Spec(vocab, width, inner // heads, hidden, layers, heads, buckets)
