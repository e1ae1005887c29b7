"""The embedder fresh, saved, found by name, and converted from the published pickle."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longtake.platform.errors import WeightsError
from longtake.platform.models.embedder import LatentAutoencoder, ResBlock, fresh_embedder, save_embedder
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.weights.embedder_catalog import SHIPPED, embedder_file, load_embedder

GOLDEN = Path(__file__).parents[2] / "golden"
SPEC = EmbedderSpec(4, 6, 10, 8, (8, 12))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    """A stage of width h after c: conv 9ch + h, norm 2h, two convs 9hh + h with norms 2h; then a norm and a linear."""
    with torch.device("meta"):
        model = LatentAutoencoder(EmbedderSpec())
    stages = sum(9 * c * h + h + 2 * h + 2 * (9 * h * h + 3 * h) for c, h in ((16, 64), (64, 128), (128, 256)))
    assert count(model.encoder) == stages + 2 * 256 + 256 * 1024 + 1024 == 2_193_856
    assert count(model) == 30_231_696


def test_golden_embeddings_and_reconstruction():
    """1e-5: float32 sums in another order; values are around 1."""
    tensors, facts = load_file(GOLDEN / "ae_losses.safetensors"), json.loads((GOLDEN / "ae_losses.json").read_text())
    sizes = facts["config"]
    model = LatentAutoencoder(EmbedderSpec(**sizes | {"hidden_dims": tuple(sizes["hidden_dims"])}))
    model.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")})
    assert list(model.spec.feature_shape) == facts["encoder_feature_shape"]
    with torch.no_grad():
        for kind in ("random", "drift"):
            chunk = tensors[f"chunk_{kind}"]
            embedding = model.encoder(chunk.flatten(0, 1))
            assert (embedding - tensors[f"embed_{kind}"]).abs().max() < 1e-5
            assert (model(chunk).flatten(0, 1) - tensors[f"embed_normalized_{kind}"]).abs().max() < 1e-5
        assert (model.decoder(embedding) - tensors["recon_drift"]).abs().max() < 1e-5


def test_fresh_weights_follow_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = fresh_embedder(SPEC, 5)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    same, other = fresh_embedder(SPEC, 5), fresh_embedder(SPEC, 6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.encoder.fc.weight, other.encoder.fc.weight)
    assert all(parameter.requires_grad for parameter in one.parameters())


def test_fresh_weights_have_the_published_spread():
    """Kaiming: std sqrt(2 / (9 in)), 9 * 64 inputs; Xavier: sqrt(2 / (in + out)). 2 %: 74,000 and 262,000 draws."""
    model = fresh_embedder(EmbedderSpec(), 0)
    conv, linear = model.encoder.conv_stack[4], model.encoder.fc
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert linear.weight.std().item() == pytest.approx((2 / (256 + 1024)) ** 0.5, rel=0.02)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert all(not value.any() for value in biases)
    x = torch.randn(2, 64, 4, 4)
    block = model.encoder.conv_stack[3]
    assert isinstance(block, ResBlock)
    assert torch.equal(block(x), x)
    assert bool((model.encoder.final_norm[0].weight == 1).all())


def test_saved_and_loaded(tmp_path):
    model = fresh_embedder(SPEC, 3)
    digest = save_embedder(model, tmp_path / "e.safetensors", {"step": 7})
    facts = json.loads((tmp_path / "e.json").read_text())
    assert facts == {"config": asdict(SPEC) | {"hidden_dims": [8, 12]}, "step": 7}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.json", "e.safetensors"]
    latents = torch.randn(2, 3, 4, 6, 10)
    assert torch.equal(load_embedder(tmp_path)(latents), model(latents))
    assert save_embedder(model, tmp_path / "e.safetensors", {}) == digest


def test_saved_in_half_precision(tmp_path):
    save_embedder(fresh_embedder(SPEC, 3), tmp_path / "e.safetensors", {}, torch.float16)
    assert {value.dtype for value in load_file(tmp_path / "e.safetensors").values()} == {torch.float16}
    assert load_embedder(tmp_path).dtype == torch.float32


def test_takes_share_an_embedder_until_its_file_changes(tmp_path):
    path = tmp_path / "e.safetensors"
    save_embedder(fresh_embedder(SPEC, 3), path, {})
    first = load_embedder(path)
    assert load_embedder(path) is first
    save_embedder(fresh_embedder(SPEC, 4), path, {})
    second = load_embedder(path)
    assert second is not first
    assert torch.equal(second.encoder.fc.weight, fresh_embedder(SPEC, 4).encoder.fc.weight)


def test_every_shipped_embedder_loads_by_its_name():
    for path in SHIPPED.glob("*.safetensors"):
        assert embedder_file(path.stem) == path
        load_embedder(path.stem)


def test_unknown_name_tells_the_near_one_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"^descriptor longlive-rag: .*did you mean 'longlive-rag-embedder'\?.*longtake train"
    ):
        embedder_file("longlive-rag")
    with pytest.raises(WeightsError, match=r"run longtake weights pull longlive-rag-embedder$"):
        embedder_file("longlive-rag-embedder")
