"""The published embedder becomes one of ours: from a pickle of a whole training, through no code of that pickle."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from longtake.platform.errors import WeightsError
from longtake.platform.methods.base import Window
from longtake.platform.methods.rag import Rag
from longtake.platform.models.embedder import LatentAutoencoder, fresh_embedder
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.weights.artefacts import READY, folder_of, state
from longtake.platform.weights.catalog import artefact
from longtake.platform.weights.check import check_weights, verify
from longtake.platform.weights.convert import convert
from longtake.platform.weights.embedder_catalog import load_embedder
from longtake.platform.weights.pull import import_files

NAME = "longlive-rag-embedder"
SPEC = EmbedderSpec(4, 6, 10, 8, (8, 12))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def trained() -> LatentAutoencoder:
    """After one optimiser step, so that no weight is at its start."""
    model = fresh_embedder(SPEC, 9)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.decoder(model.encoder(torch.randn(2, 4, 6, 10))).square().mean().backward()
    optimizer.step()
    return model


def checkpoint(model: LatentAutoencoder, **other: Any) -> dict[str, Any]:
    """The authors' layout: weights under a compiled module's names, optimiser and scaler states, all settings."""
    parameters = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    sizes = asdict(SPEC) | {"hidden_dims": [*SPEC.hidden_dims]}
    return {
        "epoch": 399,
        "model": {f"_orig_mod.{name}": value for name, value in model.state_dict().items()},
        "optimizer": {"state": {0: {"step": torch.tensor(5.0), "exp_avg": parameters}}, "param_groups": [{"lr": 3e-4}]},
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        "config": sizes | {"epochs": 400, "margin": 0.85, "data_root": "latents", "amp": True, "clip": None},
    } | other


def write(folder: Path, value: Any) -> Path:
    folder.mkdir()
    torch.save(value, folder / "ae_latent_mem.pt")
    return folder


def bring(folder: Path) -> None:
    import_files(artefact(NAME), folder, print)
    convert(artefact(NAME), lambda one, weights, origin: check_weights(one, lambda _: [], weights, origin), print)


def test_it_is_converted_once_and_a_method_finds_it_by_name(tmp_path, trained):
    bring(write(tmp_path / "mirror", checkpoint(trained)))
    assert state(artefact(NAME)) == READY
    assert verify(artefact(NAME), lambda _: []) == []
    sizes = asdict(SPEC) | {"hidden_dims": [8, 12]}
    assert json.loads((folder_of(NAME) / "embedder.json").read_text()) == {"config": sizes}

    rag = Rag(descriptor=NAME)
    rag.check(Window(), (4, 6, 10))
    assert len(rag.fingerprint()["method.descriptor"]) == 64
    latents = torch.randn(1, 3, 4, 6, 10)
    assert torch.equal(rag.load_descriptor()(latents), trained(latents))


def test_weights_of_other_sizes_than_the_config_are_refused(tmp_path, trained):
    wrong = checkpoint(trained)
    wrong["config"]["latent_dim"] = 9
    with pytest.raises(WeightsError, match=r"ae_latent_mem\.pt: encoder\.fc\.weight has shape \[8, 12\], .*\[9, 12\]"):
        bring(write(tmp_path / "mirror", wrong))
    assert not list(folder_of(NAME).glob("embedder.*"))


@pytest.mark.parametrize("config", [None, {"latent_dim": 8}, asdict(SPEC) | {"hidden_dims": "8,12"}])
def test_a_config_without_sizes_is_one_line(config, tmp_path, trained):
    with pytest.raises(WeightsError, match=r"ae_latent_mem\.pt: needs `config` with in_channels, .*whole numbers"):
        bring(write(tmp_path / "mirror", checkpoint(trained, config=config)))


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_code_in_the_pickle_is_refused_and_does_not_run(tmp_path, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"ae_latent_mem\.pt: asks for posix\.mkdir; only tensors"):
        bring(write(tmp_path / "mirror", checkpoint(trained, scaler=Evil())))
    assert not Path("ran").exists()


def test_a_damaged_result_is_found(tmp_path, trained):
    bring(write(tmp_path / "mirror", checkpoint(trained)))
    facts = folder_of(NAME) / "embedder.json"
    facts.write_text(facts.read_text().replace('"latent_dim": 8', '"latent_dim": 9'))
    with pytest.raises(WeightsError, match=r"embedder\.safetensors: encoder\.fc\.weight has shape \[8, 12\]"):
        load_embedder(NAME)
    assert "its sha256 is not the recorded" in verify(artefact(NAME), lambda _: [])[0]
