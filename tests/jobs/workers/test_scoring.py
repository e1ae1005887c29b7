"""Suites with settings and labels, scoring in parts, and what is kept so that nothing is scored twice."""

import json
from pathlib import Path

import pytest
import torch

from longtake.evaluators.scoring import scorer
from longtake.jobs.cli import execute
from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.workers.sampling import SamplerWorker
from longtake.jobs.workers.scoring import ScoreWorker, StorageDamage, metric_groups
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.store.records import Failure
from longtake.platform.store.score_cache import ScoreCache
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.fleet import Outcome
from tests.jobs import tiny

SHORT = ["lengths_s=[3]", "methods=[native]"]
FLICKERING = "{vbench-long: {dimensions: [temporal_flickering], protocol: exact}, as: flickering}"


def scores_of(runs: Path) -> dict:
    files = sorted((runs / "small" / "takes").glob("*/scores/*.json"))
    return {f"{file.parent.parent.name}/{file.stem}": json.loads(file.read_text()) for file in files}


def test_a_labelled_suite_with_settings_is_scored_ranked_and_stored_under_its_label(tmp_path: Path) -> None:
    sweep = tiny.write_sweep(tmp_path)
    assert execute(["run", str(sweep), *SHORT, f"suites=[classical, {FLICKERING}]"]) == 0
    found = scores_of(tmp_path / "runs")
    assert {name.partition("/")[2] for name in found} == {"classical", "flickering"}
    for name, scores in found.items():
        if name.endswith("flickering"):
            assert scores["protocol"] == "exact"
            assert set(scores["metrics"]) == {"temporal_flickering", "scene_cuts"}
            assert json.loads(scores["versions"]["settings"])["protocol"] == "exact"
    ranks = json.loads((tmp_path / "runs" / "small" / "ranks.json").read_text())
    assert ranks["suites"]["flickering"]["protocol"] == "exact"
    assert ranks["suites"]["flickering"]["directions"] == {"temporal_flickering": "higher"}


def test_a_sweep_may_name_metrics_itself(tmp_path: Path) -> None:
    from longtake.dashboards.store_index import StoreIndex

    chosen = "suites=[classical, {metrics: [chroma_noise, scene_cuts], as: mine}]"
    assert execute(["run", str(tiny.write_sweep(tmp_path)), *SHORT, chosen]) == 0
    store = SweepStore(tmp_path / "runs", "small")
    ranks = store.ranks()
    assert ranks is not None
    ranked = ranks.suites["mine"]
    assert ranked.directions == {"chroma_noise": "lower"}
    assert ranked.cuts is not None
    assert ranked.cuts.videos == 2
    for take in store.plan():
        mine, classical = (store.scores(take.id, label) for label in ("mine", "classical"))
        assert (mine.protocol, set(mine.metrics)) == ("direct", {"chroma_noise", "scene_cuts"})
        assert mine.metrics["chroma_noise"] == classical.metrics["chroma_noise"]
    index = StoreIndex(tmp_path / "runs")
    assert index.plan(store).suites == ["classical", "mine"]
    assert index.counts(store)["scored"] == 2


def test_chosen_metrics_of_published_networks_need_their_weights(tmp_path: Path) -> None:
    chosen = "suites=[{metrics: [vbench/imaging_quality], as: mine}]"
    with pytest.raises(WeightsError, match=r"mine: .*longtake weights pull .*or score fewer: metrics: \[...\]"):
        expand(tiny.write_sweep(tmp_path), [chosen])


