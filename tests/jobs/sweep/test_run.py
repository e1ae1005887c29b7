"""Whole sweeps in this process, with a real but very small backbone."""

import json
from pathlib import Path
from typing import Any

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.placement import batch_of, groups
from longtake.jobs.sweep.spec import WorkersConfig
from longtake.platform.store.records import Failure
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.fleet import Node, Patience
from longtake.platform.workers.ray_cluster import Cluster
from longtake.platform.workers.signals import StopFlag
from tests.jobs import tiny


def store_of(folder: Path) -> SweepStore:
    return SweepStore(folder / "runs", "small")


@pytest.mark.slow
def test_a_sweep_is_made_scored_ranked_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", str(tiny.write_sweep(tmp_path))]) == 0
    store, out = store_of(tmp_path), capfd.readouterr().out
    takes = store.plan()
    assert store.done_ids() == {take.id for take in takes}
    for take in takes:
        assert store.verify(take)
        assert store.attempts(take.id) == 1
        assert store.scores(take.id, "classical") is not None
        result = store.result(take.id)
        assert result is not None
        assert result.num_frames == take.num_frames
        assert result.trace_rows == take.latent_frames // 3
        assert set(result.timings) == {"load", "generate", "decode", "encode", "wait", "wall"}
    table, ranks = store.table(), store.ranks()
    assert table is not None
    assert ranks is not None
    assert len(table) == len(takes) * 8
    assert [length.seconds for length in ranks.suites["classical"].lengths] == [3, 6]
    assert store.contact_sheet_file.is_file()
    assert str(store.contact_sheet_file) in out
    assert "rank of 2" in out
    said = " ".join(out.split())  # a terminal breaks lines
    assert all(line in said for line in ranks.suites["classical"].lengths[-1].verdicts)
    progress = store.progress()
    assert progress is not None
    assert (progress["made"], progress["scored"], progress["running"]) == (8, 8, [])


@pytest.mark.slow
def test_running_again_makes_nothing_and_changes_no_rank(tmp_path: Path) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    assert execute(["run", sweep]) == 0
    store = store_of(tmp_path)
    before = (store.folder / "ranks.json").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in store.folder.rglob("takes/**/*")}
    assert execute(["run", sweep]) == 0
    assert (store.folder / "ranks.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("takes/**/*")} == stamps
    assert len(store.history()) == 1


@pytest.mark.slow
def test_a_sweep_that_grows_makes_only_what_is_new_and_tells_how_ranks_moved(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    assert execute(["run", sweep, "lengths_s=[3]", "methods=[native, rag]"]) == 0
    store = store_of(tmp_path)
    first = {take.id: store.result(take.id) for take in store.plan()}
    assert execute(["run", sweep, "lengths_s=[3]", "methods=[native, rag, native-relative]"]) == 0
    assert all(store.result(take_id) == result for take_id, result in first.items())
    assert len(store.plan()) == 6
    assert len(store.history()) == 2
    capfd.readouterr()
    assert execute(["leaderboard", str(tmp_path / "runs"), "--full"]) == 0
    out = capfd.readouterr().out
    assert "was" in out
    assert "new" in out
    assert "average ranks over runs" in out


def test_a_changed_plan_is_refused_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    assert execute(["run", sweep, "lengths_s=[3]", "methods=[rag]"]) == 0
    assert execute(["plan", sweep, "lengths_s=[3]", "methods=[{rag: {top_k: 2}}]"]) == 0
    assert "cannot run here: " in (out := capfd.readouterr().out)
    assert "top_k 6 -> 2" in out
    assert execute(["run", sweep, "lengths_s=[3]", "methods=[{rag: {top_k: 2}}]"]) == 2
    assert "top_k 6 -> 2" in capfd.readouterr().err


def test_a_take_that_fails_three_times_is_set_aside_and_the_rest_completes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    alone = "workers={batch: 1, cluster: inline}"
    words = ["run", sweep, "backbones=[tiny-broken]", "methods=[native]", "lengths_s=[3]", alone]
    assert execute(words) == 3
    store = store_of(tmp_path)
    broken, sound = sorted(store.plan(), key=lambda take: "brick" not in take.prompt)
    assert store.failures() == {broken.id: [Failure("making", "RuntimeError: no bricks")] * 3}
    assert store.attempts(broken.id) == 3
    assert store.done_ids() == {sound.id}
    assert "RuntimeError: no bricks" in capfd.readouterr().out
    assert execute(words) == 3
    assert store.attempts(broken.id) == 3  # it stays aside
    assert execute([*words, "--retry-failed"]) == 3
    assert "trying 1 take again, set aside before" in capfd.readouterr().out
    assert store.attempts(broken.id) == 6
    assert store.failures() == {broken.id: [Failure("making", "RuntimeError: no bricks")] * 3}
    assert (store.failures_file(broken.id).parent / "events.jsonl").read_text().count("no bricks") == 3
    assert not list(store.folder.rglob(".tmp-*"))


def test_takes_that_fail_together_go_on_alone_and_only_the_one_at_fault_is_set_aside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One attempt together, which counts as nobody's failure, then each by itself."""
    sweep = str(tiny.write_sweep(tmp_path))
    together = "workers={samplers: 1, batch: 2, cluster: inline}"
    assert execute(["run", sweep, "backbones=[tiny-broken]", "methods=[native]", "lengths_s=[3]", together]) == 3
    store = store_of(tmp_path)
    broken, sound = sorted(store.plan(), key=lambda take: "brick" not in take.prompt)
    assert store.failures() == {broken.id: [Failure("making", "RuntimeError: no bricks")] * 3}
    assert (store.attempts(broken.id), store.attempts(sound.id)) == (4, 2)
    assert store.done_ids() == {sound.id}
    assert "retrying 2 takes one at a time after RuntimeError: no bricks" in capfd.readouterr().out


def test_a_take_that_diverges_is_set_aside_and_ends_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    assert execute(["run", sweep, "backbones=[tiny-wild]", "methods=[native]", "lengths_s=[3]"]) == 3
    store = store_of(tmp_path)
    wild, sound = sorted(store.plan(), key=lambda take: "brick" not in take.prompt)
    assert store.done_ids() == {sound.id}
    assert len(store.failures()[wild.id]) == 3
    assert "NaN or infinity; the take diverged" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("told", "takes", "samplers", "batch"),
    [("auto", 48, 2, 4), ("auto", 4, 3, 1), ("auto", 8, 5, 1), ("auto", 8, 3, 2), (2, 48, 2, 2), ("auto", 1, 2, 1)],
)
def test_a_batch_leaves_work_for_every_sampler(
    told: Any, takes: int, samplers: int, batch: int, tmp_path: Path
) -> None:
    grid = expand(tiny.write_sweep(tmp_path), [f"workers.batch={told}"])
    assert batch_of(grid, takes, samplers) == batch


def test_takes_that_were_computed_in_unlike_ways_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(tiny.write_sweep(tmp_path)), "lengths_s=[3]", "methods=[native]"]
    assert execute(words) == 0
    assert "computed in" not in capfd.readouterr().out
    path = next((tmp_path / "runs").rglob("result.json"))
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"versions": result["versions"] | {"compiled": "true"}}))
    assert execute(words) == 0
    out = capfd.readouterr().out
    ways = "(device, dtype, attention, kernels, compiled): 1 take on cpu"
    assert f"note: computed in 2 ways, which round differently {ways}" in out


