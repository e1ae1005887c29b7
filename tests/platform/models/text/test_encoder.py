"""Prompts are read as Wan reads them, and either published layout gives the embeddings of the original formulas."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.platform.checkpoints.files import read_json
from longtake.platform.errors import WeightsError
from longtake.platform.models.text.encoder import Prompts, TextEncoder, check_text, clean, empty_network
from longtake.platform.models.text.umt5 import UMT5_XXL, spec_of, umt5_from_original
from tests.platform.models.text import small_encoder as fixture

PROMPT = "A city street in the rain; the camera glides past boats of stone and brick."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fixture.write_encoder(tmp_path / "text")


def bucket(distance: int, buckets: int = 32, furthest: int = 128) -> int:
    """T5, bidirectional: half the buckets look back, half ahead; of each half, half are exact and half logarithmic."""
    half = buckets // 2
    exact, far = half // 2, abs(distance)
    if far >= exact:
        far = min(half - 1, exact + int(math.log(far / exact) / math.log(furthest / exact) * (half - exact)))
    return far + (half if distance > 0 else 0)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def by_the_formulas(state: dict[str, Tensor], ids: list[int], padded_to: int) -> Tensor:
    """Wan's encoder from the original weights, in float32, over a padded prompt with its mask: [padded_to, D]."""
    w = {key.removesuffix(".weight"): value.float() for key, value in state.items()}
    length = padded_to
    x = w["token_embedding"][torch.tensor(ids + [0] * (length - len(ids)))]
    masked = torch.arange(length) >= len(ids)
    buckets = torch.tensor([[bucket(k - q) for k in range(length)] for q in range(length)])
    for block in (f"blocks.{index}." for index in range(fixture.LAYERS)):
        h = rms(x, w[f"{block}norm1"])
        q, k, v = (
            (h @ w[f"{block}attn.{n}"].T).view(length, fixture.HEADS, fixture.HEAD_DIM).transpose(0, 1) for n in "qkv"
        )
        scores = q @ k.transpose(1, 2) + w[f"{block}pos_embedding.embedding"][buckets].permute(2, 0, 1)
        mixed = scores.masked_fill(masked, -math.inf).softmax(-1) @ v
        x = x + mixed.transpose(0, 1).reshape(length, -1) @ w[f"{block}attn.o"].T
        h = rms(x, w[f"{block}norm2"])
        g = h @ w[f"{block}ffn.gate.0"].T
        gate = 0.5 * g * (1 + torch.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))
        x = x + (gate * (h @ w[f"{block}ffn.fc1"].T)) @ w[f"{block}ffn.fc2"].T
    return rms(x, w["norm"])


@pytest.mark.parametrize("prompt", [PROMPT, " ".join([PROMPT] * 3), ""])
def test_renamed_weights_give_the_embeddings_of_the_original_formulas(folder: Path, prompt: str) -> None:
    encoder = TextEncoder(folder, dtype=torch.float32)
    ids = encoder.prompts.ids(prompt)
    text_RD = encoder(prompt)
    assert text_RD.shape == (len(ids), 32)
    expected = by_the_formulas(fixture.original_state(), ids, padded_to=len(ids) + 9)
    torch.testing.assert_close(text_RD, expected[: len(ids)], atol=2e-5, rtol=2e-5)


def test_the_longest_prompt_reaches_the_furthest_bucket(folder: Path) -> None:
    encoder = TextEncoder(folder, dtype=torch.float32)
    text_RD = encoder("rain " * 600)
    ids = [fixture.VOCABULARY.index("▁rain")] * 511 + [1]
    torch.testing.assert_close(text_RD, by_the_formulas(fixture.original_state(), ids, 512), atol=2e-5, rtol=2e-5)


def test_buckets_by_hand() -> None:
    # back: 0..7 exact; 8 + 8 ln(d/8) / ln(16): 8 -> 8, 16 -> 10, 32 -> 12, 64 -> 14, 128 and more -> 15; ahead: + 16
    assert [bucket(-d) for d in (0, 7, 8, 17, 33, 65, 128, 500)] == [0, 7, 8, 10, 12, 14, 15, 15]
    assert [bucket(d) for d in (1, 7, 8, 500)] == [17, 23, 24, 31]


def test_bfloat16_is_what_it_computes_in_unless_told(folder: Path) -> None:
    text_RD = TextEncoder(folder)(PROMPT)
    assert text_RD.dtype == torch.bfloat16
    expected = TextEncoder(folder, dtype=torch.float32)(PROMPT)
    assert (text_RD - expected).norm() / expected.norm() < 0.03  # 8 bits: 0.4 % a step, some ten steps
    assert torch.equal(text_RD, TextEncoder(folder)(PROMPT))


