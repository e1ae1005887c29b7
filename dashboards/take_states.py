"""The states of takes, read from the store and kept for a moment, so that a store of 10,000 takes responds at once.

A take is `scored` or `made`, as the store defines it, `failed` (not made, with failed attempts) or `planned`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from longtake.platform.store.index import TakeIndex
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take

STATES = ("planned", "made", "scored", "failed")
FRESH_SECONDS = 1.0
"""Scanned states stay valid for this long, or for ten times the duration of the scan if that is longer."""


@dataclass(frozen=True)
class TakeState:
    """The state of a take, and whether it has failed attempts."""

    state: str
    has_failures: bool


PLANNED = TakeState("planned", False)


class TakeStates:
    """The states of the takes of several sweeps. Thread-safe."""

    def __init__(self) -> None:
        self.indexes: dict[str, TakeIndex] = {}
        self.lock = threading.Lock()
        self.scans: dict[str, tuple[float, dict[str, TakeState]]] = {}

    def of_all(self, store: SweepStore, planned: list[Take], suites: list[str]) -> dict[str, TakeState]:
        """Take id -> state, for all planned takes of a sweep: those of the latest scan while it is valid."""
        started = time.monotonic()
        if (kept := self.valid(store, planned)) is not None:
            return kept
        states = self.of(store, planned, suites)
        done = time.monotonic()
        self.scans[store.name] = (done + max(FRESH_SECONDS, 10 * (done - started)), states)
        return states

    def of_some(
        self, store: SweepStore, planned: list[Take], suites: list[str], takes: list[Take]
    ) -> dict[str, TakeState]:
        """Take id -> state, for at least `takes`."""
        kept = self.valid(store, planned)
        return self.of(store, takes, suites) if kept is None else kept

    def valid(self, store: SweepStore, planned: list[Take]) -> dict[str, TakeState] | None:
        """The latest scan, unless it is too old or of another plan."""
        valid_until, states = self.scans.get(store.name, (0.0, {}))
        return states if time.monotonic() < valid_until and len(states) == len(planned) else None

    def of(self, store: SweepStore, takes: list[Take], suites: list[str]) -> dict[str, TakeState]:
        with self.lock:
            index = self.indexes.setdefault(store.name, store.index())
            return {take.id: state_of(store, index, take.id, suites) for take in takes}


def state_of(store: SweepStore, index: TakeIndex, take_id: str, suites: list[str]) -> TakeState:
    """The state of a take; its files are read again only if they have changed."""
    facts, has_failures = index.facts(take_id, suites), store.has_failures(take_id)
    if not facts.made:
        return TakeState("failed" if has_failures else "planned", has_failures)
    return TakeState("scored" if suites and facts.is_scored(suites) else "made", has_failures)
