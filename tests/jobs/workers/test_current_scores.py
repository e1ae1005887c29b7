"""Scores count only for the bytes and the versions that they were made from; what counts is not computed again."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.metrics.colour import ChromaNoise
from longtake.evaluators.suites.classical import Classical
from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.jobs.workers.scoring import MissingScores, ScoreItem, ScoreWorker, StorageDamage, current_scores
from longtake.platform.store.sweep import SweepStore
from tests.jobs.tiny import SWEEP

CLASSICAL = SuiteEntry("classical", "classical")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A store with one finished take of the tiny backbone."""
    folder = tmp_path_factory.mktemp("made")
    file = folder / "sweep.yaml"
    file.write_text(SWEEP.replace("OUTPUT", str(folder / "runs")))
    take = expand(file).takes[0]
    store = SweepStore(folder / "runs", "small")
    with store.lock():
        store.write_plan("", [take])
        SamplerWorker(store).run(MakeItem((take,)), lambda report: None)
    return store, take


@pytest.fixture
def made(made_once, tmp_path):
    import shutil

    store, take = made_once
    shutil.copytree(store.folder, tmp_path / "small")
    return SweepStore(tmp_path, "small"), take


@pytest.fixture
def computed(monkeypatch):
    """The names of the metrics that are computed, and how often a video is decoded, as they happen."""
    from longtake.evaluators.scoring.metric_runner import MetricRunner
    from longtake.platform.video import reading

    names, decodes, opened, read = [], [], MetricRunner.open, reading.read_frames
    monkeypatch.setattr(MetricRunner, "open", lambda self, ctx: names.append(self.metric.name) or opened(self, ctx))
    monkeypatch.setattr(reading, "read_frames", lambda path, *rest: decodes.append(path) or read(path, *rest))
    return names, decodes


def score(store, take, entry=CLASSICAL, cache=False):
    if not cache:
        store = SweepStore(store.folder.parent, "small")
        store.root.score_cache = None
    return ScoreWorker(store).run(ScoreItem(take, (entry,)), lambda report: None)


def as_before(store, take, suite="weightless"):
    """The record as a release wrote it in which suites had versions and metrics had none."""
    scores = store.scores(take.id, "classical")
    versions = {key: value for key, value in scores.versions.items() if not key.startswith("metric.")}
    (store.video(take.id).parent / "scores" / "classical.json").unlink()
    store.write_scores(take.id, replace(scores, suite=suite, versions=versions | {"suite": f"{suite}-1"}))


def test_a_new_version_of_a_metric_computes_that_metric_alone(made, computed, monkeypatch):
    store, take = made
    score(store, take)
    before = current_scores(store, take, CLASSICAL)
    assert before.versions["metric.chroma_noise"] == "chroma_noise-1"
    monkeypatch.setattr(ChromaNoise, "version", 2)
    entry = SuiteEntry("classical", "classical")
    assert current_scores(store, take, entry) is None
    names, decodes = computed
    names.clear(), decodes.clear()
    score(store, take, entry)
    assert (names, len(decodes)) == (["chroma_noise"], 1)
    after = current_scores(store, take, entry)
    assert after.versions == before.versions | {"metric.chroma_noise": "chroma_noise-2"}
    assert replace(after, versions={}) == replace(before, versions={})


@pytest.mark.parametrize("earlier", [False, True], ids=["this release", "before metrics had versions"])
def test_a_metric_that_a_suite_did_not_have_completes_the_record(made, computed, monkeypatch, earlier):
    store, take = made
    score(store, take)
    whole, every = current_scores(store, take, CLASSICAL), Classical.metrics
    monkeypatch.setattr(Classical, "metrics", [name for name in every if name != "motion_smoothness"])
    (store.video(take.id).parent / "scores" / "classical.json").unlink()
    score(store, take, SuiteEntry("classical", "classical"))
    if earlier:
        as_before(store, take, "classical")
    monkeypatch.setattr(Classical, "metrics", every)
    names, decodes = computed
    names.clear(), decodes.clear()
    score(store, take, SuiteEntry("classical", "classical"))
    assert (names, len(decodes)) == (["motion_smoothness"], 1)
    assert current_scores(store, take, CLASSICAL) == whole
    assert list(current_scores(store, take, CLASSICAL).metrics) == list(whole.metrics)


def test_a_record_that_other_libraries_made_is_whole_but_is_not_added_to(made, computed, monkeypatch):
    store, take = made
    score(store, take)
    scores = store.scores(take.id, "classical")
    store.write_scores(take.id, replace(scores, versions=scores.versions | {"numpy": "1.0"}))
    assert current_scores(store, take, CLASSICAL) is not None
    monkeypatch.setattr(ChromaNoise, "version", 2)
    names, _ = computed
    names.clear()
    score(store, take, SuiteEntry("classical", "classical"))
    assert len(names) == 8


def test_a_suite_under_its_former_name_is_read_and_not_computed(made, computed):
    store, take = made
    score(store, take)
    scores = current_scores(store, take, CLASSICAL)
    as_before(store, take)
    old, names, decodes = SuiteEntry("weightless", "weightless"), *computed
    assert current_scores(store, take, old).metrics == scores.metrics
    assert current_scores(store, take, old).versions["suite"] == "weightless-1"
    assert current_scores(store, take, CLASSICAL) is None
    names.clear(), decodes.clear()
    score(store, take)
    assert (names, decodes) == ([], [])
    assert current_scores(store, take, CLASSICAL) == scores