def test_other_settings_under_the_same_label_are_scored_again(tmp_path: Path) -> None:
    sweep = tiny.write_sweep(tmp_path)
    assert execute(["run", str(sweep), *SHORT, f"suites=[{FLICKERING}]"]) == 0
    before = scores_of(tmp_path / "runs")
    assert execute(["run", str(sweep), *SHORT, f"suites=[{FLICKERING.replace('exact', 'direct')}]"]) == 0
    after = scores_of(tmp_path / "runs")
    assert before.keys() == after.keys()
    for name, scores in after.items():
        assert scores["protocol"] == "direct"
        assert scores["metrics"]["temporal_flickering"] != before[name]["metrics"]["temporal_flickering"]


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ("vbench-lon", "did you mean 'vbench-long'"),
        ("{vbench-long: {protocol: exakt}}", "did you mean 'exact'"),
        ("{vbench-long: {dimensions: [motion_smothness]}}", "did you mean 'motion_smoothness'"),
        ("{vbench-long: {compat: [clip-oder]}}", "did you mean 'clip-order'"),
        ("{vbench-long: {dimension: [x]}}", "unknown key 'dimension'"),
        ("{classical: {protocol: exact}}", "has no settings"),
        (
            "{metrics: [chroma_noize], as: mine}",
            "suites.mine: unknown metric 'chroma_noize'; did you mean 'chroma_noise'",
        ),
        ("scene_cuts", "'scene_cuts': that is a metric; write {metrics: [scene_cuts], as: LABEL}"),
        ("{metrics: chroma_noise, as: mine}", "metrics needs a list: {metrics: [chroma_noise], as: mine}"),
        ("{metrics: [chroma_noise]}", "need a label; write {metrics: [NAME, ...], as: LABEL}"),
        ("{metrics: [], as: mine}", "suites.mine: has no metrics; give metrics=[NAME, ...]"),
        ("metrics", "suites.metrics: has no metrics; give metrics=[NAME, ...]"),
        ("{metrics: [imaging_quality, vbench/imaging_quality], as: mine}", "two metrics are named 'imaging_quality'"),
        ("{vbench-long: {dimensions: [temporal_flickering], compat: [mean-over-clips]}}", "only for folders"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path: Path, suite: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(tiny.write_sweep(tmp_path), [f"suites=[{suite}]"])
    assert told in str(caught.value)
    assert "small.yaml" in str(caught.value)


def test_missing_weights_stop_the_sweep_before_it_starts_and_the_plan_only_says_so(tmp_path: Path) -> None:
    sweep = tiny.write_sweep(tmp_path)
    with pytest.raises(WeightsError, match=r"longtake weights pull .*dimensions"):
        expand(sweep, ["suites=[vbench-long]"])
    assert not (tmp_path / "runs").exists()
    notes = expand(sweep, ["suites=[vbench-long]"], need_weights=False).notes
    assert any("longtake weights pull" in note for note in notes)


@pytest.mark.slow
def test_parts_of_the_metrics_on_several_evaluators_give_the_same_scores(tmp_path: Path) -> None:
    suites = f"suites=[classical, {FLICKERING}]"
    for name, parts in [("whole", "workers.evaluator_parts=1"), ("parts", "workers.evaluator_parts=3")]:
        folder = tmp_path / name
        folder.mkdir()
        assert execute(["run", str(tiny.write_sweep(folder)), *SHORT, suites, parts]) == 0
    whole, parts = scores_of(tmp_path / "whole" / "runs"), scores_of(tmp_path / "parts" / "runs")
    for found in (*whole.values(), *parts.values()):
        found["metrics"] = dict(sorted(found["metrics"].items()))
    assert parts == whole


def test_a_part_that_fails_is_tried_again_and_the_others_are_not(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), SHORT)
    store = SweepStore(tmp_path / "runs", "small")
    assert execute(["run", str(grid.file), *SHORT, "suites=[{vbench-long: {dimensions: [temporal_flickering]}}]"]) == 0
    scheduler = Scheduler(store, grid.takes[:1], grid.suites, lambda line: None, parts=2)
    first, second = (item for _, item in scheduler.read())
    worker = ScoreWorker(store)
    assert scheduler.record_outcome(Outcome("evaluators", first, error=RuntimeError("no memory"))) == [
        ("evaluators", first)
    ]
    assert store.failures() == {grid.takes[0].id: [Failure("scoring", "RuntimeError: no memory")]}
    for item in (second, first):
        value = worker.run(item.payload, lambda report: None)
        assert scheduler.record_outcome(Outcome("evaluators", item, value=value)) == []
    assert scheduler.scored == {grid.takes[0].id}
    assert set(store.scores(grid.takes[0].id, "classical").metrics) == {
        name for names in metric_groups(grid.suites, 1) for name in names
    }


def test_suites_that_ask_for_the_same_number_compute_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.evaluators.metrics import flickering

    clips = []
    clip = flickering._Run.clip
    monkeypatch.setattr(flickering._Run, "clip", lambda self, view: clips.append(view.start_frame) or clip(self, view))
    other = FLICKERING.replace("as: flickering", "as: again")
    sweep = tiny.write_sweep(tmp_path)
    short = [*SHORT, "prompts={file: prompts/pocket.txt, limit: 1}", f"suites=[{FLICKERING}, {other}]"]
    assert execute(["run", str(sweep), *short]) == 0
    first, second = scores_of(tmp_path / "runs").values()
    assert len(clips) == len(first["clips"]["temporal_flickering"])
    assert first["metrics"] == second["metrics"]


