"""The published layouts of metrics' weights, made small, become metric.safetensors under the published names."""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from longtake.platform.errors import WeightsError
from longtake.platform.weights.archive import member
from longtake.platform.weights.artefacts import folder_of, recorded_sha256, state
from longtake.platform.weights.catalog import ARTEFACTS, GROUPS, artefact
from longtake.platform.weights.check import check_weights, verify
from longtake.platform.weights.convert import convert
from longtake.platform.weights.entries import Artefact
from longtake.platform.weights.pull import import_files
from longtake.platform.weights.torchscript import tensors
from longtake.platform.weights.vbench import RAFT_THINGS

WEIGHTS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([0.5, -1.0])}
SHAPES: Mapping[str, tuple[int, ...]] = {"conv.weight": (2, 3), "conv.bias": (2,)}
LORA = {"base_model.model.extractor_list.0.model.blocks.0.attn.qkv.lora_A.weight": torch.ones(2, 3)}
CONFIG = {"r": 16, "lora_alpha": 8, "target_modules": ["qkv"], "peft_type": "LORA"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "from").mkdir()
    return tmp_path / "from"


def pickled(value: object) -> bytes:
    buffer = BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def dreamsim(**changes: bytes) -> bytes:
    tower = {"blocks.0.norm1.weight": torch.ones(3), "proj": torch.full((3, 2), 2.0)}
    files = {
        "dino_vitb16_pretrain.pth": b"the head of DINO, which is not needed",
        "clip_vitb16_pretrain.pth.tar": pickled({"state_dict": tower}),
        "open_clip_vitb16_pretrain.pth.tar": pickled(
            {"state_dict": {name: (3 * value).half() for name, value in tower.items()}}
        ),
        "ensemble_lora/adapter_model.safetensors": save(LORA),
        "ensemble_lora/adapter_config.json": json.dumps(CONFIG).encode(),
    }
    return zipped({name: changes.get(Path(name).stem, data) for name, data in files.items()})


def given(name: str, monkeypatch: pytest.MonkeyPatch, member_sha256: str = "") -> Artefact:
    """An entry of the catalogue that takes files of any hash."""
    origins = tuple(
        replace(
            one,
            files=tuple(replace(file, sha256="") for file in one.files),
            pickle=one.pickle and replace(one.pickle, member_sha256=member_sha256),
        )
        for one in artefact(name).origins
    )
    entry = replace(artefact(name), origins=origins)
    monkeypatch.setitem(ARTEFACTS, name, entry)
    return entry


