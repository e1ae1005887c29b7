"""What a sweep still lacks, and what comes of each attempt.

Owns the order of work (make, then score) and the retry rule: a take that failed MAX_FAILURES times is set aside, across
runs, because failures are counted in the store. An attempt that was cut off by a stop or by the death of the driver is
nobody's fault and counts for nothing. Errors that are no take's fault (a full disk, missing weights) end the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.workers.scoring import current_scores, joined, metric_groups, unscored
from longtake.platform.errors import ConfigError, SetupError, StorageError, WeightsError
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take
from longtake.platform.workers.fleet import Fleet, Item, Outcome, Running

SAMPLERS, EVALUATORS = "samplers", "evaluators"
MAX_FAILURES = 3
SCORING = "scoring: "
TOGETHER = "+"
PART = ":"
NOBODYS_FAULT = (StorageError, WeightsError, ConfigError, SetupError)


@dataclass
class Snapshot:
    """Where the sweep stands. `made` and `scored` count takes (None where none is to be scored); `new_` those of this
    run."""

    total: int = 0
    made: int = 0
    scored: int | None = 0
    failed: int = 0
    new_made: int = 0
    seconds: float = 0.0
    takes_per_minute: float | None = None
    seconds_left: float | None = None
    running: list[Running] = field(default_factory=list)


@dataclass
class Round:
    """One scoring of a take in parts: which one it is, how many parts it has, and those that are there."""

    number: int
    parts: int
    values: dict[int, dict[str, Any]] = field(default_factory=dict)


class Scheduler:
    """Hands items to the fleet and books their outcomes. `say` receives a line for what a user should know."""

    def __init__(
        self,
        store: SweepStore,
        takes: list[Take],
        suites: list[SuiteEntry],
        say: Callable[[str], None],
        parts: int = 1,
    ):
        self.store, self.takes, self.suites, self.say = store, {take.id: take for take in takes}, suites, say
        self.parts, self.rounds = parts, dict[str, Round]()
        self.fleet: Fleet | None = None
        self.made: set[str] = set()
        self.scored: set[str] = set()
        self.failed: set[str] = set()
        self.failures: dict[str, list[str]] = store.failures()
        self.results: list[TakeResult] = []
        self.unscored: list[dict[str, dict[str, str]]] = []
        self.started = time.monotonic()
        self.size_made = self.size_scored = 0.0

    @property
    def unfinished(self) -> int:
        return len(self.takes) - len(self.scored | self.failed)

    def read(self) -> list[tuple[str, Item]]:
        """Look at the store: what is there is booked, what is missing is returned as (group, item)."""
        done = self.store.done_ids()
        self.made = {take_id for take_id in self.takes if take_id in done}
        return [step for take in self.takes.values() for step in self.next_steps(take)]

    def gather(self, steps: list[tuple[str, Item]], batch: int) -> list[tuple[str, Item]]:
        """The same work, up to `batch` takes of one cell in one item where they are to be made; what failed before is
        alone in its item."""
        parts: dict[tuple[Cell, str], list[Take]] = {}
        for take in [self.takes[item.key] for group, item in steps if group == SAMPLERS]:
            parts.setdefault((take.cell, take.id if take.id in self.failures else ""), []).append(take)
        making = [making_of(part) for takes in parts.values() for part in batched(takes, batch)]
        return [(SAMPLERS, item) for item in making] + [step for step in steps if step[0] != SAMPLERS]

    def takes_of(self, item: Item) -> list[Take]:
        return [self.takes[take_id] for take_id in item.key.partition(PART)[0].split(TOGETHER)]

    def open(self, fleet: Fleet, items: list[tuple[str, Item]]) -> None:
        """Hand the missing work to the fleet."""
        self.fleet, self.started = fleet, time.monotonic()
        for group, item in items:
            fleet.submit(group, item)

    def next_steps(self, take: Take) -> list[tuple[str, Item]]:
        """The take's next step, in parts where it is scored so; none when it is through, or set aside."""
        if take.id not in self.made:
            return [] if self.set_aside(take, scoring=False) else [(SAMPLERS, making_of([take]))]
        missing = [entry for entry in self.suites if current_scores(self.store, take, entry) is None]
        if not missing:
            self.scored.add(take.id)
            return []
        return (
            [] if self.set_aside(take, scoring=True) else [(EVALUATORS, item) for item in self.scoring(take, missing)]
        )

    def scoring(self, take: Take, missing: list[SuiteEntry]) -> list[Item]:
        """One item, or one per part of the metrics, for several evaluators."""
        payload = {"take": take.to_json(), "suites": [entry.to_json() for entry in missing]}
        size, label = float(take.latent_frames), str(take.cell)
        if self.parts == 1:
            return [Item(take.id, payload, size, label=label)]
        groups = metric_groups(missing, self.parts)
        earlier = self.rounds.get(take.id)
        self.rounds[take.id] = Round(earlier.number + 1 if earlier else 1, len(groups))
        number = self.rounds[take.id].number
        return [
            Item(part_key(take.id, number, part), payload | {"only": names}, size / len(groups), label=label)
            for part, names in enumerate(groups)
        ]

    def submit_next(self, take: Take) -> None:
        for step in self.next_steps(take):
            assert self.fleet is not None
            self.fleet.submit(*step)

    def on_start(self, group: str, item: Item) -> None:
        """Before the attempt: the counter on disk goes up first."""
        for take in self.takes_of(item) if group == SAMPLERS else []:
            self.store.begin_attempt(take)

    def record_outcome(self, outcome: Outcome) -> None:
        """Take note of one outcome and queue what follows from it."""
        takes = self.takes_of(outcome.item)
        if isinstance(outcome.error, NOBODYS_FAULT):
            raise outcome.error
        if not self.is_current(outcome.item):
            return
        if outcome.error is not None and len(takes) > 1:
            self.part(takes, outcome.error)
        elif outcome.error is not None:
            self.record_failure(takes[0], outcome.error, outcome)
        elif outcome.group == SAMPLERS:
            for take, result in zip(takes, outcome.value, strict=True):
                self.record_made(take, TakeResult.from_json(result))
        elif PART in outcome.item.key:
            self.record_part(takes[0], outcome)
        else:
            self.record_scored(takes[0], outcome.value)

    def is_current(self, item: Item) -> bool:
        """Whether a part is of its take's latest round of scoring: what comes of an earlier one is of no use."""
        take_id, is_part, rest = item.key.partition(PART)
        return not is_part or (take_id in self.rounds and self.rounds[take_id].number == numbers_of(rest)[0])

    def record_made(self, take: Take, result: TakeResult) -> None:
        self.made.add(take.id)
        self.results.append(result)
        self.size_made += take.latent_frames
        self.submit_next(take)

    def record_scored(self, take: Take, unscored: dict[str, dict[str, str]]) -> None:
        self.scored.add(take.id)
        self.size_scored += take.latent_frames
        self.unscored.append(unscored)

    def record_part(self, take: Take, outcome: Outcome) -> None:
        """Once all parts of a round are there, they are the take's scores."""
        now = self.rounds[take.id]
        now.values[numbers_of(outcome.item.key.partition(PART)[2])[1]] = outcome.value
        if len(now.values) == now.parts:
            whole = joined(list(now.values.values()))
            for scores in whole.values():
                self.store.write_scores(take.id, scores)
            self.record_scored(take, {label: unscored(scores) for label, scores in whole.items()})

    def part(self, takes: list[Take], error: Exception) -> None:
        """Takes that failed together go on one by one: whose fault it was shows then, and counts then."""
        self.say(f"{takes[0].cell}: {len(takes)} takes go on one by one after {reason_of(error)}")
        for take in takes:
            self.submit_next(take)

    def record_failure(self, take: Take, error: Exception, outcome: Outcome) -> None:
        scoring = outcome.group == EVALUATORS
        reason = f"{SCORING if scoring else ''}{reason_of(error)}"
        self.store.record_failure(take, reason)
        self.failures.setdefault(take.id, []).append(reason)
        if self.set_aside(take, scoring):
            again = f"to try it again remove {self.store.failures_file(take.id)}"
            self.say(f"{name_of(take)}: set aside after {MAX_FAILURES} failed attempts; the last: {reason}; {again}")
            return
        if not self.store.is_done(take):
            self.made.discard(take.id)
        self.say(f"{name_of(take)}: tried again after {reason}")
        if PART in outcome.item.key and take.id in self.made:
            assert self.fleet is not None
            self.fleet.submit(EVALUATORS, outcome.item)
            return
        if PART in outcome.item.key:
            self.rounds[take.id].number += 1  # the take is made again, and its other parts are of no use
        self.submit_next(take)

    def set_aside(self, take: Take, scoring: bool) -> bool:
        """True once the take has used up its attempts at this stage; it then counts as failed."""
        reasons = [r for r in self.failures.get(take.id, []) if r.startswith(SCORING) == scoring]
        if len(reasons) >= MAX_FAILURES:
            self.failed.add(take.id)
        return len(reasons) >= MAX_FAILURES

    def snapshot(self) -> Snapshot:
        seconds = time.monotonic() - self.started
        running = self.fleet.running() if self.fleet else []
        return Snapshot(
            total=len(self.takes),
            made=len(self.made),
            scored=len(self.scored),
            failed=len(self.failed),
            new_made=len(self.results),
            seconds=seconds,
            takes_per_minute=60 * len(self.results) / seconds if self.results else None,
            seconds_left=self.seconds_left(running, seconds),
            running=running,
        )

    def seconds_left(self, running: list[Running], seconds: float) -> float | None:
        """From the pace so far of making and of scoring, whichever ends later; None before either has a pace."""
        begun = sum(r.item.size * fraction(r) for r in running if r.group == SAMPLERS)
        through = self.made | self.failed
        to_make = sum(take.latent_frames for take in self.takes.values() if take.id not in through) - begun
        through = self.scored | self.failed
        to_score = sum(take.latent_frames for take in self.takes.values() if take.id not in through)
        paces = [(to_make, self.size_made + begun), (to_score, self.size_scored)]
        ends = [max(0.0, left) * seconds / done for left, done in paces if done > 0]
        return max(ends) if ends else None


def part_key(take_id: str, round_number: int, part: int) -> str:
    return f"{take_id}{PART}{round_number}.{part}"


def numbers_of(rest: str) -> tuple[int, int]:
    """(round, part) of a key's rest."""
    number, _, part = rest.partition(".")
    return int(number), int(part)


def making_of(takes: Sequence[Take]) -> Item:
    """Takes of one cell to be made together."""
    first, many = takes[0], f" x {len(takes)}" if len(takes) > 1 else ""
    key, payload = TOGETHER.join(take.id for take in takes), [take.to_json() for take in takes]
    return Item(key, payload, float(sum(t.latent_frames for t in takes)), first.backbone, f"{first.cell}{many}")


def batched(takes: list[Take], most: int) -> Iterator[list[Take]]:
    """Parts of at most so many takes, as equal as can be."""
    parts = -(-len(takes) // most)
    for i in range(parts):
        yield takes[i * len(takes) // parts : (i + 1) * len(takes) // parts]


def reason_of(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"


def fraction(running: Running) -> float:
    total = running.report.get("total") or 0
    return running.report.get("done", 0) / total if total else 0.0


def name_of(take: Take) -> str:
    return f"{take.cell} [{take.id}]"
