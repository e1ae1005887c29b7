"""Decides when a job gives up on an item: counts its failures and, apart from them, the deaths of its workers.

A *failure* is an error that an item raised in a worker that survived. An item is set aside after MAX_FAILURES of them,
counted over all runs. A *death* is a worker that was killed, ran out of memory, lost its node or stalled. Most deaths
have a cause outside the item, so they are counted per run, and only while they follow each other:

- A batch whose worker died runs together again. After MAX_SHARED_DEATHS its items are suspects; each then runs alone.
- An item is set aside after MIN_DEATHS deaths of workers that ran it alone. If workers also die with other items, this
  takes more deaths (`deaths_allowed`), up to MAX_DEATHS.
- MAX_DEATHS deaths in a row with several items, and no worker that survives, are a fault of the machine: the run ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from textwrap import shorten
from typing import Generic, TypeVar

from longtake.platform.errors import SetupError, masked, without_colours
from longtake.platform.printable import printable
from longtake.platform.store.records import Failure

MAX_FAILURES = 3
MAX_SHARED_DEATHS = 2
MIN_DEATHS, MAX_DEATHS = 3, 10
MIN_ITEMS = 4
"""Items whose workers must have died, without a survivor in between, before the machine is to blame."""
CHANCE = 1e-5
"""Accepted probability that an item is set aside although its workers died from other causes."""
MAX_REASON = 8000
"""Longest stored reason, in characters."""

Key = TypeVar("Key", bound=Hashable)


class Attempts(Generic[Key]):
    """The attempts of a run at its items. `failures`: key -> failed attempts of earlier runs; those of this run are
    added."""

    def __init__(self, failures: Mapping[Key, list[Failure]] | None = None):
        self.failures = dict(failures or {})
        self.deaths = Counter[tuple[str, Key]]()
        self.shared_deaths = Counter[tuple[str, Key]]()
        self.without_survivor: dict[str, list[frozenset[Key]]] = {}
        self.tried: set[tuple[str, frozenset[Key]]] = set()
        self.lost: set[tuple[str, frozenset[Key]]] = set()

    def ended(self, stage: str, keys: Iterable[Key], died: bool) -> None:
        """Notes the end of an attempt at the items `keys`, which ran together, whatever its outcome."""
        together = frozenset(keys)
        self.tried.add((stage, together))
        counts = self.deaths if len(together) == 1 else self.shared_deaths
        if died:
            self.lost.add((stage, together))
            self.without_survivor.setdefault(stage, []).append(together)
            counts.update((stage, key) for key in together)
        else:
            self.without_survivor.pop(stage, None)
            for key in together:
                counts.pop((stage, key), None)

    def check_workers(self, stage: str, error: Exception) -> None:
        """Raises SetupError if no worker survives, whatever it runs. `error`: that of the last death."""
        dead = self.without_survivor.get(stage, [])
        if len(dead) >= MAX_DEATHS and len(set(dead)) >= MIN_ITEMS:
            raise SetupError(
                f"workers: {len(dead)} died in a row, {stage} {len(set(dead))} different items; the last: "
                f"{shorten(reason_of(error), 500)}; check the memory and the libraries of the machine and run again"
            )

    def failed(self, stage: str, key: Key, error: Exception, died: bool) -> Failure:
        """The record to store of an item that failed alone, or whose worker died; call `ended` first."""
        is_killer = died and self.deaths[stage, key] >= self.deaths_allowed(stage, key)
        failure = Failure(stage, reason_of(error), died, is_killer)
        self.failures.setdefault(key, []).append(failure)
        return failure

    def deaths_allowed(self, stage: str, key: Key) -> int:
        """The number of deaths in a row that sets the item aside.

        Let r be the share of the other items (or batches) of this run that lost a worker. Deaths from causes outside
        the item hit it n times in a row with probability r^n, so this is the smallest n with r^n <= CHANCE, from
        MIN_DEATHS to MAX_DEATHS.
        """
        tried = sum(key not in together for one, together in self.tried if one == stage)
        lost = sum(key not in together for one, together in self.lost if one == stage)
        if lost == 0:
            return MIN_DEATHS
        if lost == tried:
            return MAX_DEATHS
        return min(MAX_DEATHS, max(MIN_DEATHS, math.ceil(math.log(CHANCE) / math.log(lost / tried))))

    def count(self, key: Key) -> str:
        """The number of failures like the item's last one, such as '3 failed attempts'."""
        last = self.failures[key][-1]
        if last.died:
            return f"{self.deaths[last.stage, key]} dead workers"
        return f"{sum(one.stage == last.stage and not one.died for one in self.failures[key])} failed attempts"

    def is_set_aside(self, stage: str, key: Key) -> bool:
        """Whether the item has no attempts left at this stage, from this run or an earlier one."""
        rows = [one for one in self.failures.get(key, []) if one.stage == stage]
        return sum(not one.died for one in rows) >= MAX_FAILURES or any(one.set_aside for one in rows)

    def runs_alone(self, stage: str, key: Key) -> bool:
        """Whether the item is a suspect: it failed by itself, or the workers of its batches died in a row."""
        own = any(one.stage == stage and not one.died for one in self.failures.get(key, []))
        return own or self.shared_deaths[stage, key] >= MAX_SHARED_DEATHS

    def goes_last(self, stage: str, key: Key) -> bool:
        """Whether one more death may set the item aside; the others go first and show whether workers survive them."""
        return self.deaths[stage, key] >= MIN_DEATHS - 1

    def forget(self, key: Key) -> None:
        """Gives an item that was set aside all of its attempts again."""
        self.failures.pop(key, None)


def reason_of(error: Exception) -> str:
    """The whole error in one line, with its type; without passwords and colours."""
    text = " ".join(masked(without_colours(str(error))).split()) or "no message"
    return f"{type(error).__name__}: {printable(text[:MAX_REASON])}"
