"""The paper's grid in small: the shipped sweep file over checkpoints in the published layout, from pickles to ranks."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from longtake.jobs.cli import execute
from longtake.jobs.shipped import SWEEPS
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.grid import expand
from longtake.platform.backbones.base import BackboneSpec
from longtake.platform.checkpoints.files import load_safetensors
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.machine.resources import Resources
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from tests.jobs import mini_wan

SWEEP = SWEEPS / "longlive-rag.yaml"
SHAPE = [
    "backbones=[mini-self-forcing, mini-causal-forcing, mini-longlive]",
    "methods=[{native: {window: 7, sink: 1}}, {native-relative: {window: 7, sink: 1}}, "
    "{rag: {window: 7, sink: 1, top_k: 2, recency_guard: 2, descriptor: longlive-rag-embedder}}]",
    "lengths_s=[3]",
    "suites=[classical]",
    "tracking={uri: disabled}",
]


def words(out: Path, *more: str) -> list[str]:
    bank = f"workers={{cluster: inline, bank: {{host_gib: 0, disk: {out / 'bank'}}}}}"
    return ["run", str(SWEEP), *SHAPE, f"output={out}", bank, *more]


@pytest.fixture(scope="module")
def swept(wan_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wan")
    assert execute(words(out, "prompts={file: moviegen-prompts/moviegenbench_128_refined.txt, limit: 2}")) == 0
    return out


def results(out: Path) -> dict[tuple[str, str, str], tuple[Take, object]]:
    store = SweepStore(out, "longlive-rag")
    return {(t.backbone, t.method.label, t.prompt): (t, store.result(t.id)) for t in store.plan()}


def test_the_shipped_grid_is_that_of_the_paper(
    wan_weights: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The shipped sweep is planned with 128 prompts, before any weights are there.

    FLOPs of a block at window 12: 140.6 T; a 240 s take has 320 blocks and begins with the shorter ones, so its
    1152 rollouts come to 1152 * 320 * 140.6 / 244 s = 59.0 GPU hours. A bank at 240 s: 948 frames of 274.2 MiB, 67 of
    them in 18 GiB.
    """
    shutil.copytree(wan_weights / "moviegen-prompts", tmp_path / "moviegen-prompts")
    (tmp_path / "moviegen-prompts" / "moviegenbench_128_refined.txt").write_text("\n".join(map(str, range(128))))
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    assert execute(["plan", str(SWEEP)]) == 0
    out = capfd.readouterr().out
    assert "3 backbones x 3 methods x 4 lengths x 128 prompts x 1 seed = 4608 takes" in out
    assert "about 59.0 GPU hours of generation" in out
    # staging: 6 entries of 274.2 MiB
    assert "up to 17.9 GiB of host, 235.9 GiB of disk, 1.6 GiB of host for staging" in out
    assert "longlive cannot run yet" in out
    assert "longtake weights pull longlive-base longlive-lora wan-vae wan-text" in out
    assert "methods.rag cannot run yet" in out
    assert "run longtake weights pull longlive-rag-embedder" in out


def test_retrieval_compares_frames_by_the_published_embedder_as_the_authors_do(wan_weights: Path) -> None:
    shipped = {entry.name: entry for entry in sweeps.load(SWEEP).method_entries()}
    assert shipped["rag"].params["descriptor"] == "longlive-rag-embedder"
    digest = hashlib.sha256((wan_weights / "longlive-rag-embedder" / "embedder.safetensors").read_bytes()).hexdigest()
    prompts = "prompts={file: moviegen-prompts/moviegenbench_128_refined.txt, limit: 1}"
    takes = expand(SWEEP, [*SHAPE, prompts]).takes
    found = {take.method.label: dict(take.fingerprint).get("method.descriptor") for take in takes}
    assert found == {"native": None, "native-relative": None, "rag": digest}


def test_an_unknown_descriptor_is_refused_even_where_weights_may_be_missing() -> None:
    with pytest.raises(ConfigError, match=r"methods\.rag: descriptor longlive-rag-embeder: is not an embedder"):
        expand(SWEEP, [*SHAPE, "prompts=[a]", "methods=[{rag: {window: 12, descriptor: longlive-rag-embeder}}]"], False)


def test_every_take_is_made_and_scored(swept: Path) -> None:
    """12 latent frames make 1 + 4 * 11 = 45 frames."""
    store = SweepStore(swept, "longlive-rag")
    takes = store.plan()
    assert len(takes) == 3 * 3 * 1 * 2
    for take in takes:
        result = store.result(take.id)
        assert result is not None
        assert (result.num_frames, result.width, result.height, result.trace_rows) == (45, 48, 32, 4)
        assert (result.versions["dtype"], result.versions["device"]) == ("bfloat16", "cpu")
        assert store.scores(take.id, "classical") is not None
    assert json.loads((store.folder / "ranks.json").read_text())


