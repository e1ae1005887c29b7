"""Prompts are encoded once, before sampling, by one worker per encoder; what is there is never made again."""

import dataclasses
import os
import shutil
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from longtake.jobs.workers.text import (
    TextItem,
    TextWorker,
    encode_prompts,
    load_encoder,
    missing_prompts,
    prompts_by_source,
)
from longtake.platform.backbones.base import BackboneSpec, backbones
from longtake.platform.errors import Interrupted, LongtakeError, StorageError, WeightsError
from longtake.platform.models.text.encoder import TextEncoder
from longtake.platform.prompts import Switch
from longtake.platform.store.text_cache import TextCache, TextSource
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.weights.artefacts import folder_sha256
from longtake.platform.workers.ray_cluster import Cluster, connect
from tests.jobs.tiny import Tiny, tiny_spec
from tests.platform.models.text import small_encoder as fixture

DUSK, RAIN = "a city street at dusk", "boats glide past the harbour in the rain"


@backbones.register("tiny-text")
class TinyText(Tiny):
    """Reads embeddings of the encoder that the test wrote."""

    spec: ClassVar[BackboneSpec] = tiny_spec("tiny-text")
    source: ClassVar[TextSource]

    @classmethod
    def text_source(cls) -> TextSource:
        return cls.source


@backbones.register("tiny-text-too")
class TinyTextToo(TinyText):
    """Another backbone, with the encoder of `tiny-text` or its own."""

    spec: ClassVar[BackboneSpec] = tiny_spec("tiny-text-too")


@pytest.fixture
def source(tmp_path: Path) -> TextSource:
    TinyText.source = TinyTextToo.source = TextSource(fixture.write_encoder(tmp_path / "wan-text"), "ab" * 32)
    return TinyText.source


@pytest.fixture
def texts(tmp_path: Path) -> TextCache:
    return TextCache(tmp_path / "runs" / "texts")


def test_an_encoder_with_other_bytes_than_the_driver_found_encodes_nothing(
    wan_weights: Path, tmp_path: Path, texts: TextCache
) -> None:
    folder = shutil.copytree(wan_weights / "wan-text", tmp_path / "wan-text")
    planned = TextSource(folder, folder_sha256(folder))
    worker = TextWorker(texts, "cpu")
    assert worker.run(TextItem(planned, DUSK), lambda report: None)[0] > 0
    with pytest.raises(WeightsError, match=r"encoder on node .* is sha256 .*, but the sweep was planned with 000"):
        worker.run(TextItem(TextSource(folder, "0" * 64), RAIN), lambda report: None)
    file = folder / "model.safetensors"
    stat, data = file.stat(), file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(WeightsError, match=r"model\.safetensors: its sha256 is"):
        TextWorker(texts, "cpu").run(TextItem(planned, RAIN), lambda report: None)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with connect("inline") as cluster:
        yield cluster


def takes(*prompts: str, backbone: str = "tiny-text") -> list[Take]:
    return [Take(backbone, MethodSpec("native", "native"), 1, 3, prompt, seed) for prompt in prompts for seed in (0, 1)]


class Said(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


class Loads:
    """The real encoder; notes each loading, and does `at(prompt)` before each encoding."""

    def __init__(self, at: Any = lambda prompt: None):
        self.at = at
        self.folders: list[Path] = []
        self.alive: list[weakref.ref[Any]] = []

    def __call__(self, folder: Path, device: str) -> Any:
        assert [one() for one in self.alive] == [None] * len(self.alive), "the encoder before is still in memory"
        encoder, at = load_encoder(folder, device), self.at

        class Watched:
            tokens = encoder.tokens

            def __call__(self, prompt: str) -> torch.Tensor:
                at(prompt)
                return encoder(prompt)

        self.folders.append(folder)
        self.alive.append(weakref.ref(encoder.network))
        return Watched()


def test_each_text_of_a_timed_prompt_is_encoded_once(source: TextSource) -> None:
    later = Switch(1.0, RAIN, frame=6), Switch(2.0, DUSK, True, frame=9)
    timed = [dataclasses.replace(take, switches=later) for take in takes(DUSK)]
    assert prompts_by_source(timed) == {source: [DUSK, RAIN]}


def test_prompts_are_counted_once_per_encoder(source: TextSource) -> None:
    mixed = takes(DUSK, RAIN) + takes(RAIN, backbone="tiny-text-too") + takes("noon", backbone="tiny")
    assert prompts_by_source(mixed) == {source: [DUSK, RAIN]}
    TinyTextToo.source = dataclasses.replace(source, sha256="cd" * 32)
    assert prompts_by_source(mixed) == {source: [DUSK, RAIN], TinyTextToo.source: [RAIN]}


def test_what_is_missing_is_encoded_and_then_nothing_is(source: TextSource, texts: TextCache, cluster: Cluster) -> None:
    said, loads = Said(), Loads()
    assert encode_prompts(takes(DUSK), texts.folder, cluster, said, load=loads) == 1
    assert encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, said, load=loads) == 1
    for prompt in (DUSK, RAIN):
        assert torch.equal(texts.get(source.sha256, prompt), TextEncoder(source.folder)(prompt))
    assert missing_prompts(texts, {source: [DUSK, RAIN, "noon"]}) == {source: ["noon"]}
    assert loads.folders == [source.folder] * 2
    assert said[0] == f"encoding 1 prompt once with {source.folder}; cache: {texts.folder}"
    said.clear()
    assert encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, said, load=loads) == 0
    assert encode_prompts(takes("noon", backbone="tiny"), texts.folder, cluster, said, load=loads) == 0
    assert (said, len(loads.folders)) == ([], 2)


