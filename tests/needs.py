"""Marks each test with the one thing that it needs, so that `-m` selects by it and no marker is forgotten.

The first that holds: the marker written at the test (always so for `gpu`); a fixture of NEED_OF_FIXTURE; a file that
imports from a module of TRAINS; else `unit`.
"""

import sys
from collections.abc import Generator

import pytest

NEEDS = {"unit", "ray", "browser", "training", "gpu"}
NEED_OF_FIXTURE = {"browser": "browser", "ray_local": "ray"}
TRAINS = {"longtake.jobs.embedder.train", "longtake.trainers.embedder", "longtake.trainers.pocket"}
NOT_IN_UNIT_TESTS = {"deepspeed", "ray"}
SHARED = (
    "ray_local",
    "browser",
    "smoke",
    "golden_video",
    "seeded_network",
    "wan_weights",
    "migrated_database",
    "wheel",
)
"""Fixtures that take seconds: their tests are `slow`, and the processes of `make test` do not each set them up."""


def need_of(item: pytest.Function) -> str:
    if written := [marker.name for marker in item.iter_markers() if marker.name in NEEDS]:
        return written[0]
    for fixture, need in NEED_OF_FIXTURE.items():
        if fixture in item.fixturenames:
            return need
    return "training" if TRAINS & {getattr(one, "__module__", "") for one in vars(item.module).values()} else "unit"


@pytest.hookimpl(tryfirst=True)  # before pytest selects by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """Marks the tests; in a process of pytest-xdist also groups those that must run in the same process."""
    groups: dict[pytest.Function, str] = {}
    for item in items:
        item.add_marker(need_of(item))
        shared = [name for name in SHARED if name in item.fixturenames]
        if shared:
            item.add_marker("slow")
        groups[item] = shared[0] if shared else item.nodeid.partition("::")[0]
    if hasattr(config, "workerinput"):
        slow = {group for item, group in groups.items() if item.get_closest_marker("slow")}
        items.sort(key=lambda item: groups[item] not in slow)  # so that no long group starts last
        for item, group in groups.items():
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fails a unit test that is the first to load Ray or DeepSpeed: it needs more than its marker says."""
    before = NOT_IN_UNIT_TESTS & sys.modules.keys()
    yield
    loaded = (NOT_IN_UNIT_TESTS & sys.modules.keys()) - before
    if loaded and item.get_closest_marker("unit"):
        pytest.fail(f"a unit test loaded {', '.join(sorted(loaded))}; tests/needs.py marks what needs them")
