"""An index of the store: what the visible files hold, read again only where one has changed. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from longtake.dashboards.file_cache import FileCache
from longtake.dashboards.sweep_config import mlflow_of, suites_of
from longtake.dashboards.take_states import STATES, TakeState, TakeStates
from longtake.dashboards.visible_folder import Missing, VisibleFolder
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.sweep import TAKE_ID, SweepStore
from longtake.platform.takes import Take

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """The takes of a sweep, with the values that lists of them need."""

    takes: list[Take]
    by_id: dict[str, Take]
    prompts: list[str]
    suites: list[str]

    def distinct(self, of: Callable[[Take], T]) -> list[T]:
        """The distinct values in the order of the plan."""
        return list(dict.fromkeys(of(take) for take in self.takes))


class StoreIndex(VisibleFolder):
    """An index of one folder of sweeps. Thread-safe."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigError if the folder does not exist or is the folder of a single sweep."""
        super().__init__(root)
        self.files = FileCache()
        self.scanned = TakeStates()

    def take(self, store: SweepStore, take_id: str) -> Take:
        """A planned take. Raises Missing."""
        take = self.plan(store).by_id.get(take_id) if TAKE_ID.fullmatch(take_id) else None
        if take is None:
            raise Missing("no such take in this sweep")
        scores = [store.scores_file(take.id, suite) for suite in store.suites_of(take.id)]
        self.keep_inside(store.failures_file(take.id), store.result_file(take.id), *scores)
        return take

    def plan(self, store: SweepStore) -> Plan:
        """Raises StorageError if the plan is damaged."""
        suites = self.files.get(store.sweep_file, "suites", lambda: suites_of(store))
        plan = self.files.get(store.plan_file, "plan", lambda: plan_of(store.plan()))
        return replace(plan, suites=suites)

    def ranks(self, store: SweepStore) -> Ranks | None:
        """The ranks; None if there are none yet or the file is malformed."""
        return self.files.get(store.ranks_file, "ranks", store.ranks)

    def progress(self, store: SweepStore) -> dict[str, Any]:
        return self.files.get(store.progress_file, "progress", store.progress) or {}

    def mlflow(self, store: SweepStore) -> str | None:
        """The MLflow address of the sweep, if it is a web address."""
        return self.files.get(store.sweep_file, "mlflow", lambda: mlflow_of(store))

    def states(self, store: SweepStore, takes: list[Take] | None = None) -> dict[str, TakeState]:
        """Take id -> state, for at least `takes`, or for all planned takes."""
        plan = self.plan(store)
        if takes is None:
            return self.scanned.of_all(store, plan.takes, plan.suites)
        return self.scanned.of_some(store, plan.takes, plan.suites, takes)

    def counts(self, store: SweepStore) -> dict[str, int]:
        """State -> number of takes."""
        counted = Counter(one.state for one in self.states(store).values())
        return {state: counted[state] for state in STATES}


def plan_of(takes: list[Take]) -> Plan:
    """The plan, without the labels of its suites."""
    prompts = list(dict.fromkeys(take.full_prompt for take in takes))
    return Plan(takes, {take.id: take for take in takes}, prompts, [])
