"""A store that was moved or copied stays whole: neither its runs nor its stored paths lead to the original."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.jobs.background.publication import build, cell_params
from longtake.jobs.cli import execute
from longtake.jobs.sweep import spec as sweeps
from longtake.platform.store.root import place_of_spec
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.tracking.addresses import default_uri
from longtake.platform.tracking.publish import publish
from tests.jobs import tiny


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """The bytes and the time of every file."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def run(sweep: Path, *overrides: str) -> int:
    small = ["lengths_s=[3]", "methods=[native]", "prompts=['noon, stone; pan right 3 s, left 3 s, repeat']"]
    return execute(["run", str(sweep), *small, *overrides])


def publish_all(output: Path, name: str = "small") -> None:
    store = SweepStore(output, name)
    publish(build(store, store.plan(), sweeps.load(store.sweep_file).suite_entries(), name), default_uri(output))


def test_a_copy_runs_and_publishes_on_its_own(tmp_path: Path, mlflow_db: str) -> None:
    sweep, a, b = tiny.write_sweep(tmp_path), tmp_path / "a", tmp_path / "b"
    a.mkdir()
    shutil.copy(mlflow_db.removeprefix("sqlite:///"), a)
    assert run(sweep, f"output={a}") == 0
    publish_all(a)
    shutil.copytree(a, b)
    before = files(a)
    assert run(sweep, f"output={b}", "seeds=[0, 1]") == 0
    publish_all(b)
    assert files(a) == before
    stored = [path for path in b.rglob("*") if path.is_file() and path.name != "mlflow.db"]
    assert [path for path in stored if f"{a}/".encode() in path.read_bytes()] == []
    with closing(sqlite3.connect(b / "mlflow.db")) as database:  # the file's free pages still have earlier rows
        assert [row for row in database.iterdump() if f"{a}/" in row] == []

    # the resolved sweep of a copy makes the takes of the copy, under its own name
    shutil.copytree(b / "small", b / "other")
    before = files(b / "small")
    assert execute(["run", str(b / "other" / "sweep.yaml"), "seeds=[0, 1, 2]"]) == 0
    assert files(b / "small") == before
    assert len(SweepStore(b, "other").done_ids()) == 3
    a.rename(tmp_path / "c")
    assert execute(["run", str(tmp_path / "c" / "small" / "sweep.yaml"), "seeds=[0, 1]"]) == 0
    assert not a.exists()
    assert len(SweepStore(tmp_path / "c", "small").done_ids()) == 2


def embedded(weights: Path) -> Take:
    """A take of a method whose weights are in this file."""
    method = MethodSpec("rag", "rag", {"top_k": 6, "descriptor": str(weights)})
    return Take("pocket", method, 1, 2, "dusk", 0, fingerprint=(("method.descriptor", "5" * 64),))


def test_a_plan_leads_to_the_weights_of_its_own_folder(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    inside, outside = embedded(a / "models" / "e" / "1.safetensors"), embedded(tmp_path / "mine.safetensors")
    outside = replace(outside, seed=1)
    SweepStore(a, "s").write_plan("", [inside, outside])
    shutil.copytree(a, b)
    moved, kept = SweepStore(b, "s").plan()
    assert moved.method.params["descriptor"] == str(b / "models" / "e" / "1.safetensors")
    assert kept == outside
    assert [moved.id, kept.id] == [inside.id, outside.id]
    assert f"{a}/" not in (b / "s" / "plan.jsonl").read_text()
    # and the run of its cell in MLflow keeps its parameters, hence its key
    assert cell_params(moved, b) == cell_params(inside, a)


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("s/sweep.yaml", (".", "s")),
        ("corpora/c/corpus.yaml", (".", "c")),
        ("other/c/corpus.yaml", None),
        ("s/mine.yaml", None),
        ("bare/sweep.yaml", None),
    ],
)
def test_a_resolved_file_belongs_to_the_folder_that_it_lies_in(
    tmp_path: Path, file: str, place: tuple[str, str] | None
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    if "bare" not in file:
        (path.parent / "plan.jsonl").touch()
    assert place_of_spec(path) == (place and (tmp_path / place[0], place[1]))
