"""The index: it says what the records say, reads a record once, and nothing is lost with it."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from longtake.platform.store import commit
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from tests.platform.conftest import make, make_take

SUITES = ["classical"]


def scores_of(result: TakeResult, **fields: object) -> VideoScores:
    scores = VideoScores("classical", "direct", result.video_sha256, {"sharpness": 1.0}, versions={"suite": "a-1"})
    return replace(scores, **fields)  # type: ignore[arg-type]


def scored(store: SweepStore, take: Take) -> TakeResult:
    result = make(store, take)
    store.write_scores(take.id, scores_of(result))
    return result


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The takes whose records are read."""
    names: list[str] = []
    for name in ("read_result", "read_scores"):
        read = getattr(commit, name)
        monkeypatch.setattr(commit, name, lambda folder, *more, f=read: names.append(folder.name) or f(folder, *more))
    return names


def test_a_take_is_planned_then_made_then_scored(store: SweepStore) -> None:
    take, index = make_take(), store.index()
    assert not index.facts(take.id, SUITES).made
    result = make(store, take)
    facts = index.facts(take.id, SUITES)
    assert (facts.made, facts.is_scored(SUITES), facts.versions) == (True, False, result.versions)
    store.write_scores(take.id, scores_of(result))
    facts = index.facts(take.id, SUITES)
    assert facts.is_scored(SUITES)
    assert not facts.is_scored([*SUITES, "pocket"])
    head = facts.heads["classical"]
    assert (head.suite, head.protocol, list(head.metrics), head.versions) == (
        "classical", "direct", ["sharpness"], {"suite": "a-1"},
    )  # fmt: skip


def test_a_saved_index_answers_without_reading_a_record(store: SweepStore, reads: list[str]) -> None:
    takes = [make_take(seed) for seed in range(3)]
    for take in takes:
        scored(store, take)
    index = store.index()
    before = [index.facts(take.id, SUITES).is_scored(SUITES) for take in takes]
    index.save()
    reads.clear()
    again = store.index()
    assert [again.facts(take.id, SUITES).is_scored(SUITES) for take in takes] == before == [True] * 3
    assert store.done_ids() == {take.id for take in takes}
    assert reads == []
    heads = [again.facts(take.id, SUITES).heads["classical"] for take in takes]
    assert heads[0] is heads[1] is heads[2]


def test_a_saved_index_grows_by_what_is_new(store: SweepStore) -> None:
    index, sizes = store.index(), []
    for seed in range(12):
        scored(store, make_take(seed))
        index.facts(make_take(seed).id, SUITES)
        index.save()
        sizes.append(store.index_file.stat().st_size)
    steps = {after - before for before, after in pairwise(sizes)}
    assert max(steps) < 300
    assert all(store.index().facts(make_take(seed).id, SUITES).is_scored(SUITES) for seed in range(12))


@pytest.mark.parametrize("damage", ["video cut", "video gone", "record gone", "record cut", "record of another take"])
def test_a_take_that_is_no_longer_done_is_noticed(store: SweepStore, damage: str) -> None:
    take, other = make_take(0), make_take(1)
    scored(store, take), scored(store, other)
    index = store.index()
    assert index.facts(take.id, SUITES).made
    index.save()
    video, record = store.video(take.id), store.result_file(take.id)
    if damage == "video cut":
        os.truncate(video, video.stat().st_size - 1)
    elif damage == "record cut":
        os.truncate(record, 20)
    elif damage == "record of another take":
        record.write_bytes(store.result_file(other.id).read_bytes())
    else:
        (video if damage == "video gone" else record).unlink()
    for reader in (index, store.index()):
        assert not reader.facts(take.id, SUITES).made
        assert reader.facts(other.id, SUITES).is_scored(SUITES)
    assert not store.is_done(take)


