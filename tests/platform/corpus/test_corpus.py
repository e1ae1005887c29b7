"""A corpus on disk: what a commit keeps and refuses, what a reader reads, and that it reads no more."""

from __future__ import annotations

import json
import math
import mmap
import os
import pickle
import re
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from longtake.platform.corpus.mapped import MappedTensors
from longtake.platform.corpus.reader import INDEX, Corpus, read_shard, record_file, shard_file
from longtake.platform.corpus.records import ShardRecord, describe
from longtake.platform.corpus.writer import CorpusStore, damage_lines
from longtake.platform.errors import ConfigError, LockedError, StorageError
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.takes import MethodSpec, Take

SMALL = (2, 1, 1)


def take(prompt: str, frames: int = 2) -> Take:
    return Take("hand", MethodSpec("native", "native"), 1, frames, prompt, 0)


def spec_yaml(dtype: str = "float32") -> str:
    return f"name: small\nbackbone: hand\ndtype: {dtype}\n"


def numbers(*values: float) -> Tensor:
    """Values of two channels, frame by frame, as [T, 2, 1, 1]."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 2, 1, 1)


def make(folder: Path, latents: dict[str, Tensor], shard_takes: int = 2) -> Path:
    """A finished corpus of these latents, by prompt; returns its folder."""
    store = CorpusStore(folder, "small", "float32", SMALL)
    takes = [take(prompt, len(value)) for prompt, value in latents.items()]
    with store.lock():
        shards = store.write_plan(spec_yaml(), takes, shard_takes)
        records = []
        for number, shard in enumerate(shards):
            record = store.record(number, shard)
            records.append(record or store.commit(number, shard, {one.id: latents[one.prompt] for one in shard}))
        store.write_index(records)
    return store.folder


def test_a_moved_corpus_leads_to_the_weights_of_its_own_folder(tmp_path: Path) -> None:
    def embedded(folder: Path, seed: int) -> Take:
        method = MethodSpec("rag", "rag", {"descriptor": str(folder / "models" / "e.safetensors")})
        return Take("hand", method, 1, 2, "a", seed, fingerprint=(("method.descriptor", "5" * 64),))

    a, b = tmp_path / "a", tmp_path / "b"
    first = CorpusStore(a, "small", "float32", SMALL)
    with first.lock():
        first.write_plan(spec_yaml(), [embedded(a, 0)], 1)
    a.rename(b)
    second = CorpusStore(b, "small", "float32", SMALL)
    assert second.plan() == [[embedded(b, 0)]]
    elsewhere = [embedded(tmp_path / "new", seed) for seed in range(2)]  # the same weights, at another place
    with second.lock():
        assert second.write_plan(spec_yaml(), elsewhere, 1) == [[take] for take in elsewhere]


THREE = {"a": numbers(1, -1, 3, -5), "b": numbers(0, 0, 0, 0, 0, 0), "c": numbers(2, 4)}


def test_an_entry_says_what_its_numbers_are(tmp_path: Path) -> None:
    corpus = Corpus.open(make(tmp_path, THREE))
    assert (corpus.name, corpus.backbone, corpus.latent, corpus.dtype) == ("small", "hand", SMALL, torch.float32)
    assert [(e.prompt, e.frames, e.shard, e.seed) for e in corpus.entries] == [
        ("a", 2, 0, 0),
        ("b", 3, 0, 0),
        ("c", 1, 1, 0),
    ]
    first = corpus.entries[0]
    assert first.take_id == first.key == take("a").id
    # 1, -1, 3, -5: mean -2 / 4, mean square 36 / 4, so the variance is 9 - 0.25
    assert (first.mean, first.minimum, first.maximum) == (-0.5, -5.0, 3.0)
    assert first.std == pytest.approx(math.sqrt(8.75))
    # channel 0 has 1 and 3, channel 1 has -1 and -5
    assert (first.channel_mean, first.channel_std) == ((2.0, -3.0), (1.0, 2.0))


def test_frames_are_those_that_were_written_and_a_copy(tmp_path: Path) -> None:
    corpus = Corpus.open(make(tmp_path, THREE))
    assert corpus.frames(0, 1, 1).equal(numbers(3, -5))
    found = corpus.frames(2, 0, 1)
    found.zero_()
    assert corpus.frames(2, 0, 1).equal(numbers(2, 4))
    again = pickle.loads(pickle.dumps(corpus))
    assert again.frames(0, 0, 2).equal(THREE["a"])
    assert again.digest == corpus.digest


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (0, 3), (2, 1)])
def test_frames_that_an_entry_has_not_are_refused(tmp_path: Path, first: int, count: int) -> None:
    corpus = Corpus.open(make(tmp_path, THREE))
    with pytest.raises(ConfigError, match="entry 0 has latent frames 0 to 1"):
        corpus.frames(0, first, count)


def mapped_bytes(path: Path) -> int:
    """How much of a mapped file this process has touched, as the kernel counts it."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


def big_corpus(folder: Path, latents: Tensor) -> Path:
    one, store = take("long", len(latents)), CorpusStore(folder, "big", "bf16", (16, 60, 104))
    with store.lock():
        store.write_plan("name: big\nbackbone: hand\ndtype: bf16\n", [one], 16)
        store.write_index([store.commit(0, [one], {one.id: latents})])
    return store.folder


