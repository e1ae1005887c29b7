"""A tracking store that was moved or copied keeps its files beside its database, and never touches the original."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from longtake.platform.tracking import model_registry
from longtake.platform.tracking.publish import publish
from longtake.platform.tracking.records import Publication, RunRecord
from longtake.platform.tracking.training_log import training_run

DATABASE = "mlflow.db"


def publish_from(folder: Path, text: str, experiment: str = "e") -> int:
    """Publishes a run with a file of this text to the store in the folder; returns the number of changed runs."""
    path = folder.parent / "sheet.png"
    path.write_text(text)
    record = RunRecord("sweep:s", "s", artifacts=[(path, "pictures")])
    return publish(Publication(experiment, record, []), f"sqlite:///{folder / DATABASE}").changed


def files(folder: Path) -> dict[str, str]:
    """The bytes and the time of every file."""
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def pictures(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("mlartifacts/*/*/artifacts/pictures/sheet.png")]


def dump(folder: Path) -> str:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return "\n".join(database.iterdump())


def execute(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute(statement)


@pytest.fixture
def original(mlflow_db: str) -> Path:
    """The folder of a store with one published run."""
    folder = Path(mlflow_db.removeprefix("sqlite:///")).parent
    assert publish_from(folder, "first") == 1
    assert pictures(folder) == ["first"]
    return folder


@pytest.mark.parametrize("earlier", [False, True])
def test_a_copy_never_touches_the_original(original: Path, earlier: bool) -> None:
    if earlier:  # earlier versions did not say which folders are theirs
        execute(original, "delete from experiment_tags")
    copy, before = original.parent / "copy", files(original)
    shutil.copytree(original, copy)
    publish_from(copy, "second")
    publish_from(copy, "third", "another")
    assert files(original) == before
    assert sorted(pictures(copy)) == ["second", "third"]
    if not earlier:
        assert f"{original}/" not in dump(copy)
    publish_from(original, "fourth")
    assert sorted(pictures(copy)) == ["second", "third"]
    assert pictures(original) == ["fourth"]


def test_a_moved_store_does_not_make_the_old_folder_again(original: Path) -> None:
    moved = original.rename(original.parent / "moved to a folder, of 100 %")
    publish_from(moved, "second")
    again = moved.rename(original.parent / "again")
    assert publish_from(again, "second") == 1  # its run is published again, to be sure of the files
    assert publish_from(again, "second") == 0
    assert pictures(again) == ["second"]
    assert not original.exists()
    assert not moved.exists()


def test_files_that_were_not_copied_along_are_published_again(original: Path) -> None:
    copy, before = original.parent / "copy", files(original)
    copy.mkdir()
    shutil.copy(original / DATABASE, copy)
    publish_from(copy, "first")
    assert pictures(copy) == ["first"]
    assert files(original) == before


def test_a_link_to_the_store_is_the_same_store(original: Path) -> None:
    link = original.parent / "link"
    link.symlink_to(original)
    before = dump(original)
    assert publish_from(link, "first") == 0
    assert dump(original) == before


def test_locations_that_others_chose_stay(original: Path) -> None:
    place = (original.parent / "elsewhere" / "mlartifacts" / "7").as_uri()
    execute(original, f"insert into experiments (name, artifact_location) values ('theirs', '{place}')")
    copy = original.parent / "copy"
    shutil.copytree(original, copy)
    publish_from(copy, "second")
    assert place in dump(copy)


def test_a_registered_model_is_read_from_the_copy(original: Path, tmp_path: Path) -> None:
    weights, address = tmp_path / "embedder.safetensors", "models:/longtake-embedder@best"
    weights.write_bytes(b"numbers")
    uri = f"sqlite:///{original / DATABASE}"
    with training_run(tmp_path, "train", "a", {"lr": 1}, uri) as log:
        log(1, {"loss": 2.0})
    model_registry.register(uri, log.run_id, "longtake-embedder", "best", weights, [])
    copy, bare = tmp_path / "copy", tmp_path / "bare"
    shutil.copytree(original, copy)
    bare.mkdir()
    shutil.copy(original / DATABASE, bare)
    found = model_registry.resolve(address, f"sqlite:///{copy / DATABASE}", tmp_path / "cache")
    assert found.weights.is_relative_to(copy)
    # without its files the copy of the database still finds the original's, which it only reads
    found = model_registry.resolve(address, f"sqlite:///{bare / DATABASE}", tmp_path / "cache")
    assert found.weights.is_relative_to(original)
    shutil.rmtree(original)
    model_registry.register(f"sqlite:///{bare / DATABASE}", log.run_id, "longtake-embedder", "best", weights, [])
    found = model_registry.resolve(address, f"sqlite:///{bare / DATABASE}", tmp_path / "cache")
    assert found.weights.read_bytes() == b"numbers"
    assert not original.exists()


def test_names_of_experiments_lead_nowhere_else(original: Path) -> None:
    publish_from(original, "second", "../../no folder")
    assert sorted(pictures(original)) == ["first", "second"]
