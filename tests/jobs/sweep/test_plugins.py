"""Sweeps and corpora with plug-ins: written by `longtake new`, run inline and on Ray, hashed, kept, made again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.sweep.grid import expand
from longtake.platform import plugins
from longtake.platform.errors import ConfigError
from longtake.platform.store.sweep import SweepStore

ONLY = [
    "backbones=[my-net]",
    "methods=[native,my-memory]",
    "suites=[{metrics: [my-score], as: my-score}]",
    "lengths_s=[6]",
    "tracking.uri=disabled",
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with one plug-in of each kind and the sweep of them."""
    for kind, name in [("method", "my-memory"), ("metric", "my-score"), ("backbone", "my-net"), ("sweep", "trial")]:
        assert execute(["new", kind, name, "--dir", str(tmp_path)]) == 0
    yield tmp_path
    for one in list(plugins.installed.values()):
        one.remove()


def run(folder: Path, *overrides: str, file: str = "trial.yaml") -> tuple[int, SweepStore]:
    words = [*ONLY, f"output={folder}/runs", *overrides]
    return execute(["run", str(folder / file), *words]), SweepStore(folder / "runs", "trial")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_new_sweep_names_what_lies_beside_it(folder: Path) -> None:
    sweep = expand(folder / "trial.yaml").sweep
    assert sweep.plugins == ["my_memory", "my_net", "my_score"]
    assert sweep.backbones == ["pocket", "my-net"]
    assert sweep.methods == ["native", "rag", "my-memory"]
    assert sweep.suites == ["classical", "pocket", {"metrics": ["my-score"], "as": "my-score"}]


@pytest.mark.slow
def test_ids_and_scores_hold_the_hashes_of_what_made_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, store = run(folder, "workers.cluster=inline")
    assert code == 0
    hashes = {name: f"plugin.{name}" for name in ("my_memory", "my_net", "my_score")}
    plan = store.plan()
    for take in plan:
        named = {name for name, _ in take.fingerprint if name.startswith("plugin.")}
        assert named == {hashes["my_net"]} | ({hashes["my_memory"]} if take.method.name == "my-memory" else set())
        scores = store.scores(take.id, "my-score")
        assert scores is not None
        assert scores.versions["metric.my-score"].startswith("my-score-1+plugin.my_score:")
        assert 0.9 < (scores.metrics["my-score"] or 0) < 1
    for name in hashes:
        assert (store.folder / f"{name}.py").read_bytes() == (folder / f"{name}.py").read_bytes()
    assert execute(["compare", str(store.folder)]) == 0
    assert execute(["traces", str(store.folder)]) == 0

    # An edited metric scores again and keeps the takes; the resolved sweep beside the sources runs like the first one.
    assert run(folder, "workers.cluster=inline", file="runs/trial/sweep.yaml")[0] == 0
    assert [take.id for take in store.plan()] == [take.id for take in plan]
    before = store.scores(plan[0].id, "my-score")
    edit(folder / "my_score.py", "/ 255.0\n", "/ 510.0\n")
    assert run(folder, "workers.cluster=inline")[0] == 0
    assert [take.id for take in store.plan()] == [take.id for take in plan]
    again = store.scores(plan[0].id, "my-score")
    assert before is not None
    assert again is not None
    assert again.versions["metric.my-score"] != before.versions["metric.my-score"]
    value, halved = (scores.metrics["my-score"] or 0 for scores in (before, again))
    assert 1 - halved == pytest.approx((1 - value) / 2)

    # An edited method makes other takes of its own cell alone: the plan of the old ones is not overwritten.
    edit(folder / "my_memory.py", "age: int = 24", "age: int = 21")
    takes = expand(folder / "trial.yaml", [*ONLY, f"output={folder}/runs"]).takes
    assert {take.method.name for take in takes if take.id not in {one.id for one in plan}} == {"my-memory"}
    capsys.readouterr()
    assert run(folder, "workers.cluster=inline")[0] == 2
    assert "fingerprint of plugin.my_memory" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_on_ray_and_the_publisher_are_sent_the_source(folder: Path, ray_local: None, mlflow_db: str) -> None:
    """Their own path does not lead to the files."""
    code, store = run(folder, "workers.cluster=local", f"tracking.uri={mlflow_db}", "workers.samplers=1")
    assert code == 0
    assert {take.method.name for take in store.plan()} == {"native", "my-memory"}
    for take in store.plan():
        assert store.result(take.id) is not None
        assert store.scores(take.id, "my-score") is not None


def test_a_corpus_may_name_plugins(folder: Path) -> None:
    text = "name: pool\nplugins: [my_net, my_memory]\nbackbone: my-net\nmethod: my-memory\nseconds: 6\n"
    text += "prompts: ['dusk, brick; pan right 3 s, left 3 s, repeat']\nworkers: {cluster: inline}\n"
    text += f"output: {folder}/runs\n"
    (folder / "pool.yaml").write_text(text)
    take = corpus_spec.expand(folder / "pool.yaml").takes[0]
    assert [name for name, _ in take.fingerprint if "plugin" in name] == ["plugin.my_memory", "plugin.my_net"]
    assert execute(["corpus", str(folder / "pool.yaml")]) == 0
    assert (folder / "runs" / "corpora" / "pool" / "my_net.py").is_file()


def test_a_plugin_that_is_not_named_is_unknown(folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'my-net'"):
        expand(folder / "trial.yaml", [*ONLY, "plugins=[my_memory,my_score]"])