@pytest.mark.slow
def test_a_batch_makes_the_videos_that_single_takes_are(tmp_path: Path) -> None:
    digests = []
    for batch in (1, 2):
        (tmp_path / str(batch)).mkdir()
        sweep, told = (
            tiny.write_sweep(tmp_path / str(batch)),
            f"workers={{samplers: 1, batch: {batch}, cluster: inline}}",
        )
        assert execute(["run", str(sweep), told]) == 0
        results = map(store_of(tmp_path / str(batch)).result, sorted(store_of(tmp_path / str(batch)).done_ids()))
        digests.append({result.take_id: result.video_sha256 for result in results if result is not None})
    assert len(digests[0]) == 8
    assert digests[0] == digests[1]


def test_another_suite_scores_what_is_there_without_making_it_again(tmp_path: Path) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    small = ["lengths_s=[3]", "methods=[native]"]
    assert execute(["run", sweep, *small]) == 0
    store = store_of(tmp_path)
    before = {take.id: store.result(take.id) for take in store.plan()}
    assert execute(["run", sweep, *small, "suites=[classical, pocket]"]) in (0, 3)
    assert {take.id: store.result(take.id) for take in store.plan()} == before
    assert all(store.scores(take.id, "pocket") is not None for take in store.plan())


@pytest.mark.parametrize(
    ("gpus", "nodes", "samplers", "evaluators"),
    [
        (0.0, [Node(16, 1)], (16, 1.0, 0.0), (16, 0.0)),
        (0.0, [Node(2, 0)], (2, 1.0, 0.0), (2, 0.0)),
        (0.0, [Node(1, 0)], (1, 1.0, 0.0), (1, 0.0)),
        (1.0, [Node(16, 4)], (4, 1.0, 1.0), (6, 1.0)),
        (1.0, [Node(8, 8), Node(8, 8)], (16, 1.0, 1.0), (1, 0.0)),
    ],
)
def test_auto_workers_follow_the_nodes(
    gpus: float, nodes: list[Node], samplers: Any, evaluators: Any, tmp_path: Path
) -> None:
    made = groups(WorkersConfig(), Cluster("x", nodes, StopFlag()), store_of(tmp_path), 1000, gpus)
    assert [group.patience for group in made] == [Patience(step_seconds=None), Patience()]
    assert (made[0].count, made[0].num_cpus, made[0].num_gpus) == samplers
    assert (made[1].count, made[1].num_cpus) == evaluators


@pytest.mark.parametrize(
    ("gpus", "nodes", "takes", "together"),
    [
        (0.0, [Node(16, 0), Node(2, 0)], 1000, 16),
        (0.0, [Node(16, 0), Node(2, 0)], 5, 5),
        (1.0, [Node(16, 4), Node(16, 2)], 1000, 4),
        (2.0, [Node(16, 4), Node(16, 2)], 1000, 2),
    ],
)
def test_a_sampler_knows_how_many_may_share_its_machine(
    gpus: float, nodes: list[Node], takes: int, together: int, tmp_path: Path
) -> None:
    (sampling, _) = groups(WorkersConfig(), Cluster("x", nodes, StopFlag()), store_of(tmp_path), takes, gpus)
    assert sampling.make().loaded.resources.samplers_per_machine == together  # type: ignore[attr-defined]


@pytest.mark.usefixtures("ray_local")
def test_actors_in_any_number_and_order_make_the_same_videos(tmp_path: Path) -> None:
    digests = []
    for folder, override in [("one", "samplers: 1"), ("two", "samplers: 2")]:
        (tmp_path / folder).mkdir()
        order = "lengths_s=[2, 3]" if folder == "one" else "lengths_s=[3, 2]"
        words = ["run", str(tiny.write_sweep(tmp_path / folder)), order, f"workers={{{override}, cluster: local}}"]
        assert execute(words) == 0
        store = store_of(tmp_path / folder)
        results = [store.result(take.id) for take in store.plan()]
        digests.append({r.take_id: r.video_sha256 for r in results if r is not None})
    assert len(digests[0]) == 8
    assert digests[0] == digests[1]
