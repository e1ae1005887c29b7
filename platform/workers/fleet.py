"""The interface of a fleet: groups of workers that each run one item at a time.

Owns Item, Group and Outcome, and the order in which items are handed out. The job, which knows the store, decides
whether to retry a failed item. Invariant: every submitted item is waiting, running, or returned in exactly one Outcome.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from longtake.platform.errors import ConfigError

DRAIN_SECONDS = 10.0
"""Seconds that running items get to end after a stop signal, unless a job says otherwise."""

Report = Callable[[dict[str, Any]], None]
"""Called by a worker with its progress; may raise Interrupted, which the worker must not catch."""


class Worker(Protocol):
    """A plain class. The constructor loads nothing, so a failure to load is the failure of an item."""

    def run(self, payload: Any, report: Report) -> Any: ...


@dataclass(frozen=True)
class Item:
    """One piece of work. `payload`: the worker's input, a frozen record that pickles. Items of larger `size` go first;
    among equal sizes a worker prefers the `affinity` of its last item. `last`: goes after all others."""

    payload: Any
    size: float = 0.0
    affinity: str = ""
    label: str = ""  # its name in displays
    last: bool = False


@dataclass(frozen=True)
class Patience:
    """How long a worker may report nothing before it counts as stalled and is replaced.

    `start_seconds`: until the first report of an item, such as for loading. `step_seconds`: between two reports, such
    as blocks. None: PACES times the longest step of the item so far, at least LEAST_SECONDS; `start_seconds` before the
    first step has ended, so the pace of a slow worker is not mistaken for a stall.
    """

    start_seconds: float = 1800.0
    step_seconds: float | None = 1800.0

    PACES: ClassVar[float] = 20.0
    LEAST_SECONDS: ClassVar[float] = 300.0

    def limit(self, reports: int, longest_step: float | None) -> float:
        """The allowed seconds of silence after `reports` reports of an item, whose steps took up to `longest_step`."""
        if reports == 0:
            return max(self.start_seconds, self.step_seconds or 0.0)
        if self.step_seconds is not None:
            return self.step_seconds
        return self.start_seconds if longest_step is None else max(self.LEAST_SECONDS, self.PACES * longest_step)


@dataclass(frozen=True)
class Group:
    """Workers of one kind. `patience`: when a silent worker is replaced; `settings`: the settings that errors advise to
    lower, for fewer workers or fewer GPUs each; `python`, `image`: the interpreter or container image of a separate
    environment (with Longtake, and the driver's Ray and Python)."""

    name: str
    make: Callable[[], Worker]
    count: int
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    patience: Patience = Patience()
    settings: tuple[str, ...] = ()
    python: str | None = None
    image: str | None = None

    @property
    def where(self) -> str:
        """Its name in errors."""
        return self.settings[0] if self.settings else self.name


@dataclass(frozen=True)
class Outcome:
    """The result of one attempt at an item. `error` is None on success; `died`: the worker died or stalled."""

    group: str
    item: Item
    value: Any = None
    error: Exception | None = None
    died: bool = False


@dataclass(frozen=True)
class Node:
    """The resources of one machine."""

    cpus: float
    gpus: float


@dataclass
class Running:
    """An item that a worker is running, for displays."""

    group: str
    worker: str
    item: Item
    since: float = field(default_factory=time.monotonic)
    report: dict[str, Any] = field(default_factory=dict)


OnStart = Callable[[str, Item], None]
"""Called with (group, item) in the driver, just before a worker gets the item."""


class Fleet(Protocol):
    def submit(self, group: str, item: Item) -> None:
        """Queues one item; mutates only the queue."""

    def poll(self, timeout_seconds: float) -> list[Outcome]:
        """Hands out items to idle workers, waits at most `timeout_seconds`, and returns the finished attempts."""

    def running(self) -> list[Running]: ...

    def clear(self) -> None:
        """Removes the waiting items."""

    def close(self) -> None:
        """Stops every worker, even if it is running an item."""


class ItemQueue:
    """A queue by size, largest first; among equal sizes, the preferred affinity first, then first in, first out."""

    def __init__(self) -> None:
        self._by_size: dict[float, dict[str, deque[Item]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: Item) -> None:
        self._by_size.setdefault(-1.0 if item.last else item.size, {}).setdefault(item.affinity, deque()).append(item)
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
    """Raises ConfigError if the workers do not fit on the nodes: a request that does not fit would wait forever."""
    left = [[node.cpus, node.gpus] for node in nodes]
    requests = sorted(((g.num_gpus, g.num_cpus, g) for g in groups for _ in range(g.count)), key=lambda r: r[:2])
    for gpus, cpus, group in reversed(requests):
        slot = next((s for s in left if s[0] + 1e-6 >= cpus and s[1] + 1e-6 >= gpus), None)
        if slot is None:
            lower = f"lower {' or '.join(group.settings)}, or " if group.settings else ""
            raise ConfigError(
                f"{group.where}: {group.count} x ({cpus:g} CPU, {gpus:g} GPU) do not fit on the cluster's "
                f"{describe_nodes(nodes)}; {lower}join a larger cluster"
            )
        slot[0] -= cpus
        slot[1] -= gpus


def describe_nodes(nodes: list[Node]) -> str:
    kinds: dict[Node, int] = {}
    for node in nodes:
        kinds[node] = kinds.get(node, 0) + 1
    return ", ".join(f"{n} x ({kind.cpus:g} CPU, {kind.gpus:g} GPU)" for kind, n in kinds.items()) or "no nodes"