def test_prompts_are_encoded_once_for_all_backbones(swept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(list((swept / "texts").rglob("*.safetensors"))) == 2
    shutil.rmtree(swept / "texts")
    assert execute(words(swept, "prompts={file: moviegen-prompts/moviegenbench_128_refined.txt, limit: 2}")) == 0
    assert "encoding" not in capfd.readouterr().out, "what is made needs no text"


@pytest.mark.usefixtures("wan_weights")
def test_a_sweep_may_decode_as_the_published_scripts_do(tmp_path: Path) -> None:
    """66 latent frames in chunks of 60 and 6: 237 + 21 frames."""
    one = "prompts={file: moviegen-prompts/moviegenbench_128_refined.txt, limit: 1}"
    shape = ["backbones=[mini-longlive]", "methods=[{native: {window: 7, sink: 1}}]", "lengths_s=[16]", one]
    assert execute(words(tmp_path, *shape, "decode=published")) == 0
    (take, result), *_ = results(tmp_path).values()
    assert (take.latent_frames, result.num_frames) == (66, 258)  # type: ignore[attr-defined]
    ranks = SweepStore(tmp_path, "longlive-rag").ranks()
    assert ranks is not None
    assert ranks.suites["classical"].decode == "published"


def test_backbones_methods_and_prompts_all_change_the_video(swept: Path) -> None:
    digests = {result.video_sha256 for _, result in results(swept).values()}  # type: ignore[attr-defined]
    assert len(digests) == 18


def test_the_bank_leaves_nothing_behind(swept: Path) -> None:
    assert list((swept / "bank").iterdir()) == []


def test_longlive_is_its_base_with_the_lora_merged(wan_weights: Path) -> None:
    """W + B A by hand (alpha = r, so the factor is 1), in bfloat16 as loaded."""
    loaded = mini_wan.MiniLongLive(Resources(device="cpu")).network.state_dict()["blocks.1.ffn.0.weight"]
    base = load_safetensors(wan_weights / "longlive-base" / "generator.safetensors")["blocks.1.ffn.0.weight"]
    lora = load_safetensors(wan_weights / "longlive-lora" / "lora.safetensors")
    a, b = (next(v for k, v in lora.items() if f"blocks.1.ffn.0.lora_{side}" in k) for side in "AB")
    assert torch.equal(loaded, (base.float() + b.float() @ a.float()).bfloat16())
    assert not torch.equal(loaded, base.bfloat16())


def test_weights_that_are_not_there_stop_it_before_anything_is_loaded(
    wan_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(wan_weights, tmp_path / "weights")
    shutil.rmtree(tmp_path / "weights" / "longlive-lora")
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    assert execute(words(tmp_path / "runs")) == 2
    assert "missing longlive-lora; run longtake weights pull longlive-lora" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_changed_stops_it(
    wan_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(wan_weights, tmp_path / "weights")
    path = tmp_path / "weights" / "self-forcing" / "generator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    assert execute(words(tmp_path / "runs")) == 2
    assert "self-forcing/generator.safetensors: changed since it was recorded" in capfd.readouterr().err


@pytest.mark.parametrize("artefact", ["longlive-base", "longlive-lora", "wan-vae"])
def test_other_bytes_of_the_same_size_and_time_are_not_loaded(
    wan_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artefact: str
) -> None:
    shutil.copytree(wan_weights, tmp_path / "weights")
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    file = next((tmp_path / "weights" / artefact).glob("*.safetensors"))
    stat, data = file.stat(), bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    said = rf"{artefact}/.*safetensors: its sha256 is .*, not the recorded .*; run longtake weights verify {artefact}"
    with pytest.raises(WeightsError, match=said):
        mini_wan.MiniLongLive(Resources(device="cpu"))


def test_records_name_the_weights_that_were_loaded(swept: Path) -> None:
    for take, result in results(swept).values():
        assert result.loaded == dict(take.fingerprint)  # type: ignore[attr-defined]
        assert {"weights", "vae", "text", "engine", "decode"} <= result.loaded.keys()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("wan_weights")
def test_a_method_that_needs_a_camera_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"methods.oracle-memory: needs a world with a known camera"):
        expand(SWEEP, [*SHAPE, "methods=[{oracle-memory: {top_k: 2, recency_guard: 2}}]"])


def test_a_checkpoint_of_another_architecture_names_both_shapes(wan_weights: Path) -> None:
    network = dataclasses.replace(mini_wan.MiniSelfForcing.spec.network, ffn_dim=96)

    class Wider(mini_wan.MiniSelfForcing):
        spec: ClassVar[BackboneSpec] = dataclasses.replace(mini_wan.MiniSelfForcing.spec, network=network)

    with pytest.raises(WeightsError, match=r"\[64, 48\].*\[96, 48\]"):
        Wider.fingerprint()


def test_a_take_made_again_leaves_the_output_folder_as_it_is(swept: Path, tmp_path: Path) -> None:
    """An embedding that is missing there is written beside the new video."""
    shutil.copytree(swept, tmp_path / "runs", ignore=shutil.ignore_patterns("texts"))
    take = SweepStore(tmp_path / "runs", "longlive-rag").plan()[0]
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "again")]
    assert execute(["remake", take.id, *places]) == 0
    assert not (tmp_path / "runs" / "texts").exists()
    assert len(list((tmp_path / "again" / "texts").rglob("*.safetensors"))) == 1
