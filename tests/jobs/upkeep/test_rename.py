"""`longtake rename`: the folder, the files and the runs in MLflow have the new name, and no take changes."""

from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.sweep.grid import expand
from longtake.platform.settings.config import load_yaml
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.sweep import SweepStore
from longtake.platform.tracking.publish import KEY, publish
from longtake.platform.tracking.records import Publication, RunRecord
from longtake.platform.tracking.rename import rename_sweep
from tests.jobs import tiny


def planned(folder: Path) -> SweepStore:
    grid = expand(tiny.write_sweep(folder))
    store = SweepStore(folder / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    store.write_ranks(Ranks("small"))
    return store


def test_a_sweep_has_its_new_name_and_the_same_takes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = planned(tmp_path)
    takes = store.plan()
    assert execute(["rename", str(store.folder), "grown"]) == 0
    assert "set name: grown in the sweep file" in capfd.readouterr().out
    assert not store.folder.exists()
    renamed = SweepStore(tmp_path / "runs", "grown")
    assert renamed.plan() == takes
    assert load_yaml(renamed.sweep_file)["name"] == "grown"
    ranks = renamed.ranks()
    assert ranks is not None
    assert ranks.sweep == "grown"
    assert [take.id for take in expand(renamed.sweep_file).takes] == [take.id for take in takes]


@pytest.mark.parametrize(("name", "code"), [("taken", 2), ("mlartifacts", 2), ("No Name", 2)])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, code: int) -> None:
    store = planned(tmp_path)
    (tmp_path / "runs" / "taken").mkdir()
    assert execute(["rename", str(store.folder), name]) == code
    assert store.plan()


def test_a_sweep_in_use_is_not_renamed(tmp_path: Path) -> None:
    store = planned(tmp_path)
    with SweepStore(tmp_path / "runs", "small").lock():
        assert execute(["rename", str(store.folder), "grown"]) == 4
    assert execute(["rename", str(tmp_path), "grown"]) == 2


def test_mlflow_knows_the_sweep_by_its_new_name(mlflow_db: str) -> None:
    """A second publication under the new name changes the same runs; renaming twice changes nothing more."""
    from mlflow.tracking import MlflowClient

    def records(name: str) -> Publication:
        tags = {"longtake.sweep": name}
        cell = RunRecord(f"cell:{name}:tiny/rag/3s:0123", "tiny/rag/3s", tags=tags, metrics={"x": 1.0})
        return Publication(name, RunRecord(f"sweep:{name}", name, tags=tags), [cell])

    publish(records("old"), mlflow_db)
    assert rename_sweep(mlflow_db, "old", "new") == 2
    assert rename_sweep(mlflow_db, "old", "new") == 0
    client = MlflowClient(tracking_uri=mlflow_db)
    assert client.get_experiment_by_name("old") is None
    experiment = client.get_experiment_by_name("new")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags[KEY] for run in runs} == {"sweep:new", "cell:new:tiny/rag/3s:0123"}
    assert {run.info.run_name for run in runs} == {"new", "tiny/rag/3s"}
    publish(records("new"), mlflow_db)
    assert {run.info.run_id for run in client.search_runs([experiment.experiment_id])} == {
        run.info.run_id for run in runs
    }
