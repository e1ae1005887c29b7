"""Schedules the remaining work of a sweep and records the outcome of each attempt.

Owns the order of work (generate, then score). When a take is set aside is decided in `workers/attempts.py`; the store
keeps its failures for later runs. An attempt that was interrupted by a stop or a dead driver is not counted. Errors
that are not caused by a take (a full disk, missing weights) end the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.sweep.estimates.busy_time import EVALUATORS, SAMPLERS
from longtake.jobs.sweep.estimates.time_left import Range, TimeLeft
from longtake.jobs.sweep.families import make_item, make_items
from longtake.jobs.sweep.tally import Tally
from longtake.jobs.workers.attempts import Attempts, reason_of
from longtake.jobs.workers.run_loop import FINAL_ERRORS, Step
from longtake.jobs.workers.sampling import MakeItem
from longtake.jobs.workers.scoring import MissingScores, ScoreItem, join_parts, metric_groups, missing_value_reasons
from longtake.platform.machine.process import collection_paused
from longtake.platform.names import counted
from longtake.platform.store.index import TakeFacts
from longtake.platform.store.records import MAKING, SCORING, Failure, TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Item, Outcome, Running


@dataclass
class Snapshot:
    """The progress of a sweep. `made` and `scored` count takes (`scored` is None for jobs without scoring); `new_made`
    counts those of this run. `seconds_left` is the middle of its range; both are None while they are not known."""

    total: int = 0
    made: int = 0
    scored: int | None = 0
    failed: int = 0
    new_made: int = 0
    seconds: float = 0.0
    takes_per_minute: float | None = None
    seconds_left: float | None = None
    seconds_left_range: Range | None = None
    running: list[Running] = field(default_factory=list)


@dataclass
class Round:
    """One scoring of a take: its number, its number of parts, and the scores of the finished parts."""

    number: int
    parts: int
    scores: dict[int, dict[str, VideoScores]] = field(default_factory=dict)


class Scheduler:
    """The takes that are made, scored or set aside, and the remaining steps. `say` prints a line for the user."""

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
        self.index, self.missing_scores = store.index(), MissingScores(store, suites)
        self.tally = Tally(takes)
        self.attempts: Attempts[str] = Attempts(store.failures())
        self.results: list[TakeResult] = []
        self.unscored: list[dict[str, dict[str, str]]] = []
        self.started, self.families = time.monotonic(), True
        self.time_left: TimeLeft | None = None

    @property
    def made(self) -> set[str]:
        return self.tally.made

    @property
    def scored(self) -> set[str]:
        return self.tally.scored

    @property
    def failed(self) -> set[str]:
        return self.tally.failed

    @property
    def unfinished(self) -> int:
        return self.tally.unfinished

    @property
    def progress_text(self) -> str:
        made = f"{len(self.made)} of {counted(len(self.takes), 'take')} made"
        return f"{made}, {len(self.scored)} scored; run again to resume"

    @collection_paused()
    def read(self) -> list[Step]:
        """Read the state of the takes from the store, in one pass, and return the missing steps."""
        steps: list[Step] = []
        for take in self.takes.values():
            facts = self.index.facts(take.id, self.missing_scores.labels)
            if facts.made:
                self.tally.set_made(take)
            steps += self.next_of(take, facts)
        return steps

    @collection_paused()
    def unscored_of(self, takes: Iterable[Take]) -> list[Take]:
        """Those of the takes that are not made or not scored, by the store; they may be outside of the selection."""
        facts, labels = self.index.facts, self.missing_scores.labels
        return [
            take
            for take in takes
            if take.id not in self.scored
            and (not (found := facts(take.id, labels)).made or self.missing_scores.of(take, found))
        ]

    def is_set_aside(self, take: Take) -> bool:
        """Whether the take has no attempts left at making or at scoring it; it may be outside of the selection."""
        return any(self.attempts.is_set_aside(stage, take.id) for stage in (MAKING, SCORING))

    def retry_set_aside(self) -> None:
        """Give the takes that were set aside all of their attempts again."""
        aside = [take for take in self.takes.values() if self.is_set_aside(take)]
        for take in aside:
            self.store.forget_failures(take)
            self.attempts.forget(take.id)
        self.say(f"trying {counted(len(aside), 'take')} again, set aside before")

    def start(self, steps: list[Step], batch: int, families: bool = True) -> list[Step]:
        """Start the clock and return the same work in items of up to `batch` families, or takes, to generate. A take
        that failed before has an item of its own."""
        self.started, self.families = time.monotonic(), families
        takes = [take for group, item in steps if group == SAMPLERS for take in item.payload.takes]
        items = make_items(takes, batch, families, lambda take: self.attempts.runs_alone(MAKING, take.id))
        return [(SAMPLERS, item) for item in items] + [step for step in steps if step[0] != SAMPLERS]

    def next_steps(self, takes: Iterable[Take]) -> list[Step]:
        """The next step of each take; several if it is scored in parts, none if it is scored or set aside."""
        return [step for take in takes for step in self.next_of(take)]

    def next_of(self, take: Take, facts: TakeFacts | None = None) -> list[Step]:
        if take.id not in self.made:
            item = replace(make_item([[take]]), last=self.attempts.goes_last(MAKING, take.id))
            return [] if self.set_aside(take, MAKING) else [(SAMPLERS, item)]
        missing = self.missing_scores.of(take, facts or self.index.facts(take.id, self.missing_scores.labels))
        if not missing:
            self.tally.set_scored(take)
            return []
        return [] if self.set_aside(take, SCORING) else self.new_round(take, missing)

    def new_round(self, take: Take, missing: tuple[SuiteEntry, ...]) -> list[Step]:
        """Scoring steps of a take: one item, or one per part of the metrics for several evaluators."""
        groups = metric_groups([*missing], self.parts) if self.parts > 1 else [None]
        number = self.rounds[take.id].number + 1 if take.id in self.rounds else 1
        self.rounds[take.id] = Round(number, len(groups))
        items = [ScoreItem(take, missing, names, number, part) for part, names in enumerate(groups)]
        return [(EVALUATORS, Item(one, take.latent_frames / len(groups), label=str(take.cell))) for one in items]

    def on_start(self, group: str, item: Item) -> None:
        """Count the attempt on disk before it starts, and its time."""
        for take in item.payload.takes if group == SAMPLERS else ():
            self.store.begin_attempt(take)
        if self.time_left:
            self.time_left.begin(group, item)

    def record_reports(self, running: Iterable[Running]) -> list[Step]:
        """Record the takes that running items have committed so far, and return their next steps."""
        told = (take_id for one in running if one.group == SAMPLERS for take_id in one.report.get("made", ()))
        new = [self.takes[take_id] for take_id in told if take_id not in self.made]
        made = [take for take in new if self.store.is_done(take)]
        for take in made:
            self.set_made(take, self.store.result(take.id))
        return self.next_steps(made)

    def set_made(self, take: Take, result: TakeResult | None) -> None:
        self.tally.set_made(take)
        if result is not None:
            self.results.append(result)

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        """Record the outcome of an attempt and return the next steps. Raises errors that are not caused by a take."""
        self.measure(outcome)
        if isinstance(outcome.error, FINAL_ERRORS):
            raise outcome.error
        work, stage = outcome.item.payload, MAKING if isinstance(outcome.item.payload, MakeItem) else SCORING
        self.attempts.ended(stage, [take.id for take in work.takes], outcome.died)
        if outcome.error is not None:
            self.attempts.check_workers(stage, outcome.error)
        if isinstance(work, MakeItem):
            return self.record_making(work, outcome)
        return self.record_scoring(work, outcome) if work.round == self.rounds[work.take.id].number else []

    def measure(self, outcome: Outcome) -> None:
        """Note how long the takes of an item took."""
        work = outcome.item.payload
        parts = 1 if isinstance(work, MakeItem) else self.rounds[work.take.id].parts
        if self.time_left:
            self.time_left.end(outcome.group, outcome.item, 1 / parts if outcome.error is None else 0.0)

    def record_making(self, work: MakeItem, outcome: Outcome) -> list[Step]:
        """Takes that failed in a batch are retried one at a time; those whose worker died, together. Takes that were
        recorded before, by a report, keep their steps."""
        rest = [take for take in work.takes if take.id not in self.made]
        if outcome.error is None:
            results = {result.take_id: result for result in outcome.value}
            for take in rest:
                self.set_made(take, results[take.id])
        elif len(work.takes) > 1:
            return self.record_broken_batch(work, rest, outcome) if rest else []
        elif rest:
            self.record_failure(rest[0], MAKING, outcome)
        return self.next_steps(rest)

    def record_broken_batch(self, work: MakeItem, rest: list[Take], outcome: Outcome) -> list[Step]:
        """Nothing is counted as the failure of a take, since its part in the failure is not known. `rest`: the takes
        that are not made."""
        assert outcome.error is not None
        failure = Failure(MAKING, reason_of(outcome.error), outcome.died)
        for take in rest if outcome.died else ():
            self.store.record_event(take, f"the worker died with {counted(len(work.takes), 'take')}: {failure.reason}")
        together = outcome.died and not any(self.attempts.runs_alone(MAKING, take.id) for take in rest)
        how = "together" if together else "one at a time"
        self.say(f"{work.takes[0].cell}: retrying {counted(len(rest), 'take')} {how} after {failure.brief}")
        return [(SAMPLERS, replace(outcome.item, payload=MakeItem(tuple(rest))))] if together else self.next_steps(rest)

    def record_scoring(self, work: ScoreItem, outcome: Outcome) -> list[Step]:
        """Retry only the failed part if the video is intact; otherwise generate the video and score all parts again."""
        take, current = work.take, self.rounds[work.take.id]
        if outcome.error is None:
            current.scores[work.part] = outcome.value
            if len(current.scores) == current.parts:
                self.record_scores(work, join_parts(current.scores.values()))
            return []
        self.record_failure(take, SCORING, outcome)
        if take.id in self.failed:
            return []
        if take.id in self.made:
            return [(EVALUATORS, replace(outcome.item, last=self.attempts.goes_last(SCORING, take.id)))]
        current.number += 1  # the video will be generated again: ignore parts of the old one
        return self.next_of(take)

    def record_scores(self, work: ScoreItem, scores: dict[str, VideoScores]) -> None:
        for one in scores.values() if work.metrics is not None else ():
            self.store.write_scores(work.take.id, one)
        self.tally.set_scored(work.take)
        self.index.facts(work.take.id, self.missing_scores.labels)  # enters it
        self.unscored.append({label: missing_value_reasons(one) for label, one in scores.items()})

    def record_failure(self, take: Take, stage: str, outcome: Outcome) -> None:
        assert outcome.error is not None
        failure = self.attempts.failed(stage, take.id, outcome.error, outcome.died)
        self.store.record_failure(take, failure)
        if self.set_aside(take, stage):
            count, again = self.attempts.count(take.id), "run with --retry-failed to try it again"
            self.say(f"{name_of(take)}: set aside after {count}; the last: {failure.brief}; {again}")
            return
        if not self.store.is_done(take):
            self.tally.set_unmade(take)
        self.say(f"{name_of(take)}: retrying after {failure.brief}")

    def set_aside(self, take: Take, stage: str) -> bool:
        """True if the take has no attempts left at this stage; it then counts as failed."""
        is_set_aside = self.attempts.is_set_aside(stage, take.id)
        if is_set_aside:
            self.tally.set_failed(take)
        return is_set_aside

    def snapshot(self, running: list[Running]) -> Snapshot:
        seconds = time.monotonic() - self.started
        left = self.time_left.estimate(running) if self.time_left else None
        return Snapshot(
            total=len(self.takes),
            made=len(self.made),
            scored=len(self.scored),
            failed=len(self.failed),
            new_made=len(self.results),
            seconds=seconds,
            takes_per_minute=60 * len(self.results) / seconds if self.results else None,
            seconds_left=None if left is None else sum(left) / 2,
            seconds_left_range=left,
            running=running,
        )


def name_of(take: Take) -> str:
    return f"{take.cell} [{take.id}]"
