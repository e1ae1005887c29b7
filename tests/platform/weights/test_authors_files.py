"""Files as the authors of the backbones publish them and tell people to download them become ready artefacts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from longtake.platform.errors import WeightsError
from longtake.platform.models.spec import DiTSpec
from longtake.platform.models.vae.wan import load_vae, random_vae
from longtake.platform.weights.artefacts import folder_of, recorded_sha256, state
from longtake.platform.weights.catalog import artefact
from longtake.platform.weights.check import verify
from longtake.platform.weights.convert import convert
from longtake.platform.weights.pull import import_files
from tests.platform.models.vae.small_vae import original_state, small_config, write_vae
from tests.platform.weights.test_artefacts import check, networks
from tests.platform.weights.wan_mirror import lora_state, network_state

NAME = "self-forcing-generator"
TINY = DiTSpec(16, 24, 2, 2, 4, 4, 4, 6, 10, freq_dim=8)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))


def imported(name: str, file: Path, content: object) -> list[str]:
    """Saves a pickle, imports and converts it; returns what `verify` finds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)
    import_files(artefact(name), file.parent, print)
    convert(artefact(name), check, print)
    return verify(artefact(name), networks)


def vae_weights() -> dict[str, Tensor]:
    return random_vae(small_config()).state_dict()


class TestTheVAEOfWan:
    def test_its_pickle_becomes_the_vae_of_diffusers(self, tmp_path: Path) -> None:
        assert imported("wan-vae", tmp_path / "from" / "Wan2.1_VAE.pth", original_state(vae_weights())) == []
        loaded = load_vae(folder_of("wan-vae"))
        assert loaded.config.base_dim == 2
        assert all(loaded.state_dict()[name].equal(value) for name, value in vae_weights().items())

    def test_one_form_replaces_the_other(self, tmp_path: Path) -> None:
        write_vae(tmp_path / "diffusers" / "vae", weights="diffusion_pytorch_model.safetensors")
        import_files(artefact("wan-vae"), tmp_path / "diffusers", print)
        before = recorded_sha256("wan-vae")
        assert imported("wan-vae", tmp_path / "from" / "Wan2.1_VAE.pth", original_state(vae_weights())) == []
        import_files(artefact("wan-vae"), tmp_path / "diffusers", print)
        assert state(artefact("wan-vae")) == "ready"
        assert recorded_sha256("wan-vae") == before
        assert not list(folder_of("wan-vae").glob("source/*"))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ({"w": torch.zeros(1)}, "is not the VAE of Wan 2.1: its sizes cannot be computed without"),
            ({"conv2.weight": torch.zeros(4, 4, 1, 1, 1)}, "cannot be computed without 'encoder.conv1.weight'"),
            (
                {"conv2.weight": torch.zeros(4, 4, 1, 1, 1), "encoder.conv1.weight": torch.zeros(2, 3, 3, 3, 3)},
                "has 4 latent channels",
            ),
        ],
    )
    def test_another_pickle_of_this_name_is_refused(self, content: object, said: str, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=said):
            imported("wan-vae", tmp_path / "from" / "Wan2.1_VAE.pth", content)
        assert state(artefact("wan-vae")) == "pulled, needs convert"

    def test_what_it_lacks_is_named(self, tmp_path: Path) -> None:
        content = original_state(vae_weights())
        del content["decoder.head.2.bias"]
        with pytest.raises(WeightsError, match=r"missing decoder\.conv_out\.bias; unexpected nothing"):
            imported("wan-vae", tmp_path / "from" / "Wan2.1_VAE.pth", content)


class TestLayouts:
    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("self-forcing-generator", "checkpoints/self_forcing.pt"),
            ("self-forcing-generator", "checkpoints/self_forcing_dmd.pt"),
            ("causal-forcing-generator", "checkpoints/causal_forcing.pt"),
            ("causal-forcing-generator", "checkpoints/chunkwise/causal_forcing.pt"),
            ("longlive-base", "checkpoints/longlive_base.pt"),
            ("longlive-base", "longlive_models/models/longlive_base.pt"),
            ("longlive-base", "LongLive-1.3B/models/longlive_base.pt"),
        ],
    )
    def test_where_each_project_tells_people_to_download_to(self, name: str, file: str, tmp_path: Path) -> None:
        (tmp_path / "checkout" / file).parent.mkdir(parents=True)
        torch.save({"generator_ema": network_state(TINY, 1)}, tmp_path / "checkout" / file)
        import_files(artefact(name), tmp_path / "checkout", print)
        convert(artefact(name), check, print)
        assert verify(artefact(name), networks) == []


class TestDictionaries:
    def test_a_lora_without_a_dictionary_around_it(self, tmp_path: Path) -> None:
        lora = lora_state(TINY, 4)
        assert imported("longlive-lora", tmp_path / "a" / "lora.pt", lora) == []
        plain = recorded_sha256("longlive-lora")
        assert imported("longlive-lora", tmp_path / "b" / "lora.pt", {"generator_lora": lora, "step": 3}) == []
        assert recorded_sha256("longlive-lora") == plain

    @pytest.mark.parametrize("name", ["self-forcing-generator", "causal-forcing-generator", "longlive-base"])
    @pytest.mark.parametrize("key", ["generator_ema", "model", None])
    def test_a_generator_alone_under_any_published_key(self, name: str, key: str | None, tmp_path: Path) -> None:
        file = artefact(name).origins[0].files[0].path.rpartition("/")[2]
        weights = network_state(TINY, 1)
        assert imported(name, tmp_path / "from" / file, {key: weights} if key else weights) == []

    @pytest.mark.parametrize(("name", "seed"), [("self-forcing-generator", 2), ("causal-forcing-generator", 1)])
    def test_of_both_the_one_that_the_authors_sample_with(self, name: str, seed: int, tmp_path: Path) -> None:
        file = artefact(name).origins[0].files[0].path.rpartition("/")[2]
        both = {"generator": network_state(TINY, 1), "generator_ema": network_state(TINY, 2)}
        assert imported(name, tmp_path / "both" / file, both) == []
        chosen = recorded_sha256(name)
        assert imported(name, tmp_path / "one" / file, network_state(TINY, seed)) == []
        assert recorded_sha256(name) == chosen

    def test_training_weights_of_self_forcing_are_not_its_averaged_ones(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="has no generator_ema or model, only generator; use another file"):
            imported(
                "self-forcing-generator", tmp_path / "f" / "self_forcing.pt", {"generator": network_state(TINY, 1)}
            )
