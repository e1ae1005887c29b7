"""A training's folder: rows that come, checkpoints that count, and a watcher that misses and repeats nothing."""

import pytest

from longtake.platform.errors import ConfigError, LockedError
from longtake.platform.store.training import TrainingFolder


@pytest.fixture
def folder(tmp_path):
    folder = TrainingFolder(tmp_path, "t")
    with folder.lock():
        yield folder


def row(step: int) -> dict[str, float]:
    return {"step": step, "total": 1 / step}


def test_follower_gives_each_row_once(folder):
    follower = folder.follow()
    assert follower.new_rows() == []
    folder.add_step(row(1))
    folder.add_step(row(2))
    assert follower.new_rows() == [row(1), row(2)]
    with folder.steps_file.open("ab") as file:
        file.write(b'{"step": 3, ')
    assert follower.new_rows() == []
    with folder.steps_file.open("ab") as file:
        file.write(b'"total": 0.5}\n')
    assert follower.new_rows() == [{"step": 3, "total": 0.5}]


def test_follower_begins_anew_when_steps_are_taken_back(folder):
    follower = folder.follow()
    for step in (1, 2, 3):
        folder.add_step(row(step))
    assert len(follower.new_rows()) == 3
    folder.rewind(1)
    folder.add_step(row(2))
    assert follower.new_rows() == [row(1), row(2)]


def test_only_recorded_checkpoints_count_and_the_newest_stay(folder):
    assert folder.newest_checkpoint() is None
    for step in (10, 20, 30, 40):
        (folder.checkpoints / f"step-{step}").mkdir()
        if step < 40:
            folder.record_checkpoint({"step": step, "workers": 1})
    assert folder.recorded() == [20, 30]
    assert folder.newest_checkpoint() == {"step": 30, "workers": 1}
    folder.rewind(30)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["20.json", "30.json", "step-20", "step-30"]


def test_config_of_a_folder_is_fixed(folder):
    folder.keep_config("name: t\nlr: 0.1\n")
    folder.keep_config("name: t\nlr: 0.1\n")
    with pytest.raises(ConfigError, match=r"was started with another config \(lr: 0.1 -> lr: 0.2\)"):
        folder.keep_config("name: t\nlr: 0.2\n")


def test_the_place_of_a_corpus_may_change_but_not_its_content(folder):
    folder.keep_config("corpus: /old/c\ncorpus_sha256: 5\n", place="corpus")
    folder.keep_config("corpus: /new/c\ncorpus_sha256: 5\n", place="corpus")
    with pytest.raises(ConfigError, match=r"corpus_sha256: 5 -> corpus_sha256: 6"):
        folder.keep_config("corpus: /new/c\ncorpus_sha256: 6\n", place="corpus")


def test_one_training_holds_the_folder(folder, tmp_path):
    with pytest.raises(LockedError, match="is in use by process"), TrainingFolder(tmp_path, "t").lock():
        pass
