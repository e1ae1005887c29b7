"""Weights load strictly or not at all, and every refusal names the file and both sides."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.platform.checkpoints.files import load_safetensors, load_strict, read_json
from longtake.platform.checkpoints.keys import clean_key
from longtake.platform.errors import WeightsError
from longtake.platform.models.embedder import LatentAutoencoder
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.weights.embedder_catalog import embedder_file, load_embedder


@pytest.fixture
def network():
    return torch.nn.Linear(3, 2)


def test_keys_lose_prefix_and_residues():
    assert (
        clean_key("model._fsdp_wrapped_module.blocks.0._orig_mod.self_attn.q.weight") == "blocks.0.self_attn.q.weight"
    )


def test_missing_and_unexpected_are_both_named(network, tmp_path):
    with pytest.raises(WeightsError, match=r"w\.st: missing bias; unexpected extra"):
        load_strict(network, {"weight": torch.zeros(2, 3), "extra": torch.zeros(1)}, tmp_path / "w.st")


def test_wrong_shape_names_both(network, tmp_path):
    with pytest.raises(WeightsError, match=r"weight has shape \[3, 2\], the architecture needs \[2, 3\]"):
        load_strict(network, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, tmp_path / "w.st")


def test_nan_is_refused(network, tmp_path):
    weights = {"weight": torch.full((2, 3), float("nan")), "bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match="not finite"):
        load_strict(network, weights, tmp_path / "w.st")


def test_broken_file_is_one_line(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be read"):
        load_safetensors(path)


def test_published_embedder_has_30_million_parameters():
    with torch.device("meta"):
        count = sum(p.numel() for p in LatentAutoencoder(EmbedderSpec()).parameters())
    assert count == pytest.approx(30.2e6, rel=0.01)


def test_a_missing_descriptor_never_becomes_another(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere.*avg-pool"):
        embedder_file(tmp_path / "nowhere")


def test_embedder_ignores_unknown_config_but_no_weight(tmp_path):
    spec = EmbedderSpec(4, 6, 10, 8, (8, 12))
    model = LatentAutoencoder(spec)
    save_file(model.state_dict(), tmp_path / "e.safetensors")
    sizes = {"in_channels": 4, "spatial_h": 6, "spatial_w": 10, "latent_dim": 8, "hidden_dims": [8, 12], "epochs": 400}
    (tmp_path / "e.json").write_text(__import__("json").dumps({"config": sizes}))
    latents = torch.randn(2, 3, 4, 6, 10)
    described = load_embedder(tmp_path)(latents)
    assert described.shape == (2, 3, 8)
    assert torch.allclose(described.norm(dim=-1), torch.ones(2, 3))
    assert model.decoder(model.encoder(latents[0])).shape == (3, 4, 6, 10)


def test_embedder_without_its_sizes_is_one_line(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "e.safetensors")
    with pytest.raises(WeightsError, match=r"e\.json: cannot be read"):
        load_embedder(tmp_path)
    (tmp_path / "e.json").write_text('{"config": {"latent_dim": 8}}')
    with pytest.raises(WeightsError, match=r"e\.json: needs `config` with in_channels"):
        load_embedder(tmp_path)


def test_embedder_for_other_latents_is_refused_before_anything_runs():
    from longtake.platform.errors import ConfigError
    from longtake.platform.methods.base import Window
    from longtake.platform.methods.rag import Rag

    golden = Path(__file__).parents[2] / "golden" / "ae_case3_weights.safetensors"
    rag = Rag(descriptor=str(golden))
    rag.check(Window(), (16, 4, 6))
    with pytest.raises(ConfigError, match=r"made for latents \(16, 4, 6\), the backbone's are \(48, 1, 8\)"):
        rag.check(Window(), (48, 1, 8))


@pytest.mark.parametrize("text", ["[]", "3", "{", "[" * 100_000, "\udce9"])
def test_json_beside_weights_is_an_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError, match=r"config\.json: cannot be read as json"):
        read_json(tmp_path / "config.json")
