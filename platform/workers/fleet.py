"""What a fleet is: groups of workers that each take one item at a time.

Owns Item, Group and Outcome, and the order in which items are handed out. It never decides whether a failed item is
tried again; the job does, since it knows the store. Invariant: every submitted item is waiting, running, or has come
back in exactly one Outcome.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from longtake.platform.errors import ConfigError

Report = Callable[[dict[str, Any]], None]
"""Called by a worker with what it is doing; it may raise Interrupted, which the worker lets pass."""


class Worker(Protocol):
    """A plain class; its constructor loads nothing, so that a failure to load is the failure of an item."""

    def run(self, payload: Any, report: Report) -> Any: ...


@dataclass(frozen=True)
class Item:
    """One piece of work: its `payload` is what the worker gets, a frozen record that pickles. Larger `size` goes first;
    among equals a worker prefers the `affinity` that it had last."""

    payload: Any
    size: float = 0.0
    affinity: str = ""
    label: str = ""  # what a display calls it


@dataclass(frozen=True)
class Group:
    """Workers of one kind. `stall_seconds`: a worker that reports nothing new for so long is replaced; `settings`: what
    a user lowers to have fewer workers, or fewer GPUs for each, as errors say; `python`, `image`: an interpreter, or a
    container's image, of an environment of their own (with Longtake, and the driver's Ray and Python)."""

    name: str
    make: Callable[[], Worker]
    count: int
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    stall_seconds: float = 1800.0
    settings: tuple[str, ...] = ()
    python: str | None = None
    image: str | None = None

    @property
    def where(self) -> str:
        """What errors call it."""
        return self.settings[0] if self.settings else self.name


@dataclass(frozen=True)
class Outcome:
    """How one attempt at an item ended. `error` is None when it went well; `died`: it took its worker along."""

    group: str
    item: Item
    value: Any = None
    error: Exception | None = None
    died: bool = False


@dataclass(frozen=True)
class Node:
    """What one machine offers."""

    cpus: float
    gpus: float


@dataclass
class Running:
    """An item in the hands of a worker, as a display needs it."""

    group: str
    worker: str
    item: Item
    since: float = field(default_factory=time.monotonic)
    report: dict[str, Any] = field(default_factory=dict)


OnStart = Callable[[str, Item], None]
"""Called in the driver just before an item is handed to a worker: (group, item)."""


class Fleet(Protocol):
    def submit(self, group: str, item: Item) -> None:
        """Queue one item; mutates the queue only."""

    def poll(self, timeout_seconds: float) -> list[Outcome]:
        """Hand out what can be handed out, wait at most so long, and return what has ended."""

    def running(self) -> list[Running]: ...

    def clear(self) -> None:
        """Forget what is waiting."""

    def close(self) -> None:
        """End every worker, whatever it is doing."""


class ItemQueue:
    """Largest first; among equals first in, first out, the preferred affinity before others."""

    def __init__(self) -> None:
        self._by_size: dict[float, dict[str, deque[Item]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: Item) -> None:
        self._by_size.setdefault(item.size, {}).setdefault(item.affinity, deque()).append(item)
        self._count += 1

    def pop(self, affinity: str) -> Item:
        size = max(self._by_size)
        lanes = self._by_size[size]
        lane = affinity if affinity in lanes else next(iter(lanes))
        item = lanes[lane].popleft()
        if not lanes[lane]:
            del lanes[lane]
        if not lanes:
            del self._by_size[size]
        self._count -= 1
        return item


def check_requests(groups: list[Group], nodes: list[Node]) -> None:
    """ConfigError if the groups' workers do not fit on the nodes; a request that no node meets would wait for ever."""
    left = [[node.cpus, node.gpus] for node in nodes]
    requests = sorted(((g.num_gpus, g.num_cpus, g) for g in groups for _ in range(g.count)), key=lambda r: r[:2])
    for gpus, cpus, group in reversed(requests):
        slot = next((s for s in left if s[0] + 1e-6 >= cpus and s[1] + 1e-6 >= gpus), None)
        if slot is None:
            lower = f"lower {' or '.join(group.settings)}, or " if group.settings else ""
            raise ConfigError(
                f"{group.where}: {group.count} x ({cpus:g} CPU, {gpus:g} GPU) do not fit on the cluster's "
                f"{describe_nodes(nodes)}; {lower}join a larger one"
            )
        slot[0] -= cpus
        slot[1] -= gpus


def describe_nodes(nodes: list[Node]) -> str:
    kinds: dict[Node, int] = {}
    for node in nodes:
        kinds[node] = kinds.get(node, 0) + 1
    return ", ".join(f"{n} x ({kind.cpus:g} CPU, {kind.gpus:g} GPU)" for kind, n in kinds.items()) or "no nodes"
