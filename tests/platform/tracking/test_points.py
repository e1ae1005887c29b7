"""What a publication writes to MLflow: only what changed, and everything that MLflow shows of a run."""

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longtake.platform import build_info
from longtake.platform.tracking import publish as publishing
from longtake.platform.tracking.client import TrackingError, open_client
from longtake.platform.tracking.publish import publish
from longtake.platform.tracking.records import RUN_ID, Publication, RunRecord, TextSet

RECORD = RunRecord("cell:x", "x", {"a": "1"}, metrics={"a": 1.0, "b": 2.0})


def put(uri: str, record: RunRecord) -> int:
    """Publishes the record; returns the number of rows of metrics that MLflow has then."""
    publish(Publication("e", record, []), uri)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        return int(database.execute("select count(*) from metrics").fetchone()[0])


def latest(uri: str) -> dict[str, float]:
    run = open_client(uri).search_runs(["1"])[0]
    return dict(run.data.metrics)


def test_only_changed_numbers_are_written(mlflow_db: str) -> None:
    assert put(mlflow_db, RECORD) == 2
    assert put(mlflow_db, RECORD) == 2
    assert put(mlflow_db, replace(RECORD, tags={"t": "1"})) == 2
    assert put(mlflow_db, replace(RECORD, metrics={"a": 1.0, "b": 1.5})) == 3
    assert latest(mlflow_db) == {"a": 1.0, "b": 1.5}
    assert put(mlflow_db, RECORD) == 4  # back to an earlier one
    assert latest(mlflow_db) == {"a": 1.0, "b": 2.0}


def test_a_number_that_is_no_longer_measured_does_not_stay(mlflow_db: str) -> None:
    put(mlflow_db, RECORD)
    assert put(mlflow_db, replace(RECORD, metrics={"a": 1.0, "b": math.nan})) == 2 + 1
    now = latest(mlflow_db)
    assert now["a"] == 1.0
    assert math.isnan(now["b"])
    assert put(mlflow_db, replace(RECORD, tags={"t": "1"}, metrics={"a": 1.0})) == 3
    assert put(mlflow_db, RECORD) == 3 + 1
    assert latest(mlflow_db) == {"a": 1.0, "b": 2.0}


def test_the_series_of_an_earlier_version_does_not_stay(mlflow_db: str) -> None:
    put(mlflow_db, RECORD)
    client = open_client(mlflow_db)
    run_id = client.search_runs(["1"])[0].info.run_id
    for step, value in ((0, 1.0), (2, 2.0)):
        client.log_metric(run_id, "s", value, timestamp=1, step=step)
    assert put(mlflow_db, replace(RECORD, tags={"t": "1"})) == 4 + 2
    points = client.get_metric_history(run_id, "s")
    assert {point.step for point in points if math.isnan(point.value)} == {0, 2}
    assert put(mlflow_db, replace(RECORD, tags={"t": "2"})) == 6


def test_the_content_of_a_run_has_the_hash_of_earlier_versions() -> None:
    """With another hash, an upgrade would write every run again."""
    assert RECORD.digest() == "cc522bf5d4d88d1c85de31edf13a8012b4b96e2b8f4349a2d893ec142fad8161"


def test_the_newest_number_counts_also_after_a_publication_that_was_cut_off(
    mlflow_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    put(mlflow_db, RECORD)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "log_texts", broken)
        with pytest.raises(TrackingError, match="the disk is gone"):
            put(mlflow_db, replace(RECORD, metrics={"a": 3.0, "b": 2.0}))
    put(mlflow_db, replace(RECORD, metrics={"a": 2.0, "b": 2.0}))
    assert latest(mlflow_db)["a"] == 2.0  # MLflow takes the larger of two points of one time


def test_a_run_whose_key_held_a_path_of_weights_is_found_again(mlflow_db: str) -> None:
    tags = {"longtake.cell": "x", "longtake.sha256.w": "5"}
    old = RunRecord("cell:old", "x", {"k": "1", "w": "/old/e.safetensors"}, tags)
    new = RunRecord("cell:new", "x", {"k": "1", "w": "<output>/e.safetensors"}, tags, same=frozenset(tags))
    other = replace(new, key="cell:other", params={"k": "2", "w": "<output>/e.safetensors"})
    for record in (old, new, new, other):
        publish(Publication("e", record, []), mlflow_db)
    keys = sorted(run.data.tags["longtake.key"] for run in open_client(mlflow_db).search_runs(["1"]))
    assert keys == ["cell:new", "cell:other"]


def test_an_experiment_of_an_earlier_version_also_opens_on_its_runs(mlflow_db: str) -> None:
    client = open_client(mlflow_db)
    experiment = client.create_experiment("e")
    put(mlflow_db, RECORD)
    assert client.get_experiment(experiment).tags["mlflow.experimentKind"] == "custom_model_development"
    client.set_experiment_tag(experiment, "mlflow.experimentKind", "regression")  # a user's choice stays
    put(mlflow_db, replace(RECORD, tags={"t": "1"}))
    assert client.get_experiment(experiment).tags["mlflow.experimentKind"] == "regression"


def test_a_run_says_when_by_whom_and_from_what(mlflow_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    from mlflow.data import get_source

    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    prompts = TextSet("prompts", ["dusk, brick", "noon"])
    record = replace(
        RECORD,
        note=f"picture of {RUN_ID}",
        texts={"numbers.csv": "name,value\n"},
        dataset=prompts,
        started=start,
        ended=start + timedelta(seconds=90),
    )
    put(mlflow_db, record)
    client = open_client(mlflow_db)
    (run,) = client.search_runs(["1"])
    assert (run.info.start_time, run.info.end_time) == (1767323045000, 1767323135000)
    assert run.data.tags["mlflow.user"] == run.info.user_id == "ada"
    assert run.data.tags["mlflow.note.content"] == f"picture of {run.info.run_id}"
    assert run.data.tags.get("mlflow.source.git.commit") == build_info.commit()
    ((dataset, tags),) = [(one.dataset, one.tags) for one in run.inputs.dataset_inputs]
    assert get_source(dataset).to_dict() == {"tags": {"mlflow.source.name": "longtake"}}
    assert (dataset.name, dataset.digest, dataset.profile) == ("prompts", prompts.digest(), '{"num_rows": 2}')
    assert [(tag.key, tag.value) for tag in tags] == [("mlflow.data.context", "prompts")]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["numbers.csv"]
    # MLflow opens such an experiment on its runs
    assert client.get_experiment("1").tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_commit_is_that_of_the_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_from(root: Path) -> str | None:
        (root / "platform").mkdir(parents=True)
        monkeypatch.setattr(build_info, "__file__", str(root / "platform" / "build_info.py"))
        return build_info.code_version.__wrapped__()

    def git(*words: str) -> None:
        assert build_info.git(tmp_path, "-c", "user.name=a", "-c", "user.email=a", *words) is not None

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    head = build_info.git(tmp_path, "rev-parse", "HEAD")
    assert runs_from(tmp_path) == head
    (tmp_path / "file").write_text("two")
    monkeypatch.setattr(build_info, "__file__", str(tmp_path / "platform" / "build_info.py"))
    assert build_info.code_version.__wrapped__() == f"{head}+modified"
    # a package installed inside the checkout of another project is not of its commit
    assert runs_from(tmp_path / "env" / "longtake") == build_info.installed_commit()
