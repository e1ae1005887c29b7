"""The scheduler on plans of any size: one pass over the store to resume, and polls that do not look at the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.sweep.estimates.busy_time import EVALUATORS, SAMPLERS
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.platform.prompts import Switch
from longtake.platform.store import commit, durable
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.workers.fleet import Outcome

SUITE = SuiteEntry("classical", "classical")
VIDEO = b"a video"


def takes_of(count: int) -> list[Take]:
    return [Take("tiny", MethodSpec("rag", f"m{k % 2}"), 3, 12, f"prompt {k}", 0) for k in range(count)]


def make(store: SweepStore, take: Take) -> TakeResult:
    """Make a take, without waiting for the disk."""
    folder = store.video(take.id).parent
    folder.mkdir(parents=True, exist_ok=True)
    result = TakeResult(take.id, "ab" * 32, len(VIDEO), 45, 16.0, 64, 64)
    (folder / "video.mp4").write_bytes(VIDEO)
    (folder / "result.json").write_bytes(durable.json_bytes(result.to_json()))
    return result


def score(store: SweepStore, take: Take) -> dict[str, VideoScores]:
    values = dict.fromkeys([metric.name for metric in SUITE.metrics.values()], 0.5)
    scores = VideoScores("classical", SUITE.suite.protocol, "ab" * 32, values, versions=SUITE.stamp)
    store.write_scores(take.id, scores)
    return {"classical": scores}


class Unread(dict[str, Take]):
    """The takes of a sweep, which may be looked up but not gone through."""

    def refuse(self, *_: Any) -> Any:
        raise AssertionError("goes through the whole plan")

    __iter__ = keys = values = items = refuse


def test_a_resume_reads_every_record_once_and_the_next_one_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, takes = SweepStore(tmp_path, "demo"), takes_of(6)
    with store.lock():
        store.write_plan("name: demo\n", takes)
        for take in takes[:4]:
            make(store, take)
        for take in takes[:3]:
            score(store, take)
        reads: list[str] = []
        read = commit.read
        monkeypatch.setattr(commit, "read", lambda kind, path: reads.append(path.name) or read(kind, path))
        scheduler = Scheduler(store, takes, [SUITE], print)
        steps = scheduler.read()
        scheduler.index.save()
        assert sorted(reads) == ["classical.json"] * 3 + ["result.json"] * 4
        assert [group for group, _ in steps] == [EVALUATORS, SAMPLERS, SAMPLERS]
        assert (len(scheduler.made), len(scheduler.scored), scheduler.unfinished) == (4, 3, 3)
        reads.clear()
        assert len(Scheduler(store, takes, [SUITE], print).read()) == 3
        assert reads == []


def test_a_poll_does_not_go_through_the_plan(tmp_path: Path) -> None:
    store, takes = SweepStore(tmp_path, "demo"), takes_of(4)
    with store.lock():
        store.write_plan("name: demo\n", takes)
        scheduler = Scheduler(store, takes, [SUITE], print)
        steps = scheduler.start(scheduler.read(), 1)
        scheduler.takes = Unread(scheduler.takes)
        for number, (group, item) in enumerate(steps):
            scheduler.on_start(group, item)
            (take,) = item.payload.takes
            ((group, scoring),) = scheduler.record_outcome(Outcome(group, item, value=[make(store, take)]))
            assert scheduler.record_outcome(Outcome(group, scoring, value=score(store, take))) == []
            snapshot = scheduler.snapshot([])
            assert (snapshot.made, snapshot.scored, scheduler.unfinished) == (number + 1, number + 1, 3 - number)


def test_what_is_scored_is_entered_in_the_index_during_the_run(tmp_path: Path) -> None:
    store, takes = SweepStore(tmp_path, "demo"), takes_of(2)
    with store.lock():
        store.write_plan("name: demo\n", takes)
        scheduler = Scheduler(store, takes, [SUITE], print)
        ((group, item), _) = scheduler.read()
        ((_, scoring),) = scheduler.record_outcome(Outcome(group, item, value=[make(store, takes[0])]))
        scheduler.record_outcome(Outcome(EVALUATORS, scoring, value=score(store, takes[0])))
        scheduler.index.save()
    entries = store.index_file.read_text()
    assert takes[0].id in entries
    assert takes[1].id not in entries


def test_takes_whose_prompts_change_at_other_blocks_are_other_batches(tmp_path: Path) -> None:
    """One plain take, two that change at frame 3, and one with a cut there."""
    (plain,) = takes_of(1)
    cuts = enumerate([False, False, True], 1)
    timed = [replace(plain, seed=seed, switches=(Switch(0.5, "b", cut, frame=3),)) for seed, cut in cuts]
    scheduler = Scheduler(SweepStore(tmp_path, "demo"), [plain, *timed], [SUITE], print)
    steps = scheduler.start(scheduler.read(), 4)
    assert [item.payload.takes for _, item in steps] == [(plain,), tuple(timed[:2]), (timed[2],)]