def test_parts_of_a_round_that_ended_count_for_nothing(tmp_path: Path) -> None:
    """The video of a made take is damaged: one failure, one remake, and no score of the old video."""
    grid = expand(tiny.write_sweep(tmp_path), SHORT)
    store, take = SweepStore(tmp_path / "runs", "small"), grid.takes[0]
    assert execute(["run", str(grid.file), *SHORT, "suites=[{vbench-long: {dimensions: [temporal_flickering]}}]"]) == 0
    scheduler = Scheduler(store, [take], grid.suites, lambda line: None, parts=3)
    old = [item for _, item in scheduler.read()]
    stale = ScoreWorker(store).run(old[2].payload, lambda report: None)
    video = store.video(take.id)
    video.write_bytes(video.read_bytes() + b"x")
    steps = []
    for item in old[:2]:
        with pytest.raises(StorageDamage) as caught:
            ScoreWorker(store).run(item.payload, lambda report: None)
        steps += scheduler.record_outcome(Outcome("evaluators", item, error=caught.value))
    ((group, making),) = steps
    assert group == "samplers"
    assert len(scheduler.attempts.failures[take.id]) == 1
    with store.lock():
        made = SamplerWorker(store).run(making.payload, lambda report: None)
    steps = scheduler.record_outcome(Outcome("samplers", making, value=made))
    assert [item.payload.round for _, item in steps] == [3, 3, 3]
    assert scheduler.record_outcome(Outcome("evaluators", old[2], value=stale)) == []
    assert take.id not in scheduler.scored
    for _, item in steps:
        value = ScoreWorker(store).run(item.payload, lambda report: None)
        scheduler.record_outcome(Outcome("evaluators", item, value=value))
    assert scheduler.scored == {take.id}


def test_a_failure_counts_for_its_stage_also_one_of_an_earlier_version(tmp_path: Path) -> None:
    """Twice in scoring as earlier versions wrote it and once as now: set aside; failures in making are not added, nor
    is the death of a worker."""
    grid = expand(tiny.write_sweep(tmp_path), SHORT)
    store, take = SweepStore(tmp_path / "runs", "small"), grid.takes[0]
    assert execute(["run", str(grid.file), *SHORT, "suites=[{vbench-long: {dimensions: [temporal_flickering]}}]"]) == 0
    reasons = ("scoring: OSError: x", "scoring: WorkerDied: w", "OSError: y", "scoring: OSError: x")
    rows = [{"at": "2026-01-01", "reason": reason} for reason in reasons]
    store.failures_file(take.id).write_text("".join(json.dumps(row) + "\n" for row in rows))
    said: list[str] = []
    scheduler = Scheduler(store, [take], grid.suites, said.append)
    ((group, item),) = scheduler.read()
    assert scheduler.record_outcome(Outcome(group, item, error=RuntimeError("no memory"))) == []
    assert scheduler.failed == {take.id}
    assert "set aside after 3 failed attempts; the last: scoring: RuntimeError: no memory" in said[0]
    last = json.loads(store.failures_file(take.id).read_text().splitlines()[-1])
    assert (last["stage"], last["reason"]) == ("scoring", "scoring: RuntimeError: no memory")
    assert Scheduler(store, [take], grid.suites, said.append).read() == []


def test_scores_on_a_gpu_that_is_not_there_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sweep = tiny.write_sweep(tmp_path)
    assert execute(["run", str(sweep), *SHORT, "workers.gpus_per_evaluator=1"]) == 2
    assert scores_of(tmp_path / "runs") == {}


def test_what_was_scored_once_is_not_scored_again_even_for_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tiny.write_sweep(tmp_path)
    assert execute(["run", str(sweep), *SHORT]) == 0
    watched = []
    watch = scorer._score_clips
    monkeypatch.setattr(scorer, "_score_clips", lambda *arguments: watched.append(arguments) or watch(*arguments))
    assert execute(["run", str(sweep), *SHORT, "name=second"]) == 0
    assert watched == []
    first, second = (json.loads((tmp_path / "runs" / name / "ranks.json").read_text()) for name in ("small", "second"))
    assert first["suites"] == second["suites"]


def test_the_cache_gives_only_what_was_put_under_the_very_key(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores")
    assert cache.get("ab" * 32, "key") is None
    cache.put("ab" * 32, "key", {"value": 1.5})
    assert cache.get("ab" * 32, "key") == {"value": 1.5}
    assert cache.get("ab" * 32, "other") is None
    assert cache.get("cd" * 32, "key") is None
    file = next((tmp_path / "scores").rglob("*.json"))
    file.write_text('{"key": "another", "result": {}}')
    assert cache.get("ab" * 32, "key") is None
    file.write_bytes(file.read_bytes()[:10])
    assert cache.get("ab" * 32, "key") is None
