"""Scores count only for the bytes and the suite that they were made from."""

from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.suites.weightless import Weightless
from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.sampling import SamplerWorker
from longtake.jobs.workers.scoring import ScoreWorker, StorageDamage, current_scores
from longtake.platform.store.sweep import SweepStore
from tests.jobs.tiny import SWEEP


@pytest.fixture
def made(tmp_path):
    """A store with one finished take of the tiny backbone."""
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.replace("OUTPUT", str(tmp_path / "runs")))
    take = expand(file).takes[0]
    store = SweepStore(tmp_path / "runs", "small")
    with store.lock():
        store.write_plan("", [take])
        SamplerWorker(store).run([take.to_json()], lambda report: None)
        yield store, take


def weightless():
    return SuiteEntry("weightless", "weightless")


def score(store, take):
    return ScoreWorker(store).run({"take": take.to_json(), "suites": [weightless().to_json()]}, lambda report: None)


def test_a_newer_suite_scores_again(made, monkeypatch):
    store, take = made
    score(store, take)
    assert current_scores(store, take.id, weightless()) is not None
    monkeypatch.setattr(Weightless, "version", Weightless.version + 1)
    assert current_scores(store, take.id, weightless()) is None
    score(store, take)
    assert current_scores(store, take.id, weightless()) is not None


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
    with pytest.raises(StorageDamage, match="changed on disk"):
        score(store, take)
    assert not store.is_done(take)
