"""A run from another folder says where the results of the sweep are already."""

from pathlib import Path

import pytest

from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.run import elsewhere
from longtake.platform.store.sweep import SweepStore
from tests.jobs import tiny


def test_results_beside_the_sweep_file_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    (project / "sweeps").mkdir(parents=True)
    other.mkdir()
    grid = expand(tiny.write_sweep(project / "sweeps"), ["output=runs"])
    first = SweepStore(project / "runs", "small")
    first.write_plan(grid.config_yaml, grid.takes)
    monkeypatch.chdir(other)
    here = SweepStore(Path(grid.sweep.output).absolute(), "small")
    (note,) = elsewhere(grid, here)
    assert note == f"{first.folder} has a sweep of this name; to go on there: output={project / 'runs'}"
    assert elsewhere(grid, first) == []
    absolute = expand(grid.file, [f"output={other / 'runs'}"])
    assert elsewhere(absolute, here) == []
