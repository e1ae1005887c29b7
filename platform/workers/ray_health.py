"""Watches a Ray cluster while a job runs on it: whether the head answers, and which nodes are alive.

When the head is lost, calls of Ray block, and Ray ends the process 60 s later with exit code 1, without a `finally`. So
one thread asks the head for its nodes, and the loops of jobs call `check`, which never calls Ray. A second thread ends
the process with the exit code of ClusterUnavailable if the job is blocked in a call of Ray; no state is lost by that,
since the store is complete at every moment.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from longtake.platform.errors import ClusterUnavailable
from longtake.platform.workers.fleet import Group, Node, describe_nodes

ASK_SECONDS = 1.0
LOST_SECONDS = 20.0
"""Silence of the head, or absence of every node that fits, after which the cluster is lost: time for a restart."""
END_SECONDS = 30.0
"""Silence of the head after which a blocked process is ended: before Ray does so, at 60 s."""

REACH_SECONDS = 10.0


class ClusterHealth:
    """Watches a cluster until `ending`. `home`: the id of this process' node; `nodes_of_head`: asks the head for the
    nodes that are alive, by id, and may block or raise."""

    def __init__(self, address: str, home: str, nodes_of_head: Callable[[], dict[str, Node]]):
        self.address, self.home, self.nodes_of_head = address, home, nodes_of_head
        self.nodes = nodes_of_head()
        self.silent_seconds = 0.0  # counted by `guard`, so a stopped process does not count as a silent head
        self.unfit_since: dict[str, float] = {}
        self.answered_last, self.stopped = threading.Event(), threading.Event()
        self.asking = threading.Thread(target=self.ask, daemon=True, name="cluster-ask")
        self.asking.start()
        threading.Thread(target=self.guard, daemon=True, name="cluster-guard").start()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Ends the questions, then runs the block that leaves the cluster; guarded only if the head is silent."""
        self.answered_last.set()
        self.asking.join(2 * ASK_SECONDS)
        if not self.is_silent:
            self.stopped.set()
        try:
            yield
        finally:
            self.stopped.set()

    @property
    def is_silent(self) -> bool:
        return self.silent_seconds > LOST_SECONDS

    @property
    def is_lost(self) -> bool:
        """Whether calls of Ray may block."""
        return self.is_silent or self.home not in self.nodes

    def ask(self) -> None:
        while not self.answered_last.wait(ASK_SECONDS):
            try:
                self.nodes = self.nodes_of_head()
            except Exception:  # whatever Ray raises without a head; the next answer may come
                continue
            self.silent_seconds = 0.0

    def guard(self) -> None:
        while not self.stopped.wait(ASK_SECONDS):
            self.silent_seconds += ASK_SECONDS
            if self.silent_seconds > END_SECONDS:
                print(f"longtake: {self.silence()}", file=sys.stderr, flush=True)
                os._exit(ClusterUnavailable.exit_code)

    def check(self, groups: Iterable[Group] = ()) -> None:
        """Raises ClusterUnavailable if the head is silent, this machine's node is lost, or no node fits a group."""
        now = time.monotonic()
        if self.is_silent:
            raise ClusterUnavailable(self.silence())
        if self.home not in self.nodes:
            raise ClusterUnavailable(
                f"workers.cluster: {self.where} lost the node of this process; start it and run again to resume"
            )
        for group in groups:
            if any(node.cpus >= group.num_cpus and node.gpus >= group.num_gpus for node in self.nodes.values()):
                self.unfit_since.pop(group.name, None)
            elif now - self.unfit_since.setdefault(group.name, now) > LOST_SECONDS:
                raise ClusterUnavailable(
                    f"{group.where}: no node of {self.where} is left for {group.num_cpus:g} CPU and "
                    f"{group.num_gpus:g} GPU, only {describe_nodes([*self.nodes.values()])}; run again to resume"
                )

    @property
    def where(self) -> str:
        return f"the Ray cluster ({self.address})"

    def silence(self) -> str:
        return (
            f"workers.cluster: the head of {self.where} has not answered for {self.silent_seconds:.0f} s; "
            "start it and run again to resume"
        )


def check_reachable(address: str) -> None:
    """Raises ClusterUnavailable if nothing listens at HOST:PORT, for which Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return  # local, auto, or an address that Ray refuses
    try:
        with socket.create_connection((host, int(port)), REACH_SECONDS):
            return
    except OSError as error:
        raise ClusterUnavailable(
            f"workers.cluster: nothing answers at {address!r}: {error.strerror or error}; "
            "start the head of the cluster, or correct the address, and run again"
        ) from error


def watch(address: str) -> ClusterHealth:
    """Starts watching the cluster that this process has joined."""
    import ray

    return ClusterHealth(address, ray.get_runtime_context().get_node_id(), alive_nodes)


def alive_nodes() -> dict[str, Node]:
    """Id -> resources of the nodes that are alive. Asks the head."""
    import ray

    return {row["NodeID"]: node_of(row["Resources"]) for row in ray.nodes() if row["Alive"]}


def node_of(resources: dict[str, Any]) -> Node:
    return Node(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))