def disk_bytes(path: Path, corpus: Corpus, first: int, count: int) -> int:
    """What the disk gave for these frames, of a file that nothing holds in memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = psutil.Process().io_counters().read_bytes
    corpus.frames(0, first, count)
    return psutil.Process().io_counters().read_bytes - before


def test_eight_frames_are_read_not_a_file(tmp_path: Path) -> None:
    """8 frames of 16 x 60 x 104 bf16 are 1.6 MB of a take of 18 MB. The disk gives those, a page at either end and the
    header's; of a file that is in memory already, huge pages of 2 MB may be mapped at either end."""
    latents = torch.randn(90, 16, 60, 104, generator=torch.Generator().manual_seed(0)).bfloat16()
    folder = big_corpus(tmp_path, latents)
    corpus, path = Corpus.open(folder), shard_file(folder, 0)
    wanted, whole = 8 * 16 * 60 * 104 * 2, 90 * 16 * 60 * 104 * 2
    assert mapped_bytes(path) == 0
    assert corpus.frames(0, 41, 8).equal(latents[41:49])
    assert wanted <= mapped_bytes(path) <= wanted + 2 * 2**21 + mmap.PAGESIZE
    eight = disk_bytes(path, Corpus.open(folder), 41, 8)
    ninety = disk_bytes(path, corpus, 0, 90)
    assert mapped_bytes(path) > whole  # the measure sees a whole file where one is read
    if ninety > whole // 2:  # and so does the disk's, but for a file system in memory
        assert eight <= wanted + 2**18


def test_numbers_that_are_not_finite_are_left_out_with_the_frame(tmp_path: Path) -> None:
    folder = make(tmp_path, {**THREE, "b": numbers(0, 0, math.nan, 0)})
    corpus, record = Corpus.open(folder), read_shard(folder, 0)
    assert [entry.prompt for entry in corpus.entries] == ["a", "c"]
    assert record is not None
    assert record.left_out == {take("b").id: "latent frame 1 holds numbers that are not finite in float32"}


def test_frames_of_another_shape_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"has latents \[2, 1, 2, 1\] torch.float32, not \[2, 2, 1, 1\]"):
        make(tmp_path, {"a": numbers(1, 2, 3, 4).transpose(1, 2)})
    assert list((tmp_path / "corpora" / "small" / "shards").iterdir()) == []


def test_an_added_prompt_goes_to_a_new_shard_and_the_old_ones_stay(tmp_path: Path) -> None:
    folder = make(tmp_path, THREE)
    before, digest = {p: p.stat().st_mtime_ns for p in folder.glob("shards/*")}, Corpus.open(folder).digest
    make(tmp_path, {"z": numbers(7, 7), **THREE})
    corpus = Corpus.open(folder)
    assert [(entry.prompt, entry.shard) for entry in corpus.entries] == [("a", 0), ("b", 0), ("c", 1), ("z", 2)]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert corpus.digest != digest


def test_a_changed_plan_or_type_is_refused(tmp_path: Path) -> None:
    make(tmp_path, THREE)
    with pytest.raises(ConfigError, match="2 of 3 takes of the earlier plan are missing or changed"):
        make(tmp_path, {"a": THREE["a"]})
    store = CorpusStore(tmp_path, "small", "bf16", SMALL)
    with store.lock(), pytest.raises(ConfigError, match="dtype: float32 -> bf16"):
        store.write_plan(spec_yaml("bf16"), [take(p, len(v)) for p, v in THREE.items()], 2)


def test_one_writer_at_a_time_and_none_after_it_was_replaced(tmp_path: Path) -> None:
    store, other = (CorpusStore(tmp_path, "small", "float32", SMALL) for _ in range(2))
    takes = [take("a")]
    with store.lock():
        store.write_plan(spec_yaml(), takes, 2)
        with pytest.raises(LockedError), other.lock():
            pass
        store.epoch = 0
        with pytest.raises(StorageError, match="a newer run holds the corpus"):
            store.commit(0, takes, {takes[0].id: THREE["a"]})
        assert read_shard(store.folder, 0) is None
        with pytest.raises(StorageError, match="a newer run holds the corpus"):
            store.clear(0)


def test_a_second_attempt_ends_with_one_shard(tmp_path: Path) -> None:
    """The same numbers are the same shard; a shard whose record was never written is made again; others are refused."""
    store, one = CorpusStore(tmp_path, "small", "float32", SMALL), take("a")
    with store.lock():
        store.write_plan(spec_yaml(), [one], 2)
        first = store.commit(0, [one], {one.id: THREE["a"]})
        assert store.commit(0, [one], {one.id: THREE["a"]}) == first
        record_file(store.folder, 0).unlink()
        assert store.record(0, [one]) is None
        with pytest.raises(StorageError, match="another attempt wrote other numbers"):
            store.commit(0, [one], {one.id: THREE["a"] + 1})
        store.clear(0)
        assert store.commit(0, [one], {one.id: THREE["a"]}).sha256 == first.sha256
    assert sorted(path.name for path in store.folder.glob("shards/*")) == ["00000.json", "00000.safetensors"]