@pytest.mark.parametrize("damage", ["gone", "cut", "of another video", "another shape"])
def test_scores_that_do_not_count_are_noticed(store: SweepStore, damage: str) -> None:
    take = make_take()
    result = scored(store, take)
    index = store.index()
    assert index.facts(take.id, SUITES).is_scored(SUITES)
    index.save()
    path = store.scores_file(take.id, "classical")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, 30)
    elif damage == "another shape":
        path.write_text('{"suite": 3}')
    else:
        store.write_scores(take.id, scores_of(replace(result, video_sha256="0" * 64)))
    for reader in (index, store.index()):
        assert reader.facts(take.id, SUITES).made
        assert not reader.facts(take.id, SUITES).is_scored(SUITES)
    assert store.scores(take.id, "classical") is None


def test_scores_of_an_earlier_video_do_not_count_when_the_take_is_made_again(store: SweepStore) -> None:
    take, index = make_take(), store.index()
    scored(store, take)
    assert index.facts(take.id, SUITES).is_scored(SUITES)
    index.save()
    store.discard(take, "damaged")
    make(store, take, shade=5)
    for reader in (index, store.index()):
        assert reader.facts(take.id, SUITES).made
        assert not reader.facts(take.id, SUITES).is_scored(SUITES)


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_file_that_a_crash_cut_short_loses_only_its_end(store: SweepStore, cut: int) -> None:
    takes = [make_take(seed) for seed in range(4)]
    index = store.index()
    for take in takes:
        scored(store, take)
        index.facts(take.id, SUITES)
    index.save()
    os.truncate(store.index_file, store.index_file.stat().st_size - cut)
    again = store.index()
    assert all(again.facts(take.id, SUITES).is_scored(SUITES) for take in takes)
    again.save()
    assert all(store.index().facts(take.id, SUITES).is_scored(SUITES) for take in takes)


@pytest.mark.parametrize(
    "line",
    ['[]', '{}', '[1, 2, 3, 4, 5]', '["x", [1, 2, 3], 9, 99, {}]', '{"number": 0, "head": true, "value": 3}',
     'null', '"x"', '["x", 1, 9, 0, []]', '\x00\xff', '{"number": [], "head": false, "value": {}}'],
)  # fmt: skip
def test_other_content_is_left_out(store: SweepStore, line: str) -> None:
    take = make_take()
    scored(store, take)
    store.index_file.write_text(line + "\n")
    assert store.index().facts(take.id, SUITES).is_scored(SUITES)


@pytest.mark.parametrize("kind", ["pipe", "device", "unreadable"])
def test_a_file_that_is_no_cache_is_replaced(store: SweepStore, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    take, read = make_take(), Path.read_bytes
    scored(store, take)

    def read_bytes(path: Path) -> bytes:
        if path == store.index_file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    if kind == "pipe":
        os.mkfifo(store.index_file)
    elif kind == "device":
        store.index_file.symlink_to("/dev/null")
    else:
        store.index_file.write_text("")
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
    index = store.index()
    asking = Thread(
        target=index.facts, args=(take.id, SUITES), daemon=True
    )  # a pipe without a writer blocks its reader
    asking.start()
    asking.join(20)
    assert not asking.is_alive()
    index.save()
    assert stat.S_ISREG(store.index_file.lstat().st_mode)
    monkeypatch.undo()
    again = store.index()
    again.load()
    assert list(again.entries) == [take.id]


def test_entries_that_were_replaced_do_not_pile_up(store: SweepStore) -> None:
    """100 rounds of a record that changes: at most 3 lines per take, and 3 more, are kept when the file is opened."""
    take = make_take()
    result = scored(store, take)
    for number in range(100):
        store.write_scores(take.id, scores_of(result, versions={"suite": f"a-{number % 2}"}))
        index = store.index()
        index.facts(take.id, SUITES)
        index.save()
    lines = [json.loads(line) for line in store.index_file.read_text().splitlines() if line]
    assert sum(isinstance(line, list) for line in lines) < 10
    assert store.index().facts(take.id, SUITES).heads["classical"].versions == {"suite": "a-1"}


def test_reading_makes_no_folder_and_no_file(tmp_path: Path) -> None:
    index = SweepStore(tmp_path / "runs", "demo").index()
    assert not index.facts("0" * 16, SUITES).made
    assert not (tmp_path / "runs").exists()
