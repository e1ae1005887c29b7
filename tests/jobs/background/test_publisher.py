"""The publisher process: it publishes beside a run, starts again when it dies, and stops when a newer run begins."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background import publication as building
from longtake.jobs.background import publisher as publishing
from longtake.jobs.background.process import NICENESS, Answer
from longtake.jobs.background.publisher import EVERY_SECONDS, Publisher, Target, publish_once
from longtake.platform.errors import StorageError
from longtake.platform.plugins import NONE
from longtake.platform.store.sweep import SweepStore
from longtake.platform.tracking.addresses import OFF
from longtake.platform.tracking.client import open_client
from longtake.platform.tracking.publish import publish
from longtake.platform.tracking.records import Publication, RunRecord
from longtake.platform.workers.signals import STOP_SIGNALS
from tests.platform.conftest import make, make_take

SUITES = [SuiteEntry("classical", "classical")]


def target_of(folder: Path, uri: str = "sqlite:////no/such/folder/mlflow.db") -> Target:
    return Target(NONE, SweepStore(folder, "demo"), SUITES, uri, "demo")


def names_in(uri: str) -> list[str]:
    """The names of all runs in a tracking store."""
    client = open_client(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(run.info.run_name for run in client.search_runs(experiments))


def no_warm_up(target: Target) -> None:
    """In place of opening a tracking store."""


def slow_answer(target: Target) -> Answer:
    """The priority of the process, once the test lets it go on."""
    folder = target.store.folder
    (folder / "pid").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.01)
    return Answer(result=str(os.nice(0)))


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """A publisher with a request that ends when the file `go` exists."""
    monkeypatch.setattr(publishing, "warm_up", no_warm_up)
    monkeypatch.setattr(publishing, "publish_once", slow_answer)
    (tmp_path / "demo").mkdir()
    return Publisher(target_of(tmp_path))


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_publisher_that_outlived_its_run_writes_nothing(tmp_path: Path, mlflow_db: str) -> None:
    target = target_of(tmp_path, mlflow_db)
    with target.store.lock():
        target.store.write_plan("name: demo\n", [make_take()])
        orphan = target_of(tmp_path, mlflow_db)
        orphan.store.epoch = target.store.epoch
        assert publish_once(orphan).result
        assert names_in(mlflow_db) == ["demo"]
    (target.store.takes_folder.parent / "ranks.json").write_text("{}")  # something to publish
    with target.store.lock():
        target.store.write_plan("name: demo\n", [make_take(), make_take(seed=1)])
        before = open_client(mlflow_db).search_runs(["1"])[0].data.metrics
        assert "a newer run holds the sweep" in publish_once(orphan).problem
        assert open_client(mlflow_db).search_runs(["1"])[0].data.metrics == before


def test_a_sweep_that_is_renamed_meanwhile_is_not_published_under_its_old_name(
    tmp_path: Path, mlflow_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of(tmp_path, mlflow_db)
    build = building.build

    def renamed_meanwhile(*arguments: object) -> Publication:
        publication = build(*arguments)  # type: ignore[arg-type]
        target.store.folder.rename(tmp_path / "other")
        return publication

    with target.store.lock():
        target.store.write_plan("name: demo\n", [make_take()])
        monkeypatch.setattr(building, "build", renamed_meanwhile)
        assert "holds the sweep" in publish_once(target).problem
        monkeypatch.undo()
        assert "holds the sweep" in publish_once(target).problem  # an empty plan is no sweep without takes
    assert names_in(mlflow_db) == []


def test_a_publication_that_is_out_of_date_ends_before_its_next_run(mlflow_db: str) -> None:
    checks = iter([True, True, False])

    def check() -> None:
        if not next(checks):
            raise StorageError("a newer run")

    publication = Publication("e", RunRecord("s", "sweep"), [RunRecord("a", "a"), RunRecord("b", "b")])
    with pytest.raises(StorageError, match="a newer run"):
        publish(publication, mlflow_db, check)
    assert names_in(mlflow_db) == ["a", "sweep"]


def test_it_leaves_the_cores_to_the_run_and_ends_when_the_run_says(tmp_path: Path, slow: Publisher) -> None:
    with slow as publisher:
        publisher.send()
        wait_for(tmp_path / "demo" / "pid")
        for number in STOP_SIGNALS:  # as a closed terminal or a service manager sends them to every process
            os.kill(publisher.process.pid, number)
        (tmp_path / "demo" / "go").touch()
        assert publisher.finish(60) == Answer(result=str(os.nice(0) + NICENESS))
    assert not publisher.process.is_alive()


def test_a_process_that_dies_is_said_and_the_final_publication_starts_another(tmp_path: Path, slow: Publisher) -> None:
    with slow as publisher:
        publisher.send()
        wait_for(tmp_path / "demo" / "pid")
        first = publisher.process
        first.kill()
        first.join()
        assert publisher.publish_if_due() == "tracking: the publisher process died; run again to publish"
        (tmp_path / "demo" / "go").touch()
        assert publisher.finish(60).result
        assert publisher.process.pid != first.pid


def test_one_that_dies_while_idle_is_started_again(tmp_path: Path, slow: Publisher) -> None:
    (tmp_path / "demo" / "go").touch()
    with slow as publisher:
        publisher.process.kill()
        publisher.process.join()
        assert publisher.finish(60).result


def test_a_publication_that_does_not_end_is_not_taken_for_the_final_one(tmp_path: Path, slow: Publisher) -> None:
    with slow as publisher:
        publisher.send()
        assert publisher.finish(0).problem == "tracking: no answer within 0 s; run again to publish"


def test_without_tracking_there_is_no_process(tmp_path: Path) -> None:
    with Publisher(target_of(tmp_path, OFF)) as publisher:
        publisher.sent_at -= EVERY_SECONDS + 1
        assert publisher.publish_if_due() == ""
        assert publisher.finish() == Answer()
        assert publisher.process is None


@pytest.mark.parametrize(
    ("waited", "took", "due"),
    [
        (EVERY_SECONDS - 1, 0.0, False),
        (EVERY_SECONDS + 1, 0.0, True),
        (900, 60.0, False),  # 60 s of publishing are 5 % of 1200 s
        (1201, 60.0, True),
    ],
)
def test_a_failure_is_said_once_and_publications_take_a_small_share(
    tmp_path: Path, waited: float, took: float, due: bool
) -> None:
    answers = [Answer("no server"), Answer("no server"), Answer(), Answer("no disk")]
    sent = []

    class Watched(Publisher):
        def send(self) -> None:
            sent.append(True)

        def collect(self, limit_seconds: float = 0.0) -> Answer:
            return answers.pop(0)

    publisher = Watched(target_of(tmp_path))
    publisher.sent_at, publisher.took_seconds = time.monotonic() - waited, took
    assert publisher.publish_if_due() == "no server"
    assert sent == [True] * due
    assert [publisher.publish_if_due() for _ in range(3)] == ["", "", "no disk"]


def test_a_publication_reads_every_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SweepStore(tmp_path, "demo")
    takes = [make_take(seed) for seed in range(3)]
    store.write_plan("name: demo\n", takes)
    for take in takes[:2]:
        store.begin_attempt(take)
        make(store, take)
    read = []
    for name in ("first_attempt", "result"):
        method = getattr(SweepStore, name)

        def counted(self: SweepStore, take_id: str, name: str = name, method: Any = method) -> object:
            read.append((name, take_id))
            return method(self, take_id)

        monkeypatch.setattr(SweepStore, name, counted)
    publication = building.build(store, takes, SUITES, "demo")
    made = [take.id for take in takes[:2]]
    assert sorted(read) == sorted((name, take_id) for name in ("first_attempt", "result") for take_id in made)
    monkeypatch.undo()
    first, *_ = sorted(time for take_id in made if (time := store.first_attempt(take_id)))
    assert publication.parent.started == publication.children[0].started == first