def test_under_a_label_of_ones_own_a_former_name_is_no_other_suite(made, computed):
    store, take = made
    mine = SuiteEntry("classical", "mine")
    score(store, take, mine)
    named_before = SuiteEntry("weightless", "mine")
    assert current_scores(store, take, named_before).metrics == current_scores(store, take, mine).metrics
    assert mine.former_labels == []
    assert CLASSICAL.former_labels == ["weightless"]


def test_a_record_of_another_suite_under_the_label_does_not_count(made):
    store, take = made
    score(store, take, SuiteEntry("metrics", "classical", {"metrics": ["chroma_noise"]}))
    assert current_scores(store, take, CLASSICAL) is None
    scores = store.scores(take.id, "classical")
    store.write_scores(take.id, replace(scores, versions={"suite": "vbench-long-1"}))
    assert current_scores(store, take, SuiteEntry("metrics", "classical", {"metrics": ["chroma_noise"]})) is None


def test_metrics_that_do_not_apply_are_not_missing_in_a_record_from_before(made, computed):
    """A take without a prefix has no `_true` metrics; earlier records did not say that they had been asked for."""
    store, take = made
    pocket = SuiteEntry("pocket", "pocket")
    score(store, take, pocket)
    scores = store.scores(take.id, "pocket")
    assert len(scores.metrics) == 4
    assert len(pocket.metrics) == 8
    versions = {key: value for key, value in scores.versions.items() if not key.startswith("metric.")}
    for record in (scores, replace(scores, versions=versions)):
        store.write_scores(take.id, record)
        assert current_scores(store, take, pocket).metrics == scores.metrics
    with_prefix = replace(take, prefix_frames=6)
    assert current_scores(store, with_prefix, pocket) is None


def test_chosen_metrics_share_results_with_suites_and_grow_one_by_one(made, computed):
    store, take = made
    score(store, take, cache=True)
    names, decodes = computed
    names.clear(), decodes.clear()
    score(store, take, SuiteEntry("metrics", "mine", {"metrics": ["chroma_noise", "imaging_quality"]}), cache=True)
    assert (names, decodes) == ([], [])
    more = SuiteEntry("metrics", "mine", {"metrics": ["scene_cuts", "chroma_noise", "imaging_quality"]})
    score(store, take, more)
    assert (names, len(decodes)) == (["scene_cuts"], 1)
    assert list(current_scores(store, take, more).metrics) == ["scene_cuts", "chroma_noise", "imaging_quality"]
    names.clear(), decodes.clear()
    fewer = SuiteEntry("metrics", "mine", {"metrics": ["imaging_quality"]})
    assert current_scores(store, take, fewer) is None
    score(store, take, fewer)
    assert (names, decodes) == ([], [])
    assert list(current_scores(store, take, fewer).metrics) == ["imaging_quality"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_video_is_taken_back_before_scoring(made, damage):
    store, take = made
    damage(store.video(take.id))
    with pytest.raises(StorageDamage, match="on disk has changed"):
        score(store, take)
    assert not store.is_done(take)


def test_a_suite_that_is_sent_to_a_worker_is_stamped_there(monkeypatch):
    entry = SuiteEntry("classical", "classical")
    assert entry.stamp["metric.chroma_noise"] == "chroma_noise-1"
    sent = pickle.dumps(entry)
    monkeypatch.setattr(ChromaNoise, "version", 2)
    assert pickle.loads(sent).stamp["metric.chroma_noise"] == "chroma_noise-2"


def is_missing(store, take, entry):
    """By the index, twice, since the second answer may come from memory."""
    missing, index = MissingScores(store, [entry]), store.index()
    answers = {bool(missing.of(take, index.facts(take.id, missing.labels))) for _ in range(2)}
    assert len(answers) == 1
    return answers.pop()


@pytest.mark.parametrize(
    "change",
    ["none", "never scored", "before metrics had versions", "another metric's version", "other settings",
     "other metrics", "of another video", "with a prefix"],
)  # fmt: skip
def test_the_index_decides_as_the_records_do(made, monkeypatch, change):
    store, take = made
    entry = CLASSICAL
    if change != "never scored":
        score(store, take)
    if change == "before metrics had versions":
        as_before(store, take, "classical")
    elif change == "another metric's version":
        monkeypatch.setattr(ChromaNoise, "version", 2)
        entry = SuiteEntry("classical", "classical")
    elif change == "other settings":
        entry = SuiteEntry("vbench-long", "classical", {"dimensions": ["temporal_flickering"], "protocol": "exact"})
    elif change == "other metrics":
        entry = SuiteEntry("metrics", "classical", {"metrics": ["chroma_noise"]})
    elif change == "of another video":
        record = store.scores(take.id, "classical")
        store.write_scores(take.id, replace(record, video_sha256="0" * 64))
    elif change == "with a prefix":
        take, entry = replace(take, prefix_frames=3), SuiteEntry("pocket", "classical")
    current = current_scores(store, take, entry) is not None
    assert is_missing(store, take, entry) == (not current)
    assert current == (change in ("none", "before metrics had versions"))


def test_a_record_that_depends_on_the_take_decides_for_no_other(made):
    """As written before metrics had versions: whether a metric is missing depends on the take's prefix."""
    store, take = made
    pocket = SuiteEntry("pocket", "pocket")
    score(store, take, pocket)
    record = store.scores(take.id, "pocket")
    missing, index = MissingScores(store, [pocket]), store.index()
    assert missing.of(take, index.facts(take.id, missing.labels)) == ()
    assert list(missing.verdicts.values()) == [True]
    versions = {key: value for key, value in record.versions.items() if not key.startswith("metric.")}
    store.write_scores(take.id, replace(record, versions=versions))
    missing = MissingScores(store, [pocket])
    assert missing.of(take, index.facts(take.id, missing.labels)) == ()
    assert missing.verdicts == {}
