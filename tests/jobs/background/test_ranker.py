"""Ranks during a run: from a process of its own, which never holds up the run and takes a small share of a core."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background.process import Answer, Background
from longtake.jobs.background.ranker import EVERY_SECONDS, Ranker, RankTarget, rank_once
from longtake.platform.errors import StorageError
from longtake.platform.plugins import NONE
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.signals import STOP_SIGNALS
from tests.platform.conftest import make_take

SUITE = SuiteEntry("classical", "classical")


def slow_answer(folder: Path) -> Answer:
    (folder / "pid").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.01)
    return Answer("the reason")


def wait_for(condition: object) -> None:
    limit = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_request_runs_in_another_process_and_is_not_waited_for(tmp_path: Path) -> None:
    with Background("test", slow_answer, tmp_path) as background:
        assert background.collect() == Answer()
        background.send()
        wait_for((tmp_path / "pid").exists)
        assert background.busy
        assert background.collect() == Answer()
        for number in STOP_SIGNALS:  # as a closed terminal or a service manager sends them to every process
            os.kill(background.process.pid, number)
        (tmp_path / "go").touch()
        wait_for(lambda: background.collect() == Answer("the reason"))
        assert not background.busy
        assert background.took_seconds > 0
        wait_for(lambda: (tmp_path / "pid").read_text())
    assert int((tmp_path / "pid").read_text()) == background.process.pid != os.getpid()
    assert not background.process.is_alive()


def test_a_process_that_dies_is_a_reason_and_the_next_request_starts_another(tmp_path: Path) -> None:
    with Background("test", slow_answer, tmp_path) as background:
        background.send()
        wait_for((tmp_path / "pid").exists)
        first = background.process
        first.kill()
        wait_for(lambda: background.collect() == Answer("the test process died"))
        (tmp_path / "go").touch()
        background.send()
        wait_for(lambda: background.collect() == Answer("the reason"))
        assert background.process.pid != first.pid


@pytest.mark.parametrize(
    ("waited", "took", "busy", "due"),
    [
        (EVERY_SECONDS + 1, 0.0, False, True),
        (EVERY_SECONDS - 1, 0.0, False, False),
        (EVERY_SECONDS + 1, 0.0, True, False),
        (100, 6.0, False, False),  # 6 s of ranking are 5 % of 120 s
        (121, 6.0, False, True),
    ],
)
def test_ranks_are_requested_when_due(tmp_path: Path, waited: float, took: float, busy: bool, due: bool) -> None:
    sent = []

    class Watched(Ranker):
        def send(self) -> None:
            sent.append(self.num_ranked)

        def collect(self, limit_seconds: float = 0.0) -> Answer:
            return Answer()

    ranker = Watched(RankTarget(NONE, SweepStore(tmp_path, "demo"), [SUITE]))
    ranker.sent_at, ranker.took_seconds, ranker.busy = time.monotonic() - waited, took, busy
    assert ranker.rank_if_due(0) == ""
    assert sent == []  # nothing has been scored since
    ranker.rank_if_due(4)
    assert sent == ([4] if due else [])


def test_ranks_are_written_and_a_newer_run_is_not_overwritten(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    with store.lock():
        store.write_plan("name: demo\n", [make_take()])
        target = RankTarget(NONE, SweepStore(tmp_path, "demo"), [SUITE])
        target.store.epoch = store.epoch
        assert rank_once(target) == Answer()
        assert store.ranks() is not None
    store.ranks_file.unlink()
    with store.lock():
        assert "a newer run holds the sweep" in rank_once(target).problem
        assert store.ranks() is None


def test_an_error_of_the_ranks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = RankTarget(NONE, SweepStore(tmp_path, "demo"), [SUITE])

    def fail(*_: object) -> None:
        raise RuntimeError("a\nb")

    monkeypatch.setattr("longtake.jobs.results.ranks.refresh", fail)
    assert rank_once(target).problem == "RuntimeError: a b"
    monkeypatch.setattr("longtake.jobs.results.ranks.refresh", lambda *_: (_ for _ in ()).throw(StorageError("full")))
    assert rank_once(target).problem == "full"