def make(entry: Artefact, source: Path, *tables: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Take and convert it; no tables: whatever it holds is right."""
    import_files(entry, source, print)
    convert(entry, lambda one, weights, origin: check_weights(one, lambda _: tables, weights, origin), print)
    assert verify(entry, lambda _: tables) == []
    return load_file(folder_of(entry.name) / "metric.safetensors")


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == value.dtype and found[name].equal(value) for name, value in wanted.items()
    )


def test_the_group_is_every_metric_and_all_that_is_known_is_pinned() -> None:
    entries = [artefact(name) for name in GROUPS["vbench"]]
    assert [one.name for one in entries] == [name for name, one in ARTEFACTS.items() if one.kind == "metric"]
    assert len(entries) == 9
    assert all(one.expected_bytes > 0 and one.licence != Artefact.licence for one in entries)
    for one in entries:
        (file,) = one.origins[0].files
        pin = file.sha256 or (one.origins[0].pickle and one.origins[0].pickle.member_sha256)
        assert len(pin or "") == (0 if one.name in ("aesthetic-linear", "dreamsim-ensemble") else 64)
        assert len(file.path.split("/")) < 4 or "clip/models" not in file.path or file.sha256 in file.path


def test_a_pickled_table_keeps_its_names(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "sa_0_4_vit_l_14_linear.pth").write_bytes(pickled(WEIGHTS))
    assert same(make(given("aesthetic-linear", monkeypatch), source, SHAPES), WEIGHTS)


def test_a_table_may_lie_under_a_key(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "amt-s.pth").write_bytes(pickled({"epoch": 3, "state_dict": WEIGHTS}))
    assert same(make(given("amt-s", monkeypatch), source, SHAPES), WEIGHTS)


def test_weights_of_another_network_become_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "amt-s.pth").write_bytes(pickled({"state_dict": {"conv.weight": torch.zeros(2, 3)}}))
    with pytest.raises(WeightsError, match=r"amt-s\.pth: missing conv\.bias; unexpected nothing"):
        make(given("amt-s", monkeypatch), source, SHAPES)
    assert not (folder_of("amt-s") / "metric.safetensors").exists()


class TestRaft:
    DATA = pickled({f"module.{name}": value for name, value in WEIGHTS.items()})
    OTHERS = {"models/raft-small.pth": b"another", "models/": b""}

    def test_its_member_of_the_zip_is_taken_alone(self, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (source / "models.zip").write_bytes(zipped({**self.OTHERS, "models/raft-things.pth": self.DATA}))
        entry = given("raft-things", monkeypatch, hashlib.sha256(self.DATA).hexdigest())
        assert same(make(entry, source, SHAPES), WEIGHTS)
        left = sorted(path.name for path in folder_of("raft-things").rglob("[!.]*") if path.is_file())
        assert left == ["manifest.json", "metric.safetensors", "models.zip"]
        assert not list(folder_of("raft-things").rglob(".tmp-*"))

    def test_zip_and_unpacked_file_and_torchvision_s_are_one_table(
        self, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = given("raft-things", monkeypatch)
        for name, data in (
            ("models.zip", zipped({"models/raft-things.pth": self.DATA})),
            ("raft-things.pth", self.DATA),
            ("raft_large_C_T_V1-22a6c225.pth", pickled(WEIGHTS)),
        ):
            (source / name).write_bytes(data)
            assert same(make(entry, source, {"other": (1,)}, SHAPES), WEIGHTS)
            (source / name).unlink()

    def test_a_member_of_another_hash_is_refused(self, source: Path) -> None:
        (source / "models.zip").write_bytes(zipped({"models/raft-things.pth": self.DATA}))
        found = hashlib.sha256(self.DATA).hexdigest()[:12]
        with pytest.raises(WeightsError, match=rf"has sha256 {found}, not {RAFT_THINGS[:12]}; fetch it again"):
            make(artefact("raft-things"), source)

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (zipped({"models/raft-small.pth": b""}), "contains 0 files named models/raft-things.pth, expected one"),
            (zipped({"models/raft-things.pth": b"", "b/models/raft-things.pth": b""}), "contains 2 files"),
            (b"no zip at all", "cannot read"),
        ],
    )
    def test_another_zip_is_one_line(
        self, data: bytes, said: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (source / "models.zip").write_bytes(data)
        with pytest.raises(WeightsError, match=rf"source/models\.zip: .*{said}"):
            make(given("raft-things", monkeypatch), source)


class TestZips:
    def test_no_name_leads_out_of_the_folder(self, source: Path) -> None:
        (source / "evil.zip").write_bytes(zipped({"../../up/net.pth": b"data", "/abs/other.pth": b"more"}))
        for name, data in (("up/net.pth", b"data"), ("abs/other.pth", b"more")):
            with member(source / "evil.zip", name) as file:
                assert file.parent == source
                assert file.read_bytes() == data
        assert sorted(path.name for path in source.parent.rglob("*") if path.is_file()) == ["evil.zip"]

    def test_what_grows_too_large_or_is_damaged_is_refused(self, source: Path) -> None:
        bomb = source / "bomb.zip"
        bomb.write_bytes(zipped({"net.pth": b"\0" * 100_000}))
        assert bomb.stat().st_size < 1000
        with (
            pytest.raises(WeightsError, match=r"bomb\.zip: net\.pth has 0\.0 GB, more than any known file"),
            member(bomb, "net.pth", limit=99_999),
        ):
            pass
        data = bytearray(bomb.read_bytes())
        data[45] ^= 0xFF
        bomb.write_bytes(data)
        with pytest.raises(WeightsError, match=r"cannot read net\.pth"), member(bomb, "net.pth"):
            pass
        assert [path.name for path in source.iterdir()] == ["bomb.zip"]


class TestDreamSim:
    NAME = "dreamsim_ensemble_checkpoint.zip"

    def test_towers_and_adapter_become_one_table(self, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (source / self.NAME).write_bytes(dreamsim())
        found = make(given("dreamsim-ensemble", monkeypatch), source)
        (lora,) = LORA
        assert same(
            found,
            {
                "clip.blocks.0.norm1.weight": torch.ones(3),
                "clip.proj": torch.full((3, 2), 2.0),
                "open_clip.blocks.0.norm1.weight": torch.full((3,), 3.0),  # 3 x 1 in float16, widened
                "open_clip.proj": torch.full((3, 2), 6.0),
                f"lora.{lora}": torch.ones(2, 3),
            },
        )
        folder = folder_of("dreamsim-ensemble")
        assert json.loads((folder / "adapter_config.json").read_text()) == CONFIG
        assert state(artefact("dreamsim-ensemble")) == "ready"
        before = recorded_sha256("dreamsim-ensemble")
        (folder / "source" / self.NAME).unlink()
        assert recorded_sha256("dreamsim-ensemble") == before

    @pytest.mark.parametrize("config", [b"{", b"[]", b'{"r": 16}'])
    def test_an_adapter_without_its_settings_is_refused(
        self, config: bytes, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (source / self.NAME).write_bytes(dreamsim(adapter_config=config))
        with pytest.raises(WeightsError, match=r"lora/adapter_config\.json (is not valid JSON|has no (r|lora_alpha))"):
            make(given("dreamsim-ensemble", monkeypatch), source)
        assert not (folder_of("dreamsim-ensemble") / "metric.safetensors").exists()


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.proj = nn.Parameter(torch.randn(4, 3))
        self.attn = nn.MultiheadAttention(8, 2)
        self.ln_pre = nn.LayerNorm(8)
        self.register_buffer("steps", torch.arange(5))
        self.nothing, self.sizes, self.label = None, [1, 2], "x"

    def forward(self, x: Tensor) -> Tensor:
        return self.ln_pre(x)  # type: ignore[no-any-return]


class Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = Tower()
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.tied = self.visual.proj
        self.input_resolution = 224

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(x) * self.logit_scale  # type: ignore[no-any-return]


def repacked(path: Path, entry: str, data: bytes) -> None:
    """The same archive with another `entry`."""
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in files.items():
            archive.writestr(name, data if name.endswith(entry) else value)


class TestTorchScript:
    @pytest.fixture
    def archive(self, source: Path) -> Path:
        path = source / "ViT-B-32.pt"
        torch.jit.save(torch.jit.trace(Clip().half().eval(), torch.ones(1, 8).half(), check_trace=False), str(path))
        return path

    def test_the_image_tower_is_kept_in_float32(
        self, archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = make(given("clip-vit-b-32", monkeypatch), source)
        state_dict = torch.jit.load(str(archive)).state_dict()
        assert same(
            found,
            {
                name: value.float() if value.is_floating_point() else value
                for name, value in state_dict.items()
                if name.startswith("visual.")
            },
        )
        assert len(found) == 8  # proj, four of attention, two of ln_pre, steps
        assert found["visual.proj"].equal(Clip().visual.proj.detach().half().float())

    def test_scripted_modules_and_all_names_are_read_as_torch_reads_them(self, archive: Path) -> None:
        torch.jit.save(torch.jit.script(Clip()), str(archive))
        assert same(tensors(archive), torch.jit.load(str(archive)).state_dict())

    def test_what_asks_for_code_is_refused_and_not_run(self, archive: Path, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                return os.mkdir, (str(tmp_path / "canary"),)

        repacked(archive, "/data.pkl", pickle.dumps({"visual": Bomb()}, protocol=2))
        with pytest.raises(WeightsError, match=r"ViT-B-32\.pt: asks for posix\.mkdir; only tensors are read"):
            tensors(archive)
        assert not (tmp_path / "canary").exists()

    def test_a_tensor_of_more_numbers_than_its_storage_is_refused(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as opened:
            infos = [one for one in opened.infolist() if "/data/" in one.filename]
        entry = max(infos, key=lambda one: one.file_size).filename
        repacked(archive, entry, b"\0\0")
        with pytest.raises(WeightsError, match=f"{entry} holds fewer numbers than its tensor needs"):
            tensors(archive)

    @pytest.mark.parametrize("data", [b"", b"no zip", pickled(WEIGHTS), zipped({"a/b": b""})])
    def test_what_is_no_such_archive_is_one_line(self, data: bytes, source: Path) -> None:
        (source / "x.pt").write_bytes(data)
        with pytest.raises(WeightsError, match=r"x\.pt: ") as caught:
            tensors(source / "x.pt")
        assert "\n" not in str(caught.value)

    def test_the_catalogue_takes_openai_s_file_and_no_other(self, archive: Path, source: Path) -> None:
        with pytest.raises(WeightsError, match=r"has sha256 .*, the published file has 40d365715913"):
            import_files(artefact("clip-vit-b-32"), source, print)
        assert state(artefact("clip-vit-b-32")) != "ready"
