"""A worker refuses takes that were planned with other weights or code than it has, by name, and records what it had."""

import dataclasses
import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any, ClassVar

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.sweep import run as running
from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.agreement import check_versions
from longtake.jobs.workers.loaded import load_sampler
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.platform.backbones.base import BackboneSpec, backbones
from longtake.platform.digest import file_sha256, remembered_sha256
from longtake.platform.errors import SetupError, WeightsError
from longtake.platform.machine.resources import Resources
from longtake.platform.models.embedder import fresh_embedder, save_embedder
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from tests.jobs import tiny

NODE = f"node {socket.gethostname()}"


@backbones.register("tiny-filed")
class TinyFiled(tiny.Tiny):
    """Its weights are a file; `engine` is the version of its code."""

    spec: ClassVar[BackboneSpec] = tiny.tiny_spec("tiny-filed")
    file: ClassVar[Path] = Path(__file__)  # until a test sets its own
    engine: ClassVar[str] = "1"

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        return {"weights": file_sha256(cls.file), "engine": cls.engine}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(TinyFiled, "file", tmp_path / "weights.bin", raising=False)
    TinyFiled.file.write_bytes(b"planned")
    return TinyFiled.file


def planned(folder: Path, *overrides: str) -> tuple[SweepStore, list[Take]]:
    grid = expand(tiny.write_sweep(folder), ["backbones=[tiny-filed]", "lengths_s=[3]", *overrides])
    store = SweepStore(folder / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    return store, grid.takes


def make(worker: SamplerWorker, take: Take) -> TakeResult:
    return worker.run(MakeItem((take,)), lambda report: None)[0]


def test_the_record_of_a_take_has_the_fingerprint_that_was_loaded(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)
    made = make(SamplerWorker(store), takes[0])
    assert made.loaded == dict(takes[0].fingerprint) == {"weights": file_sha256(weights), "engine": "1"}
    assert json.loads(store.result_file(takes[0].id).read_text())["loaded"] == made.loaded


def test_a_record_without_it_is_still_done_and_resumes(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)
    make(SamplerWorker(store), takes[0])
    file = store.result_file(takes[0].id)
    record = json.loads(file.read_text())
    del record["loaded"]
    file.write_text(json.dumps(record))
    assert store.is_done(takes[0])
    assert make(SamplerWorker(store, load=lambda *_: pytest.fail("loaded again")), takes[0]).loaded == {}


def test_a_node_with_other_weights_makes_nothing(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)
    before = file_sha256(weights)
    weights.write_bytes(b"other")
    with pytest.raises(WeightsError) as refused:
        make(SamplerWorker(store), takes[0])
    assert str(refused.value) == (
        f"tiny-filed/native/3s: weights is sha256 {file_sha256(weights)[:12]} on {NODE}, but the sweep was planned "
        f"with sha256 {before[:12]}; copy the same file to every node and run again, or choose another name for the "
        "sweep"
    )
    assert not list((tmp_path / "runs" / "small").rglob("video.mp4"))


def test_another_version_of_the_code_is_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, takes = planned(tmp_path)
    monkeypatch.setattr(TinyFiled, "engine", "2")
    said = rf"engine is '2' on {NODE}, but the sweep was planned with '1'; install the same version of longtake"
    with pytest.raises(SetupError, match=said):
        make(SamplerWorker(store), takes[0])


def test_a_part_that_only_one_side_knows_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, takes = planned(tmp_path)
    both = {"weights": file_sha256(weights), "engine": "1", "decode": "3"}
    monkeypatch.setattr(TinyFiled, "fingerprint", classmethod(lambda cls: both))
    with pytest.raises(SetupError, match=rf"decode is '3' on {NODE}, but the sweep was planned with nothing"):
        make(SamplerWorker(store), takes[0])


def test_the_settings_of_the_sampler_count(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)
    with pytest.raises(SetupError, match="decode is 'published-1' on"):
        make(SamplerWorker(store, Resources(decode="published")), takes[0])


def test_a_pull_while_the_weights_are_loaded_is_noticed(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)

    def load(name: str, resources: Resources) -> Any:
        weights.write_bytes(b"pulled meanwhile")
        return load_sampler(name, resources)

    with pytest.raises(WeightsError, match=rf"backbone tiny-filed on {NODE}: its weights changed while they were"):
        make(SamplerWorker(store, load=load), takes[0])


def test_a_pull_after_the_weights_were_loaded_changes_nothing_until_a_worker_starts(
    weights: Path, tmp_path: Path
) -> None:
    store, takes = planned(tmp_path)
    worker, before = SamplerWorker(store), file_sha256(weights)
    make(worker, takes[0])
    weights.write_bytes(b"pulled meanwhile")
    assert make(worker, takes[1]).loaded["weights"] == before
    with pytest.raises(WeightsError, match="weights is sha256"):
        make(SamplerWorker(store), takes[2])


def test_an_embedder_that_is_replaced_during_a_sweep_is_refused(weights: Path, tmp_path: Path) -> None:
    """Methods load their embedder for every take."""
    file, spec = tmp_path / "embedder.safetensors", EmbedderSpec(48, 1, 8, 8, (8,))
    save_embedder(fresh_embedder(spec, seed=1), file, {})
    rag = f"methods=[{{rag: {{top_k: 2, recency_guard: 2, descriptor: {file}}}}}]"
    store, takes = planned(tmp_path, rag)
    worker = SamplerWorker(store)
    assert make(worker, takes[0]).loaded["method.descriptor"] == file_sha256(file)
    save_embedder(fresh_embedder(spec, seed=2), file, {})
    with pytest.raises(WeightsError, match=rf"method\.descriptor is sha256 {file_sha256(file)[:12]} on {NODE}"):
        make(worker, takes[1])
    assert not store.is_done(takes[1])


def test_a_run_whose_weights_change_after_planning_ends_with_one_line(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    announce = running.announce

    def pull_meanwhile(*arguments: Any) -> None:
        weights.write_bytes(b"pulled meanwhile")
        announce(*arguments)

    monkeypatch.setattr(running, "announce", pull_meanwhile)
    assert execute(["run", str(tiny.write_sweep(tmp_path)), "backbones=[tiny-filed]", "lengths_s=[3]"]) == 2
    err = capfd.readouterr().err
    assert err.startswith("longtake: tiny-filed/native/3s: weights is sha256 ")
    assert err.count("\n") == 1
    assert not list((tmp_path / "runs").rglob("result.json"))


class TestVersions:
    def test_the_first_worker_of_a_run_decides_and_the_next_run_begins_anew(self, tmp_path: Path) -> None:
        store = SweepStore(tmp_path, "small")
        with store.lock():
            check_versions(store, "samplers", {"torch": "2.11.0", "av": "15.0"})
            check_versions(store, "samplers", {"torch": "2.11.0", "av": "15.0"})
            check_versions(store, "evaluators-classical", {"av": "14.0"})
            said = rf"samplers: torch is 2\.12\.0 on {NODE}, but 2\.11\.0 on {NODE}, where this run began"
            with pytest.raises(SetupError, match=said):
                check_versions(store, "samplers", {"torch": "2.12.0", "av": "15.0"})
            with pytest.raises(SetupError, match=r"samplers: av is not installed on .*, but 15\.0 on"):
                check_versions(store, "samplers", {"torch": "2.11.0"})
        with store.lock():
            store.sweep_leftovers()
            assert not list(store.folder.glob(".tmp-*"))
            check_versions(store, "samplers", {"torch": "2.12.0", "av": "15.0"})

    def test_a_sampler_with_another_torch_makes_nothing(
        self, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, takes = planned(tmp_path)
        with store.lock():
            make(SamplerWorker(store), takes[0])
            first = next(store.folder.glob(".tmp-samplers*"))
            facts = json.loads(first.read_text())
            first.write_text(json.dumps(facts | {"torch": "1.0", "node": "gpu7"}))
            with pytest.raises(SetupError, match=r"torch is .*, but 1\.0 on node gpu7, where this run began"):
                make(SamplerWorker(store), takes[1])
            assert not store.is_done(takes[1])

    def test_a_run_says_if_packages_have_changed_since_the_earlier_takes(
        self, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        store, takes = planned(tmp_path)
        words = ["run", str(tiny.write_sweep(tmp_path)), "backbones=[tiny-filed]", "lengths_s=[3]"]
        make(SamplerWorker(store), takes[0])
        file = store.result_file(takes[0].id)
        record = json.loads(file.read_text())
        now = record["versions"]["torch"]
        record["versions"]["torch"] = "1.0"
        file.write_text(json.dumps(record))
        assert execute(words) == 0
        assert f"note: packages differ from those of earlier takes: torch 1.0 -> {now};" in capfd.readouterr().out
        assert execute(words) == 0
        assert "packages differ" not in capfd.readouterr().out


class TestRememberedHashes:
    def test_a_file_that_was_hashed_is_not_read_again_until_it_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, read = tmp_path / "w", []
        file.write_bytes(b"one")
        monkeypatch.setattr("longtake.platform.digest.SETTLED_NS", -1)
        hashed = hashlib.file_digest
        monkeypatch.setattr(hashlib, "file_digest", lambda f, kind: read.append(kind) or hashed(f, kind))
        assert remembered_sha256(file) == remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()
        assert len(read) == 1
        other = tmp_path / "other"
        other.write_bytes(b"two")
        os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        os.replace(other, file)
        assert remembered_sha256(file) == hashlib.sha256(b"two").hexdigest()

    def test_a_file_that_has_just_changed_is_read_every_time(self, tmp_path: Path) -> None:
        """Two writes within one tick of the clock leave the same times."""
        file = tmp_path / "w"
        for data in (b"one", b"two", b"six"):
            file.write_bytes(data)
            os.utime(file, ns=(1, 1))
            assert remembered_sha256(file) == hashlib.sha256(data).hexdigest()


def test_takes_without_a_fingerprint_are_made(weights: Path, tmp_path: Path) -> None:
    store, takes = planned(tmp_path)
    bare = dataclasses.replace(takes[0], fingerprint=())
    assert make(SamplerWorker(store), bare).loaded["engine"] == "1"
