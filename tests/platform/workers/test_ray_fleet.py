"""Order, requests and the fleet of actors: what dies is replaced, what ends is told exactly once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from longtake.platform.errors import ClusterUnavailable, ConfigError
from longtake.platform.workers import ray_fleet
from longtake.platform.workers.fleet import (
    Fleet,
    Group,
    Item,
    ItemQueue,
    Node,
    Outcome,
    Patience,
    Report,
    check_requests,
)
from longtake.platform.workers.inline import InlineFleet
from longtake.platform.workers.ray_cluster import connect
from longtake.platform.workers.ray_fleet import RayFleet, WorkerDied
from longtake.platform.workers.signals import StopFlag


class Echo:
    """Waits as long as it is told, reporting, and answers its payload; or fails, or takes its process along."""

    def run(self, payload: Any, report: Report) -> Any:
        report({"done": 0, "total": 1, "unit": "step"})
        if payload == "fail":
            raise ValueError("told to fail")
        if payload == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(payload)
        return payload


def test_the_largest_goes_first_and_equals_keep_their_worker() -> None:
    queue = ItemQueue()
    for key, size, affinity in [("a1", 1, "a"), ("b9", 9, "b"), ("a9", 9, "a"), ("a9b", 9, "a"), ("b1", 1, "b")]:
        queue.push(Item(key, size, affinity))
    assert queue.pop("a").payload == "a9"
    assert queue.pop("a").payload == "a9b"
    assert queue.pop("a").payload == "b9"  # larger beats the affinity
    assert queue.pop("b").payload == "b1"
    assert queue.pop("b").payload == "a1"
    assert len(queue) == 0
    for key, last in [("suspect", True), ("small", False)]:
        queue.push(Item(key, 9 if last else 1, last=last))
    assert [queue.pop("").payload for _ in range(2)] == ["small", "suspect"]


def test_requests_must_fit_node_by_node() -> None:
    two_small = [Node(2, 0), Node(2, 0)]
    check_requests([Group("samplers", Echo, 4, 1, 0), Group("evaluators", Echo, 2, 0, 0)], two_small)
    named = Group("samplers", Echo, 5, 1, 0, settings=("workers.samplers", "workers.gpus_per_sampler"))
    with pytest.raises(ConfigError) as caught:
        check_requests([named], two_small)
    assert str(caught.value) == (
        "workers.samplers: 5 x (1 CPU, 0 GPU) do not fit on the cluster's 2 x (2 CPU, 0 GPU); "
        "lower workers.samplers or workers.gpus_per_sampler, or join a larger cluster"
    )
    with pytest.raises(ConfigError, match=r"^encoders: 1 x \(1 CPU, 1 GPU\) do .* GPU\); join a larger cluster$"):
        check_requests([Group("encoders", Echo, 1, 1, 1)], two_small)
    with pytest.raises(ConfigError):  # 4 CPUs in all, but no node has 3
        check_requests([Group("samplers", Echo, 1, 3, 0)], two_small)


def collect(fleet: Fleet, count: int, seconds: float = 60.0) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        for outcome in fleet.poll(0.25):
            assert outcome.item.label not in found
            found[outcome.item.label] = outcome
    return found


def test_the_inline_fleet_runs_later_groups_first_and_keeps_failures_apart() -> None:
    started: list[str] = []
    groups = [Group("make", Echo, 1), Group("score", Echo, 1)]
    fleet = InlineFleet(groups, lambda group, item: started.append(item.label), StopFlag(), None)
    for key, group, payload in [("m", "make", 0), ("s", "score", 0), ("f", "make", "fail")]:
        fleet.submit(group, Item(payload, label=key))
    outcomes = collect(fleet, 3)
    assert started == ["s", "m", "f"]
    assert outcomes["m"].value == 0
    assert isinstance(outcomes["f"].error, ValueError)
    assert fleet.poll(0) == []


def test_a_signal_stops_an_inline_item_at_its_next_report() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with connect("inline") as cluster:
        stop = cluster.stop
        fleet = InlineFleet([Group("make", Echo, 1)], lambda group, item: None, stop, None)
        fleet.submit("make", Item(0, label="m"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert fleet.poll(0) == []
        assert stop.is_set
        assert stop.signal_name == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def actors(count: int) -> tuple[list[Group], Callable[[str, Item], None]]:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return [Group("make", partial(Echo), count, num_cpus=0)], lambda group, item: None


@pytest.mark.usefixtures("ray_local")
def test_an_actor_that_dies_is_replaced_and_its_item_comes_back_failed() -> None:
    with connect("local") as cluster:
        fleet = cluster.fleet(*actors(2))
        assert isinstance(fleet, RayFleet)
        for key, payload in [("die", "die"), ("fail", "fail"), ("a", 0.1), ("b", 0.2), ("c", 0.0)]:
            fleet.submit("make", Item(payload, label=key))
        outcomes = collect(fleet, 5)
        assert isinstance(outcomes["die"].error, WorkerDied)
        assert outcomes["die"].died
        assert isinstance(outcomes["fail"].error, ValueError)
        assert [outcomes[key].value for key in "abc"] == [0.1, 0.2, 0.0]
        fleet.submit("make", Item(30, label="long"))
        while not (fleet.running() and fleet.running()[0].report):
            fleet.poll(0.25)
        assert fleet.running()[0].report == {"done": 0, "total": 1, "unit": "step"}
        fleet.close()
        assert fleet.running() == []


@pytest.mark.usefixtures("ray_local")
def test_a_stalled_actor_is_replaced() -> None:
    with connect("local") as cluster:
        groups, on_start = actors(1)
        fleet = cluster.fleet([Group("make", groups[0].make, 1, 0, 0, patience=Patience(step_seconds=1.5))], on_start)
        fleet.submit("make", Item(60, label="stuck"))
        outcome = collect(fleet, 1)["stuck"]
        assert outcome.died
        assert "reported nothing" in str(outcome.error)
        fleet.submit("make", Item(0, label="next"))
        assert collect(fleet, 1)["next"].value == 0
        fleet.close()


class Where:
    """Answers which Python it runs in."""

    def run(self, payload: Any, report: Report) -> Any:
        return sys.prefix


def environment(folder: Path) -> Path:
    """A virtual environment of its own that has what this one has; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    ours = Path(pytest.__file__).parents[1]
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
    return folder / "bin" / "python"