def cut(folder: Path) -> None:
    path = shard_file(folder, 1)
    path.write_bytes(path.read_bytes()[:-4])


def mixed(folder: Path) -> None:
    path = record_file(folder, 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"latent": [2, 1, 3]}))


def twice(folder: Path) -> None:
    lines = (folder / INDEX).read_text().splitlines()
    (folder / INDEX).write_text("\n".join([*lines, lines[0]]) + "\n")


BAD = [
    (lambda folder: (folder / INDEX).unlink(), "index.jsonl: is missing, so the corpus is not finished"),
    (lambda folder: (folder / INDEX).write_text(""), "index.jsonl: has no entry, so the corpus is empty"),
    (lambda folder: (folder / INDEX).write_text("{}\n"), "index.jsonl: line 1 is not an entry"),
    (lambda folder: (folder / INDEX).write_text("no\n"), "index.jsonl: line 1 is not an entry"),
    (lambda folder: (folder / "corpus.yaml").unlink(), r"is not a corpus \(no corpus.yaml\)"),
    (lambda folder: (folder / "corpus.yaml").write_text("steps: 3\n"), "corpus.yaml: has no name of a corpus"),
    (lambda folder: shard_file(folder, 1).unlink(), "00001.safetensors: is missing"),
    (cut, "00001.safetensors: its size differs from its record"),
    (lambda folder: record_file(folder, 0).write_text("{"), "00000.safetensors: .*record is damaged"),
    (mixed, r"00001.safetensors: has frames \[2, 1, 3\] float32, but shard 0 has \[2, 1, 1\] float32"),
    (twice, "index.jsonl: line 4: .* listed twice"),
]


@pytest.mark.parametrize(("damage", "line"), BAD, ids=[line[:40] for _, line in BAD])
def test_what_is_no_corpus_is_one_line(tmp_path: Path, damage, line: str) -> None:  # type: ignore[no-untyped-def]
    folder = make(tmp_path, THREE)
    damage(folder)
    with pytest.raises(ConfigError, match=line) as caught:
        Corpus.open(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none: no such folder; make it with longtake corpus SPEC.yaml"):
        Corpus.open(tmp_path / "none")


def test_a_flipped_bit_is_found_and_a_poisoned_frame_is_not_handed_out(tmp_path: Path) -> None:
    folder = make(tmp_path, THREE)
    assert damage_lines(folder) == []
    path = shard_file(folder, 1)
    data = bytearray(path.read_bytes())
    data[-4:] = torch.tensor([math.inf]).numpy().tobytes()
    path.write_bytes(data)
    assert re.match(r".*00001.safetensors: sha256 .* but its record says .*; remove .*01.json", damage_lines(folder)[0])
    corpus = Corpus.open(folder)
    with pytest.raises(StorageError, match=r"00001.safetensors: .* not finite"):
        corpus.frames(2, 0, 1)


@pytest.mark.parametrize("change", [{"bytes": "1"}, {"dtype": "int8"}, {"latent": [1]}, {"more": 1}, {"entries": [{}]}])
def test_a_record_is_read_strictly(tmp_path: Path, change: dict[str, object]) -> None:
    good = json.loads(record_file(make(tmp_path, THREE), 0).read_text())
    assert ShardRecord.from_json(good).to_json()["sha256"] == good["sha256"]
    with pytest.raises(ValueError):  # noqa: PT011  every rule that is broken has its own words
        ShardRecord.from_json(good | change)


def test_statistics_are_of_the_numbers_as_stored() -> None:
    # 1/3 in bf16 is 0.333984375
    assert describe(torch.full((1, 1, 1, 1), 1 / 3).bfloat16())["mean"] == 0.333984375


@pytest.mark.parametrize("content", [b"", b"\x01", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0no", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_shard_that_is_no_safetensors_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    folder = make(tmp_path, THREE)
    corpus = Corpus.open(folder)
    shard_file(folder, 0).write_bytes(content)
    with pytest.raises(StorageError, match=r"00000.safetensors: [0-9a-f]{16} cannot be read"):
        corpus.frames(0, 0, 1)


@pytest.mark.parametrize("dtype", ["bf16", "float16", "float32"])
def test_mapped_rows_are_those_of_safetensors_itself(tmp_path: Path, dtype: str) -> None:
    from safetensors.torch import save_file

    values = {"a": torch.randn(5, 3, 7).to(torch_dtype(dtype)), "b": torch.randn(4, 1).to(torch_dtype(dtype))}
    save_file(values, tmp_path / "x.safetensors", {"made": "by the library"})
    mapped = MappedTensors(tmp_path / "x.safetensors")
    assert mapped.rows("a", 1, 3).equal(values["a"][1:4])
    assert mapped.rows("b", 3, 1).equal(values["b"][3:])
    for key, first, count in (("a", 3, 3), ("a", -1, 1), ("c", 0, 1), ("a", 0, 0)):
        with pytest.raises(ValueError, match=key):
            mapped.rows(key, first, count)
