"""How networks get their weights: from artefacts or from given tensors, whole and fitting, or an error of one line."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.evaluators.models import base
from longtake.evaluators.models.base import load, missing, networks, weights_sha256
from longtake.evaluators.models.published import check_published, published_shapes
from longtake.platform.errors import ConfigError, SetupError, WeightsError
from longtake.platform.weights.manifest import FileRecord, Manifest, write
from tests.evaluators.models.conftest import LORA, weights_for

AESTHETIC = {"weight": torch.arange(768.0)[None] / 768, "bias": torch.tensor([0.5])}


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    return tmp_path


def lay_down(folder: Path, artefact: str, tensors: dict[str, torch.Tensor]) -> str:
    """An artefact's weights and their record; returns the file's hash."""
    path = folder / artefact / "metric.safetensors"
    path.parent.mkdir()
    save_file(tensors, path)
    digest, stat = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat()
    files = {path.name: FileRecord(stat.st_size, digest, stat.st_mtime_ns)}
    write(path.parent, Manifest(artefact, "someone/something", None, None, "test", files))
    return digest


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_an_artefact_becomes_a_network(weights_folder: Path) -> None:
    digest = lay_down(weights_folder, "aesthetic-linear", AESTHETIC)
    network = load("aesthetic", "cpu")
    # (0 + 1 + .. + 767) / 768 + .5 = 767 / 2 + .5
    assert network(torch.ones(1, 768)).item() == pytest.approx(384.0)
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    assert missing("aesthetic") == []
    whole = hashlib.sha256(f"metric.safetensors {digest}\n".encode()).hexdigest()
    assert weights_sha256("aesthetic") == {"aesthetic-linear": whole}


def test_half_tensors_are_widened() -> None:
    network = load("aesthetic", weights={"aesthetic-linear": {name: one.half() for name, one in AESTHETIC.items()}})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_what_is_missing_is_named_with_the_command(weights_folder: Path) -> None:
    (line,) = missing("dino")
    assert str(weights_folder / "dino-vitb16" / "metric.safetensors") in line
    assert line.endswith("run longtake weights pull dino-vitb16")
    assert len(missing("dreamsim")) == 2
    with pytest.raises(WeightsError) as caught:
        load("dino")
    assert "longtake weights pull dino-vitb16" in one_line(caught.value)
    with pytest.raises(WeightsError):
        weights_sha256("dino")


def test_a_damaged_file_is_named(weights_folder: Path) -> None:
    lay_down(weights_folder, "aesthetic-linear", AESTHETIC)
    (weights_folder / "aesthetic-linear" / "metric.safetensors").write_bytes(b"no weights")
    assert "changed since it was recorded" in missing("aesthetic")[0]
    with pytest.raises(WeightsError, match=r"metric\.safetensors: cannot be read .*longtake weights pull"):
        load("aesthetic")


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.get("aesthetic"), "packages", ("no_such_package",))
    with pytest.raises(SetupError) as caught:
        load("aesthetic", weights={"aesthetic-linear": AESTHETIC})
    told = "network 'aesthetic': no_such_package is not installed; run pip install '.[vbench]'"
    assert one_line(caught.value) == told


def test_pinned_packages_are_held_to_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert base.missing_package("vbench") == []
    monkeypatch.setitem(base.PINNED, "vbench", "9.9")
    monkeypatch.setitem(base.PINNED, "no-such-package", "1.0")
    assert base.missing_package("vbench") == [
        "vbench 0.1.5 is installed, not 9.9; run pip install --no-deps vbench==9.9"
    ]
    assert base.missing_package("no-such-package") == [
        "no-such-package is not installed; run pip install --no-deps no-such-package==1.0"
    ]


@pytest.mark.parametrize("name", [name for name in networks.names() if name != "clip-l"])
def test_a_tensor_too_few_too_many_or_of_another_shape_is_refused(name: str) -> None:
    artefact = networks.get(name).artefacts[-1]
    shapes = published_shapes(artefact)
    first = next(iter(shapes))
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    others = {one: {key: torch.empty(s, device="meta") for key, s in published_shapes(one).items()}
              for one in networks.get(name).artefacts}  # fmt: skip
    without = {key: value for key, value in meta.items() if key != first}
    for wrong, told in (
        (without, f"missing {first}"),
        (meta | {"more": torch.empty(1)}, "unexpected more"),
        (meta | {first: torch.empty(7, 7, 7)}, f"wrong shape for {first} [7, 7, 7], not {list(shapes[first])}"),
    ):
        with pytest.raises(WeightsError) as caught:
            load(name, weights=others | {artefact: wrong}, settings=LORA)
        line = one_line(caught.value)
        assert line.startswith(f"{artefact}/metric.safetensors: {told}")
        assert line.endswith(f"longtake weights pull {artefact}")


def test_a_library_that_has_changed_is_no_fault_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.get("aesthetic"), "build", lambda self: torch.nn.Linear(768, 2))
    with pytest.raises(SetupError, match=r"wrong shape for bias \[1\], not \[2\].*; install the tested libraries"):
        load("aesthetic", weights={"aesthetic-linear": AESTHETIC})


def test_published_shapes_add_up_to_the_published_files() -> None:
    """float32 bytes of all tensors, beside the sizes of dino_vitbase16_pretrain.pth, dinov2_vitb14_pretrain.pth,
    amt-s.pth and raft-things.pth: the rest of a file is its table of names, under 1.5 % of it."""
    files = {"dino-vitb16": 343_242_485, "dinov2-vitb14": 346_378_731, "amt-s": 12_038_359, "raft-things": 21_108_000}
    for artefact, size in files.items():
        told = 4 * sum(math.prod(shape) for shape in published_shapes(artefact).values())
        assert 0.985 * size < told <= size, artefact


def test_names_that_nobody_published_are_refused() -> None:
    with pytest.raises(WeightsError, match="'amt' has no weights of a metric; did you mean 'amt-s'"):
        published_shapes("amt")
    check_published("raft-things", published_shapes("raft-things/torchvision"), "file")
    with pytest.raises(
        WeightsError, match=r"^file: missing blocks\.0\.attn\.proj\.bias, .* and 147 more; .*pull dino-vitb16$"
    ):
        check_published("dino-vitb16", {}, "file")
    with pytest.raises(ConfigError, match="unknown network 'dinov3'; did you mean 'dinov2'"):
        load("dinov3")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"r": 16}, LORA | {"bias": "all"}, LORA | {"fan_in_fan_out": True}])
def test_an_adapter_of_another_kind_is_refused(settings: dict[str, object]) -> None:
    weights = {one: {key: torch.empty(shape, device="meta") for key, shape in published_shapes(one).items()}
               for one in networks.get("dreamsim").artefacts}  # fmt: skip
    with pytest.raises(WeightsError, match=r"adapter_config\.json: is not a plain LoRA"):
        load("dreamsim", weights=weights, settings=settings)


@pytest.mark.slow
def test_the_lora_is_merged_by_hand() -> None:
    weights = weights_for("dreamsim")
    merged = load("dreamsim", weights=weights, settings={"r": 16, "lora_alpha": 8}).state_dict()
    name = "base_model.model.extractor_list.1.model.blocks.3.attn.qkv"
    ensemble = weights["dreamsim-ensemble"]
    a, b = ensemble[f"lora.{name}.lora_A.weight"], ensemble[f"lora.{name}.lora_B.weight"]
    # 8 / 16 = a half; tower 1 is CLIP
    want = ensemble["clip.blocks.3.attn.qkv.weight"] + 0.5 * (b @ a)
    assert torch.equal(merged["clip.vit.blocks.3.attn.qkv.weight"], want)
    untouched = "blocks.3.attn.proj.weight"
    assert torch.equal(merged[f"clip.vit.{untouched}"], ensemble[f"clip.{untouched}"])
