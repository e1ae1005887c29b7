"""The time that a sweep still needs, as a range: both stages side by side, then the closing steps.

Seconds per take come from the plan's estimate until takes of the cell, or of the stage, have been measured. Nothing is
said before one take has passed each stage that has work left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from longtake.jobs.sweep.estimates.busy_time import (
    EVALUATORS,
    SAMPLERS,
    BusyClocks,
    StageTimes,
    StageWorkers,
    seconds_together,
)
from longtake.jobs.sweep.estimates.cost import TakeCost
from longtake.jobs.sweep.estimates.pace import Part
from longtake.jobs.sweep.tally import Tally
from longtake.platform.takes import Cell
from longtake.platform.workers.fleet import Item, Running

Range = tuple[float, float]
LEAST_SECONDS = 1e-3
START_SECONDS = 10.0
"""Assumed, from the command to the first item: libraries and Ray."""
RANK_SECONDS, RANK_SECONDS_PER_RECORD = 0.5, 0.0005
"""Measured: 0.3 and 0.7 s for the demo, 4.9 s for 10,000 takes under the suite `classical`; seconds of a core."""
SHEET_READS = 1.7
"""The contact sheet takes as long as reading its videos so many times; measured with the demo: 5.2 s for 720 s."""
CLOSING_FASTEST, CLOSING_SLOWEST = 0.4, 1.5
"""The least and the most that the closing steps take, by their estimate, on a machine as fast as the estimates'."""
PUBLISH_SECONDS, PUBLISH_SECONDS_PER_CELL = 1.0, 0.125
"""Measured with the demo, 16 cells: 3 s."""


def closing_seconds(takes: int, suites: int, costs: Iterable[TakeCost], publishes: bool) -> float:
    """Seconds of the steps after the last take: ranks, the contact sheet, publication. `costs`: of each cell."""
    costs = list(costs)
    ranks = RANK_SECONDS + RANK_SECONDS_PER_RECORD * takes * suites
    sheet = SHEET_READS * sum(cost.read_seconds for cost in costs)
    return ranks + sheet + (PUBLISH_SECONDS + PUBLISH_SECONDS_PER_CELL * len(costs) if publishes else 0.0)


def stage_times(costs: Mapping[Cell, TakeCost]) -> dict[str, StageTimes]:
    """The plan's estimates, before anything was measured."""
    make = {cell: max(cost.make_seconds, LEAST_SECONDS) for cell, cost in costs.items()}
    score = {cell: max(cost.score_seconds, LEAST_SECONDS) for cell, cost in costs.items()}
    return {SAMPLERS: StageTimes(make), EVALUATORS: StageTimes(score)}


def work_of(tally: Tally, times: Mapping[str, StageTimes]) -> dict[str, float]:
    """Busy seconds of the open takes, by stage."""
    return {SAMPLERS: times[SAMPLERS].work(tally.to_make), EVALUATORS: times[EVALUATORS].work(tally.to_score)}


@dataclass
class TimeLeft:
    """Watches the items of a run and estimates the rest."""

    tally: Tally
    times: Mapping[str, StageTimes]
    workers: Mapping[str, StageWorkers]
    clocks: BusyClocks
    closing: float

    def begin(self, stage: str, item: Item) -> None:
        self.clocks.begin(stage, id(item))

    def end(self, stage: str, item: Item, share: float) -> None:
        """An item has ended; `share`: the part of each of its takes that it finished, 0 after a failure. Its time is
        shared between the lengths of a family as expected."""
        seconds, times = self.clocks.end(stage, id(item)), self.times[stage]
        if seconds is None or not share:
            return
        counts = Counter(take.cell for take in item.payload.takes)
        expected = {cell: count * times.per_take(cell) for cell, count in counts.items()}
        for cell, count in counts.items():
            part = seconds * expected[cell] / sum(expected.values())
            times.add(cell, count * share, part, id(item) in self.clocks.first)

    def estimate(self, running: Iterable[Running]) -> Range | None:
        """Seconds left, lowest and highest; None before a take has passed each stage that has work."""
        running = list(running)
        work = work_of(self.tally, self.times)
        if any(seconds and not self.times[stage].items for stage, seconds in work.items()):
            return None
        for one in running:
            work[one.group] -= self.done_of(one)
        work = {stage: max(0.0, seconds) for stage, seconds in work.items()}
        factors = {stage: self.times[stage].factors(map(self.part_of, running_at(stage, running))) for stage in work}
        low, high = (
            seconds_together(
                {stage: seconds * factors[stage][end] for stage, seconds in work.items()},
                self.workers,
                self.clocks.cores,
            )
            for end in (0, 1)
        )
        last = max(
            self.times[SAMPLERS].longest(self.tally.to_make), self.times[EVALUATORS].longest(self.tally.to_score)
        )
        slower = self.slower * factors[EVALUATORS][1]
        return low + CLOSING_FASTEST * self.closing, high + last + max(CLOSING_SLOWEST, slower) * self.closing

    @property
    def slower(self) -> float:
        """How many times slower than estimated this machine scores, which needs its cores as the closing steps do."""
        return self.times[EVALUATORS].correction if self.times[EVALUATORS].items else 1.0

    def done_of(self, running: Running) -> float:
        """Busy seconds that a running item is ahead by: the part that it reports, or else the time that it has had,
        less those of its takes that are made, which are no longer part of the rest."""
        whole = self.expected(running)
        recorded = self.expected(running, self.tally.made) if running.group == SAMPLERS else 0.0
        so_far = self.clocks.so_far(running.group, id(running.item))
        done = whole * share_of(running) if running.report.get("total") else min(whole, so_far)
        return max(0.0, done - recorded)

    def expected(self, running: Running, among: Set[str] | None = None) -> float:
        """Busy seconds of a running item, or of those of its takes that are `among` these."""
        takes = [take for take in running.item.payload.takes if among is None or take.id in among]
        return sum(self.times[running.group].per_take(take.cell) for take in takes)

    def part_of(self, running: Running) -> Part:
        """What is done of a running item: by its report, or all of it if it has had more time than expected. Nothing
        is known of the first item of a worker, which also loads networks."""
        cell, seconds = running.item.payload.takes[0].cell, self.clocks.so_far(running.group, id(running.item))
        whole = self.expected(running)
        share = share_of(running) or float(seconds > whole)
        takes = share * whole / self.times[running.group].per_take(cell)
        return Part(cell, 0.0 if id(running.item) in self.clocks.first else takes, seconds)


def running_at(stage: str, running: Iterable[Running]) -> list[Running]:
    return [one for one in running if one.group == stage]


def share_of(running: Running) -> float:
    """The part of an item that is done, by its report; 0 without one."""
    total = running.report.get("total")
    return min(1.0, running.report.get("done", 0) / total) if total else 0.0