@pytest.mark.usefixtures("ray_local")
def test_a_group_may_run_in_a_python_of_its_own(tmp_path: Path) -> None:
    python = environment(tmp_path / "other")
    with connect("local") as cluster:
        groups, on_start = actors(1)
        there = Group("there", partial(Where), 1, num_cpus=0, python=str(python))
        fleet = cluster.fleet([replace(groups[0], make=partial(Where)), there], on_start)
        fleet.submit("make", Item(None, label="here"))
        fleet.submit("there", Item(None, label="there"))
        outcomes = collect(fleet, 2)
        assert outcomes["here"].value == sys.prefix
        assert outcomes["there"].value == str(tmp_path / "other")
        fleet.close()


def test_patience_follows_the_pace_of_the_item() -> None:
    auto, fixed = Patience(step_seconds=None), Patience(step_seconds=5.0)
    assert [auto.limit(0, None), auto.limit(1, None)] == [1800, 1800]  # loading, and the first block
    assert [auto.limit(2, 0.1), auto.limit(9, 60.0), auto.limit(9, 3600.0)] == [300, 1200, 72000]
    assert [fixed.limit(0, None), fixed.limit(1, None), fixed.limit(2, 60.0)] == [1800, 5, 5]
    assert Patience(step_seconds=7200.0).limit(0, None) == 7200


@pytest.mark.usefixtures("ray_local")
def test_a_cluster_without_a_free_place_is_busy_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect("local") as cluster:
        groups, on_start = actors(1)
        first, second = (cluster.fleet([replace(groups[0], num_cpus=2.0)], on_start) for _ in range(2))
        first.submit("make", Item(60, label="long"))
        while not first.running():
            first.poll(0.25)
        monkeypatch.setattr(ray_fleet, "START_LIMIT_SECONDS", 1.0)
        second.submit("make", Item(0, label="waits"))
        with pytest.raises(ClusterUnavailable, match=r"make: no worker with 2 CPU .* the cluster is busy: run again"):
            collect(second, 1)
        second.close()
        first.close()
