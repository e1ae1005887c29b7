"""Takes that differ only in their length are made in one rollout: each is what it would be alone."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker, by_family
from longtake.platform.generation.sampler import BlockOutput, Sampler
from longtake.platform.machine.resources import Resources
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from tests.jobs import tiny

THREE = "lengths_s=[3, 6, 12]"
BOUNDED = "methods=[{rag: {top_k: 4, bank_frames: 9}, as: bounded}, oracle-memory, full-attention]"
FIRST = "{at_s: 0, text: 'dusk, brick; pan right 3 s, left 3 s, repeat'}"
THEN = "{at_s: 1.5, text: 'noon, stone; pan left 3 s, right 3 s, repeat', cut: true}"
CASES = {
    "plain": ([THREE], Resources(device="cpu")),
    "bounded banks, the camera and full attention": ([THREE, BOUNDED], Resources(device="cpu")),
    "a given start": ([THREE, "prefix_s=1.5", "methods=[rag]"], Resources(device="cpu")),
    "texts that change": (
        [THREE, f"prompts=[[{FIRST}, {THEN}]]", "methods=[infinity-rope, rag]"],
        Resources(device="cpu"),
    ),
    "measured attention": ([THREE, "methods=[rag]"], Resources(device="cpu", attention_shares=True)),
}


def worker_of(folder: Path, words: Sequence[str], resources: Resources, kind: type[Sampler] = Sampler) -> Any:
    """A worker over a new store, and its takes."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = expand(tiny.write_sweep(folder), words)
    store = SweepStore(folder / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    return SamplerWorker(store, resources, lambda name, given: kind(name, given)), grid.takes


def made_files(store: SweepStore, take: Take) -> tuple[bytes, bytes]:
    return store.video(take.id).read_bytes(), store.trace_file(take.id).read_bytes()


def timeless(result: TakeResult) -> TakeResult:
    """The record without what no two runs have in common."""
    return dataclasses.replace(result, timings={}, peak_rss_bytes=0, made_at="", worker="")


@pytest.mark.parametrize(("words", "resources"), CASES.values(), ids=list(CASES))
def test_a_family_is_the_same_as_its_takes_alone(tmp_path: Path, words: list[str], resources: Resources) -> None:
    """Videos and traces byte by byte, and the records; two families of three lengths are rows of one batch."""
    together, takes = worker_of(tmp_path / "together", words, resources)
    alone, _ = worker_of(tmp_path / "alone", words, resources)
    for method in {take.method.label for take in takes}:
        chosen = tuple(take for take in takes if take.method.label == method)
        assert {len(family) for family in by_family(chosen).values()} == {3}
        results = together.run(MakeItem(chosen), lambda report: None)
        for take, result in zip(chosen, results, strict=True):
            (expected,) = alone.run(MakeItem((take,)), lambda report: None)
            assert made_files(together.store, take) == made_files(alone.store, take)
            assert timeless(result) == timeless(expected)
            assert set(result.timings) == set(expected.timings)


def test_a_take_is_done_before_the_longer_ones_of_its_family(tmp_path: Path) -> None:
    """12 latent frames are 4 blocks, 24 are 8, 48 are 16; reports name all takes that are done so far."""
    worker, takes = worker_of(tmp_path, [THREE, "methods=[native]"], Resources(device="cpu"))
    short, middle, long = (tuple(take.id for take in takes if take.seconds == length) for length in (3, 6, 12))
    told: dict[int, tuple[str, ...]] = {}

    def report(progress: dict[str, Any]) -> None:
        told[progress["done"]] = tuple(progress.get("made", ()))
        assert {take.id for take in takes if worker.store.is_done(take)} == set(told[progress["done"]])

    worker.run(MakeItem(tuple(takes)), report)
    assert told[3] == ()
    assert told[4] == told[7] == short
    assert told[8] == told[15] == short + middle
    assert told[16] == short + middle + long


class Breaking(Sampler):
    """Fails at its tenth block."""

    def generate_together(self, takes: Sequence[Take]) -> Iterator[list[BlockOutput]]:
        for made in super().generate_together(takes):
            if made[0].index == 9:
                raise OSError("lost")
            yield made


def test_a_rollout_that_fails_keeps_what_is_done(tmp_path: Path) -> None:
    worker, takes = worker_of(tmp_path, [THREE, "methods=[native]"], Resources(device="cpu"), Breaking)
    with pytest.raises(OSError, match="lost"):
        worker.run(MakeItem(tuple(takes)), lambda report: None)
    assert {take.seconds for take in takes if worker.store.is_done(take)} == {3, 6}
    assert not list(worker.store.folder.rglob(".tmp-*"))
    worker.loaded.sampler = Sampler("tiny", worker.loaded.resources)
    results = worker.run(MakeItem(tuple(takes)), lambda report: None)
    assert [result.take_id for result in results] == [take.id for take in takes]
