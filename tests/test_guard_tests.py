"""Guards of the tests: each has one need, and lies where its subject lies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import NEEDS

TESTS = Path(__file__).resolve().parent
FOLDERS = ("platform", "trainers", "evaluators", "jobs", "dashboards")
OTHERS = {".", "bench", "gpu", "dashboards/browser"}
"""Folders of tests whose subject is no folder of the code."""

PLANTED = """
import pytest
@pytest.fixture
def ray_local(): pass
def test_unit(): pass
def test_ray(ray_local): import deepspeed
def test_unit_that_trains(): import deepspeed
@pytest.mark.gpu
def test_gpu(ray_local): pass
"""


def test_every_test_has_one_need(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        assert len(NEEDS & {marker.name for marker in item.iter_markers()}) == 1, item.nodeid


@pytest.mark.parametrize(
    ("need", "summary"), [("unit", "1 failed, 1 passed, 2 deselected"), ("ray", "1 passed, 3 desel")]
)
def test_needs_follow_from_fixtures_and_a_unit_test_loads_no_trainer(tmp_path: Path, need: str, summary: str) -> None:
    (tmp_path / "deepspeed.py").touch()
    (tmp_path / "test_planted.py").write_text(PLANTED)
    options = ["-p", "tests.needs", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-q", "-m", need]
    code = f"import sys, pytest; sys.path.insert(0, {str(tmp_path)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *options, str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # of the outer pytest
    done = subprocess.run(command, cwd=TESTS.parent, env=env, capture_output=True, text=True, check=False)
    assert summary in done.stdout, done.stdout + done.stderr
    assert ("a unit test loaded deepspeed" in done.stdout) == ("failed" in summary)


def test_processes_of_a_run_get_tests_by_group(request: pytest.FixtureRequest) -> None:
    """pytest-xdist appends the group to the id of a test; with some versions of pytest that has no effect."""
    grouped = hasattr(request.config, "workerinput") and request.config.getoption("loadgroup")
    for item in request.session.items:
        (group,) = [marker.args[0] for marker in item.iter_markers("xdist_group")] or [""]
        assert item.nodeid.endswith(f"@{group}" if grouped else item.name), item.nodeid


def test_folders_mirror_those_of_the_code() -> None:
    for path in TESTS.rglob("test_*.py"):
        folder = path.parent.relative_to(TESTS).as_posix()
        assert folder in OTHERS or (folder.startswith(FOLDERS) and (TESTS.parent / folder).is_dir()), path
