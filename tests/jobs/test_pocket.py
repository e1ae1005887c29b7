"""`longtake train pocket`: the files of a training, refused configs, and one process at a time."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from longtake.jobs.pocket import pocket
from longtake.platform.errors import ConfigError, LockedError
from longtake.platform.store.root import OutputRoot
from longtake.platform.store.training import TrainingFolder

CONFIG = "name: tiny\nsteps: 3\nstreets: 8\nclips: 1\nframes: 12\ncheckpoint_every: 2\n"


def test_a_training_leaves_its_files_and_is_done_the_second_time(
    tmp_path: Path, migrated_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "tiny.yaml", tmp_path / "runs"
    config.write_text(CONFIG)
    output.mkdir()
    shutil.copy(migrated_database, OutputRoot(output).mlflow_db)
    folder = TrainingFolder(output, "tiny")
    assert pocket(config, [], output) == 0
    weights = load_file(folder.weights)
    (row,) = folder.steps()  # every 50 steps, and after the last
    assert row["step"] == 3
    assert folder.recorded() == [2, 3]
    assert "checkpoint_every: 2" in folder.config_file.read_text()

    assert pocket(config, [], output) == 0
    assert "resuming tiny at step 3 of 3" in capsys.readouterr().out
    assert folder.steps() == [row]
    assert all(value.equal(weights[key]) for key, value in load_file(folder.weights).items())
    with pytest.raises(ConfigError, match=r"was started with another config \(steps: 3 -> steps: 4\)"):
        pocket(config, ["steps=4"], output)
    with folder.lock(), pytest.raises(LockedError, match="is in use by process"):
        pocket(config, [], output)