def test_an_encoder_is_gone_before_the_next_is_loaded(
    source: TextSource, texts: TextCache, cluster: Cluster, tmp_path: Path
) -> None:
    TinyTextToo.source = TextSource(fixture.write_encoder(tmp_path / "other", seed=1), "cd" * 32)
    loads = Loads()  # refuses to load while an earlier encoder is in memory
    both = takes(DUSK) + takes(DUSK, backbone="tiny-text-too")
    assert encode_prompts(both, texts.folder, cluster, Said(), load=loads) == 2
    assert [one() for one in loads.alive] == [None, None]
    assert not torch.equal(texts.get("ab" * 32, DUSK), texts.get("cd" * 32, DUSK))


def test_a_damaged_embedding_is_made_again(source: TextSource, texts: TextCache, cluster: Cluster) -> None:
    encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, Said())
    whole, path = texts.get(source.sha256, DUSK), texts.path(source.sha256, DUSK)
    path.write_bytes(path.read_bytes()[:-1])
    assert encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, Said()) == 1
    assert torch.equal(texts.get(source.sha256, DUSK), whole)


def test_a_prompt_that_is_cut_is_named(source: TextSource, texts: TextCache, cluster: Cluster) -> None:
    said = Said()
    encode_prompts(takes(DUSK, "rain " * 600), texts.folder, cluster, said)
    assert [line for line in said if line.startswith("note")] == [
        f"note: prompt {('rain ' * 12)!r} has 601 tokens; the encoder reads the first 512"
    ]


def test_a_failure_ends_the_run_in_one_line_and_keeps_what_was_made(
    source: TextSource, texts: TextCache, cluster: Cluster
) -> None:
    def run_out(prompt: str) -> None:
        if prompt == RAIN:
            raise RuntimeError("CUDA out\nof memory")

    with pytest.raises(LongtakeError) as caught:
        encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, Said(), load=Loads(run_out))
    assert "wan-text: encoding prompt 'boats glide" in str(caught.value)
    assert "RuntimeError: CUDA out of memory; the weights of the encoder alone take 0.0 GB" in str(caught.value)
    assert missing_prompts(texts, prompts_by_source(takes(DUSK, RAIN))) == {source: [RAIN]}
    assert encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, Said()) == 1


def test_missing_weights_are_told_as_they_are(source: TextSource, texts: TextCache, cluster: Cluster) -> None:
    (source.folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"wan-text: no model\.safetensors"):
        encode_prompts(takes(DUSK), texts.folder, cluster, Said())


def test_a_folder_that_cannot_be_written_is_told(source: TextSource, texts: TextCache, cluster: Cluster) -> None:
    texts.folder.parent.mkdir()
    texts.folder.write_text("in the way")
    with pytest.raises(StorageError, match="texts"):
        encode_prompts(takes(DUSK), texts.folder, cluster, Said())


def test_a_signal_stops_between_prompts_and_a_later_run_goes_on(
    source: TextSource, texts: TextCache, cluster: Cluster
) -> None:
    loads = Loads(lambda prompt: os.kill(os.getpid(), signal.SIGTERM) if prompt == RAIN else None)
    with pytest.raises(Interrupted, match="stopped: 2 of 3 prompts encoded; run again to resume"):
        encode_prompts(takes(DUSK, RAIN, "noon"), texts.folder, cluster, Said(), load=loads)
    assert missing_prompts(texts, prompts_by_source(takes(DUSK, RAIN, "noon"))) == {source: ["noon"]}
    with connect("inline") as again:
        assert encode_prompts(takes(DUSK, RAIN, "noon"), texts.folder, again, Said()) == 1


@pytest.mark.usefixtures("ray_local")
def test_an_actor_encodes_and_leaves_its_place_to_the_samplers(source: TextSource, texts: TextCache) -> None:
    import ray

    with connect("local") as cluster:
        assert encode_prompts(takes(DUSK, RAIN), texts.folder, cluster, Said()) == 2
        deadline = time.monotonic() + 20
        while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == 2
    assert torch.equal(texts.get(source.sha256, RAIN), TextEncoder(source.folder)(RAIN))
