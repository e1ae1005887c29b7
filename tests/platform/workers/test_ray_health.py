"""A lost head, a lost node and a busy cluster are errors that ask for the same command again (exit code 75)."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from longtake.platform.errors import ClusterUnavailable, ConfigError
from longtake.platform.workers import ray_cluster, ray_health
from longtake.platform.workers.fleet import Group, Node
from longtake.platform.workers.ray_cluster import Cluster
from longtake.platform.workers.ray_health import ClusterHealth, check_reachable
from longtake.platform.workers.signals import StopFlag

HOME, OTHER = "home", "other"


class Head:
    """Answers with `nodes`, raises without any, or blocks."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] | None = {HOME: Node(2, 0), OTHER: Node(2, 1)}
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> dict[str, Node]:
        self.answers.wait()
        if self.nodes is None:
            raise RuntimeError("no head")
        return self.nodes


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Head:
    monkeypatch.setattr(ray_health, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(ray_health, "LOST_SECONDS", 0.1)
    return Head()


@contextmanager
def watched(head: Head) -> Iterator[ClusterHealth]:
    health = ClusterHealth("head:6379", HOME, head)
    try:
        yield health
    finally:
        head.answers.set()
        with health.ending():
            pass


def until_lost(check: Callable[[], None]) -> ClusterUnavailable:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            check()
        except ClusterUnavailable as error:
            return error
        time.sleep(0.01)
    raise AssertionError("still not lost")


@pytest.mark.parametrize("way", ["blocks", "raises"])
def test_a_head_that_does_not_answer_is_lost(head: Head, way: str) -> None:
    with watched(head) as health:
        health.check()
        if way == "blocks":
            head.answers.clear()
        else:
            head.nodes = None
        assert "the head of the Ray cluster (head:6379) has not answered" in str(until_lost(health.check))
        assert health.is_lost


def test_the_node_of_the_driver_is_needed_and_others_are_not(head: Head) -> None:
    group = Group("samplers", object, 1, 1.0)  # type: ignore[arg-type]
    with watched(head) as health:
        head.nodes = {HOME: Node(2, 0)}
        time.sleep(0.2)
        health.check([group])
        head.nodes = {OTHER: Node(2, 1)}
        assert "lost the node of this process" in str(until_lost(health.check))


def test_a_group_that_fits_on_no_node_any_more_ends_the_run(head: Head) -> None:
    group = Group("samplers", object, 1, 1.0, 1.0, settings=("workers.samplers",))  # type: ignore[arg-type]
    with watched(head) as health:
        health.check([group])
        head.nodes = {HOME: Node(2, 0)}
        error = until_lost(lambda: health.check([group]))
        assert str(error).startswith(
            "workers.samplers: no node of the Ray cluster (head:6379) is left for 1 CPU and 1 GP"
        )


def test_a_run_waits_for_the_nodes_of_a_cluster_that_restarts(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [Group("samplers", object, 2, 1.0, settings=("workers.samplers",))]  # type: ignore[arg-type]
    head.nodes = {HOME: Node(1, 0)}
    with watched(head) as health:
        cluster = Cluster("head:6379", [Node(1, 0)], StopFlag(), health)
        joining = threading.Timer(0.1, lambda: head.nodes.update({OTHER: Node(1, 0)}))  # type: ignore[union-attr]
        joining.start()
        cluster.fleet(groups)
        joining.join()
        assert len(cluster.nodes) == 2
        monkeypatch.setattr(ray_cluster, "JOIN_SECONDS", 0.0)
        with pytest.raises(ConfigError, match=r"^workers\.samplers: 3 x \(1 CPU, 0 GPU\) do not fit"):
            cluster.fleet([replace(groups[0], count=3)])


def test_an_address_where_nothing_listens_is_told_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, but not listening
        with pytest.raises(ClusterUnavailable, match=r"nothing answers at '127\.0\.0\.1:\d+': Connection refused"):
            check_reachable(f"127.0.0.1:{probe.getsockname()[1]}")
        probe.listen()
        check_reachable(f"127.0.0.1:{probe.getsockname()[1]}")
        check_reachable(f"ray://127.0.0.1:{probe.getsockname()[1]}")
    for address in ("local", "auto", "nonsense"):
        check_reachable(address)
