"""MLflow from the store: one run per cell, and publishing twice changes nothing."""

import csv
import math
import sqlite3
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background.publication import build
from longtake.jobs.cli import execute
from longtake.platform.store.sweep import SweepStore
from longtake.platform.tracking import publish as publishing
from longtake.platform.tracking.client import TrackingError
from longtake.platform.tracking.publish import clipped, publish
from longtake.platform.tracking.records import Publication, RunRecord
from longtake.platform.tracking.training_log import training_run
from tests.jobs import tiny

TABLES = ("experiments", "runs", "metrics", "params", "tags", "latest_metrics")


def rows(uri: str) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return {table: sorted(database.execute(f"select * from {table}"), key=repr) for table in TABLES}


def value(uri: str, run: str, key: str) -> list[tuple[int, float]]:
    query = "select step, value from metrics join runs using (run_uuid) where name = ? and key = ? order by step"
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return database.execute(query, (run, key)).fetchall()


def run_id(uri: str, run: str) -> str:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return str(database.execute("select run_uuid from runs where name = ?", (run,)).fetchone()[0])


def table(uri: str, run: str, name: str) -> list[dict[str, str]]:
    """The rows of a table among the files of a run."""
    (path,) = Path(uri.removeprefix("sqlite:///")).parent.glob(f"mlartifacts/*/{run_id(uri, run)}/artifacts/{name}")
    with path.open() as file:
        return list(csv.DictReader(file))


def test_publishing_twice_changes_nothing(tmp_path: Path, mlflow_db: str) -> None:
    assert execute(["run", str(tiny.write_sweep(tmp_path)), "lengths_s=[6]"]) == 0
    store = SweepStore(tmp_path / "runs", "small")
    suites = [SuiteEntry("classical", "classical")]
    publication = build(store, store.plan(), suites, "small")
    first = publish(publication, mlflow_db)
    assert (first.runs, first.changed) == (3, 3)  # the sweep and its two cells
    before = rows(mlflow_db)
    assert publish(build(store, store.plan(), suites, "small"), mlflow_db).changed == 0
    assert rows(mlflow_db) == before

    ranks, scores = store.ranks(), [store.scores(take.id, "classical") for take in store.plan()[:2]]
    assert ranks is not None
    best = ranks.suites["classical"].lengths[0].overall[0]
    cell, bounds = str(best.cell), best.metrics["imaging_quality"].score.interval
    assert value(mlflow_db, cell, "classical/rank_overall") == [(0, best.average_rank.value)]
    assert bounds is not None
    score = best.metrics["imaging_quality"].score
    numbers = {row["name"]: row for row in table(mlflow_db, cell, "numbers.csv")}
    shown = numbers["classical/imaging_quality"]
    assert (float(shown["value"]), float(shown["low"]), float(shown["high"])) == (score.value, *bounds)
    assert "classical/imaging_quality.slope_per_min" not in numbers  # 3 clips are too few
    metrics = {row[0] for row in before["latest_metrics"] if run_id(mlflow_db, cell) in row}
    assert "seconds/wall" in metrics
    assert len(metrics) <= 20
    assert metrics <= numbers.keys()
    # 6 s are 93 frames at 16 fps: two whole clips of 2 s and one for the rest, which ends with the video
    seconds = scores[0].seconds["imaging_quality"] if scores[0] else []
    rows_of = table(mlflow_db, "tiny/native/6s", "over_time.csv")
    series = [(int(row["second"]), float(row["mean"])) for row in rows_of if row["name"] == "classical/imaging_quality"]
    assert [step for step, _ in series] == [round(second) for second in seconds]
    clips = [score.clips["imaging_quality"][0] for score in scores if score]
    assert series[0][1] == pytest.approx(sum(c for c in clips if c is not None) / 2)


def test_what_changed_is_written_under_the_same_run(tmp_path: Path, mlflow_db: str) -> None:
    def publication(score: float) -> Publication:
        child = RunRecord("cell:x", "x", {"a": "1"}, metrics={"score": score, "bad": math.nan})
        return Publication("e", RunRecord("sweep:s", "s"), [child])

    assert publish(publication(0.5), mlflow_db).changed == 2
    assert publish(publication(0.25), mlflow_db).changed == 1
    found = rows(mlflow_db)
    assert len(found["runs"]) == 2
    assert [row[1] for row in found["latest_metrics"]] == [0.25]  # NaN is not published, least of all as 0


def test_a_publication_that_was_cut_off_is_completed(mlflow_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord("cell:x", "x", {"a": "1"}, metrics={"b": 1.0, "c": 2.0})
    publication = Publication("e", record, [])

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "log_texts", broken)
        with pytest.raises(TrackingError, match="the disk is gone"):
            publish(publication, mlflow_db)
    assert publish(publication, mlflow_db).changed == 1
    found = rows(mlflow_db)
    assert len(found["runs"]) == 1
    assert len(found["metrics"]) == 2
    assert [row[0] for row in found["params"]] == ["a"]


def test_a_run_publishes_and_survives_a_tracking_store_that_is_broken(
    tmp_path: Path, mlflow_db: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    small = ["lengths_s=[3]", "methods=[native]"]
    assert execute(["run", sweep, *small, f"tracking.uri='{mlflow_db}'"]) == 0
    out = capfd.readouterr().out
    assert f"mlflow ui --backend-store-uri {mlflow_db}, then open http://127.0.0.1:5000/#/experiments/1/runs" in out
    assert sorted(row[1] for row in rows(mlflow_db)["runs"]) == ["small", "tiny/native/3s"]
    broken = tmp_path / "broken.db"
    broken.write_text("no database, " * 1000)
    assert execute(["run", sweep, *small, f"tracking.uri='sqlite:///{broken}'"]) == 3
    assert "tracking: " in capfd.readouterr().out


def test_a_training_logs_as_it_goes_and_resumes_its_run(tmp_path: Path, mlflow_db: str) -> None:
    for steps in (range(3), range(1, 5)):
        with training_run(tmp_path, "train", "tiny", {"lr": 0.1}, uri=mlflow_db) as log:
            for step in steps:
                log(step, {"loss": 1.0 / (step + 1)})
    found = rows(mlflow_db)
    assert len(found["runs"]) == 1
    assert value(mlflow_db, "tiny", "loss") == [(step, 1.0 / (step + 1)) for step in range(5)]


def test_long_texts_are_cut_visibly() -> None:
    assert clipped("a" * 100, 200) == "a" * 100
    cut = clipped("a" * 300, 200)
    assert len(cut) <= 200
    assert "cut; sha256" in cut
