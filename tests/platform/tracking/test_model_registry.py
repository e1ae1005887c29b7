"""A registered model is found by alias or version, with the bytes that were registered, or not at all."""

import shutil
from pathlib import Path

import pytest

from longtake.platform.errors import LongtakeError, WeightsError
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.training_log import training_run


@pytest.fixture
def run(mlflow_db, tmp_path):
    """A tracking store with one finished training; gives (uri, run id)."""
    with training_run(tmp_path, "train", "a", {"lr": 1}, mlflow_db) as log:
        log.rows([(1, {"loss": 2.0}), (2, {"loss": 1.0})])
    assert not log.failed
    return mlflow_db, log.run_id


def weights(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    path = folder / "embedder.safetensors"
    path.write_bytes(content)
    path.with_suffix(".json").write_text("{}")
    return path


def register(run, path, name="longtake-embedder", alias="best"):
    return model_registry.register(*run, name, alias, path, [path.with_suffix(".json")])


def test_alias_and_version_give_the_registered_bytes(run, tmp_path):
    first, second = weights(tmp_path / "1", b"one"), weights(tmp_path / "2", b"two")
    assert register(run, first) == "1"
    assert register(run, second) == "2"
    assert register(run, second) == "2"  # again: the same weights are the same version

    best = model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path / "cache")
    assert (best.label, best.weights.read_bytes()) == ("longtake-embedder/2", b"two")
    assert best.weights.with_suffix(".json").is_file()
    one = model_registry.resolve("models:/longtake-embedder/1", run[0], tmp_path / "cache")
    assert (one.label, one.weights.read_bytes()) == ("longtake-embedder/1", b"one")

    assert register(run, first) == "1"  # the alias goes back to it
    assert model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path / "cache").number == "1"


def test_alias_that_is_not_to_move_stays(run, tmp_path):
    first, second = weights(tmp_path / "1", b"one"), weights(tmp_path / "2", b"two")
    register(run, first)
    register(run, second)
    assert model_registry.register(*run, "longtake-embedder", "best", first, [], move=False) == "1"
    assert model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path).number == "2"


def test_lost_files_come_back_by_registering_again(run, tmp_path):
    path = weights(tmp_path / "1", b"one")
    register(run, path)
    kept = model_registry.resolve("models:/longtake-embedder/1", run[0], tmp_path).weights
    shutil.rmtree(kept.parent)
    with pytest.raises(LongtakeError):
        model_registry.resolve("models:/longtake-embedder/1", run[0], tmp_path / "cache")
    assert register(run, path) == "1"
    assert model_registry.resolve("models:/longtake-embedder/1", run[0], tmp_path).weights.read_bytes() == b"one"


def test_files_that_are_elsewhere_are_fetched(run, tmp_path, monkeypatch):
    register(run, weights(tmp_path / "1", b"one"))
    monkeypatch.setattr(model_registry, "local_folder", lambda source: None)
    found = model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path / "cache")
    assert found.weights.is_relative_to(tmp_path / "cache" / "longtake-embedder" / "1")
    assert found.weights.read_bytes() == b"one"


def test_changed_weights_are_refused(run, tmp_path):
    register(run, weights(tmp_path / "1", b"one"))
    found = model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path)
    found.weights.write_bytes(b"other")
    with pytest.raises(WeightsError, match="does not match the registered hash"):
        model_registry.resolve("models:/longtake-embedder@best", run[0], tmp_path)
    shutil.rmtree(found.weights.parent)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("models:/longtake-embedder", "is not a model address; write models:/NAME@ALIAS"),
        ("models:/../etc@best", "is not a model address"),
        ("models:/other@best", "no model 'other' is registered; known: longtake-embedder"),
        ("models:/longtake-embedder@worst", "has versions 1 and @best = 1"),
        ("models:/longtake-embedder/7", "has versions 1 and @best = 1"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(run, tmp_path, address, told):
    register(run, weights(tmp_path / "1", b"one"))
    with pytest.raises(WeightsError, match=told) as caught:
        model_registry.resolve(address, run[0], tmp_path)
    assert "\n" not in str(caught.value)