def test_both_layouts_are_one_encoder(tmp_path: Path) -> None:
    original = torch.load(fixture.write_original(tmp_path) / fixture.ORIGINAL, weights_only=True)
    ours = umt5_from_original(original)
    diffusers = fixture.write_diffusers(tmp_path / "d", shards=3) / "text_encoder"
    theirs: dict[str, Tensor] = {}
    for path in sorted(diffusers.glob("*.safetensors")):
        theirs |= load_file(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert ours["encoder.block.1.layer.1.DenseReluDense.wi_0.weight"] is original["blocks.1.ffn.gate.0.weight"]


def test_shards_and_twins_of_the_embedding_load_alike(tmp_path: Path, folder: Path) -> None:
    expected = TextEncoder(folder)(PROMPT)
    assert torch.equal(TextEncoder(fixture.write_encoder(tmp_path / "shards", shards=3))(PROMPT), expected)
    weights = load_file(folder / "model.safetensors")
    twin = {"encoder.embed_tokens.weight": weights["shared.weight"].clone()}
    save_file(weights | twin, folder / "model.safetensors")
    assert torch.equal(TextEncoder(folder)(PROMPT), expected)
    save_file(
        {key: value for key, value in weights.items() if key != "shared.weight"} | twin, folder / "model.safetensors"
    )
    assert torch.equal(TextEncoder(folder)(PROMPT), expected)


def test_a_prompt_is_prepared_as_wan_does() -> None:
    assert clean("  a city\n\n at  dusk ") == "a city at dusk"
    assert clean("boats &amp;amp; rain") == "boats & rain"  # twice
    assert clean("it&#39;s") == "it's"
    assert clean("schÃ¶n") == "schön"
    assert clean("“light”") == '"light"'  # ftfy straightens quotes


def test_tokens_are_counted_before_they_are_cut_and_the_end_mark_stays(folder: Path) -> None:
    from transformers import AutoTokenizer

    prompts, library = Prompts(folder), AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    for prompt, tokens in [("", 1), ("rain", 2), ("rain " * 511, 512), ("rain " * 512, 513), ("rain " * 3000, 3001)]:
        ids = prompts.ids(prompt)
        assert (prompts.tokens(prompt), len(ids), ids[-1]) == (tokens, min(tokens, 512), 1)
        assert ids == library(clean(prompt), truncation=True, max_length=512, verbose=False)["input_ids"]
    assert TextEncoder(folder).tokens("rain " * 600) == 601


def test_sizes_come_from_shapes_and_those_of_the_published_encoder_are_known(folder: Path) -> None:
    spec = spec_of(umt5_from_original(fixture.original_state(text_dim=24)))
    assert (spec.d_model, spec.d_kv, spec.d_ff, spec.num_layers, spec.num_heads) == (24, 8, 48, 2, 4)
    assert (spec.vocab_size, spec.relative_attention_num_buckets) == (len(fixture.VOCABULARY), 32)
    (folder / "config.json").write_text(json.dumps(UMT5_XXL.to_json()))
    state = empty_network(folder).state_dict()
    assert state["shared.weight"].shape == (256384, 4096)
    # 24 x (4 x 4096 x 4096 + 3 x 4096 x 10240 + 32 x 64 + 2 x 4096) + 256384 x 4096 + 4096
    assert sum(value.numel() for key, value in state.items() if key != "encoder.embed_tokens.weight") == 5_680_910_336


def test_other_files_of_the_folder_are_no_matter(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    config = read_json(folder / "config.json") | {
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    check_text(folder)


def test_missing_files_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: no config\.json, tokenizer/tokenizer\.json, model\.safetensors"):
        check_text(tmp_path / "nowhere")
    shards = fixture.write_encoder(tmp_path / "shards", shards=2)
    (shards / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"shards: no model-00002-of-00002\.safetensors"):
        TextEncoder(shards)


def test_missing_and_unexpected_weights_and_other_shapes_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    gate = "encoder.block.1.layer.1.DenseReluDense.wi_0.weight"
    save_file({("extra" if key == gate else key): value for key, value in weights.items()}, path)
    with pytest.raises(WeightsError, match=rf"missing {gate}; unexpected extra"):
        check_text(folder)
    save_file(weights | {gate: weights[gate][:5].clone()}, path)
    with pytest.raises(WeightsError, match=rf"{gate} has shape \[5, 32\], the architecture needs \[64, 32\]"):
        check_text(folder)
    save_file(weights | {gate: torch.full_like(weights[gate], math.nan)}, path)
    check_text(folder)
    with pytest.raises(WeightsError, match=rf"{gate} holds numbers that are not finite"):
        TextEncoder(folder)


def test_foreign_files_are_one_line(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"unexpected blocks\.0\.self_attn\.q\.weight"):
        umt5_from_original(fixture.original_state() | {"blocks.0.self_attn.q.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="its sizes cannot be computed"):
        spec_of({})
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        TextEncoder(folder)
    (folder / "config.json").write_text('{"model_type": "umt5"}')
    with pytest.raises(WeightsError, match=r"config\.json: is not a config of UMT5"):
        check_text(folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    fixture.write_weights(folder.parent / "other", fixture.original_state(), 1)
    (folder / "config.json").write_bytes((folder.parent / "other" / "config.json").read_bytes())
    with pytest.raises(WeightsError, match=r"model\.safetensors: cannot be read as safetensors"):
        check_text(folder)


def test_a_tokenizer_without_an_end_mark_is_refused(folder: Path) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    path.write_text(json.dumps(read_json(path) | {"post_processor": None}))
    with pytest.raises(WeightsError, match="does not end a text with token 1"):
        Prompts(folder)
