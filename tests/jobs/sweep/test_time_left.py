"""Busy seconds and the time left, on numbers that can be worked out by hand and on a simulated run."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from longtake.jobs.sweep.estimates.busy_time import (
    EVALUATORS,
    LEAST_ERROR,
    PRIOR_ERROR,
    SAMPLERS,
    BusyClocks,
    StageTimes,
    StageWorkers,
    seconds_together,
)
from longtake.jobs.sweep.estimates.cost import TakeCost
from longtake.jobs.sweep.estimates.pace import RECENT_ITEMS, Pace, Part
from longtake.jobs.sweep.estimates.time_left import TimeLeft, closing_seconds
from longtake.jobs.sweep.progress import clock, left
from longtake.jobs.sweep.scheduler import Snapshot
from longtake.jobs.sweep.tally import Tally
from longtake.jobs.workers.sampling import MakeItem
from longtake.jobs.workers.scoring import ScoreItem
from longtake.platform.takes import Cell, MethodSpec, Take
from longtake.platform.workers.fleet import Item, Running

SHORT, LONG = Cell("tiny", "rag", 3), Cell("tiny", "rag", 6)


def both(count: int, on_cpu: bool = True) -> dict[str, StageWorkers]:
    return {SAMPLERS: StageWorkers(count, on_cpu), EVALUATORS: StageWorkers(count)}


@pytest.mark.parametrize(
    ("make", "score", "workers", "cores", "seconds"),
    [
        (10.0, 0.0, both(2), 2.0, 5.0),
        (10.0, 10.0, both(2), 2.0, 10.0),  # 20 s of work on 2 cores
        (10.0, 30.0, both(2), 2.0, 20.0),  # until making ends each stage gets one core: 10 s, then 20 s on both
        (10.0, 30.0, both(2), 4.0, 15.0),  # enough cores: the longer stage decides
        (10.0, 10.0, both(1), 1.0, 20.0),  # inline: one after the other
        (10.0, 10.0, both(2, on_cpu=False), 2.0, 5.0),  # samplers on GPUs of their own
        (0.0, 0.0, both(2), 2.0, 0.0),
    ],
)
def test_stages_share_the_cores(
    make: float, score: float, workers: dict[str, StageWorkers], cores: float, seconds: float
) -> None:
    assert seconds_together({SAMPLERS: make, EVALUATORS: score}, workers, cores) == pytest.approx(seconds)


def test_a_cell_begins_with_its_estimate_and_ends_with_what_was_measured() -> None:
    """Estimates of 2 s and 4 s; takes of the short cell take 6 s: three times as long."""
    times = StageTimes({SHORT: 2.0, LONG: 4.0})
    assert times.work(Counter({SHORT: 3, LONG: 1})) == 10.0
    times.add(SHORT, 1, 50.0, is_first=True)  # with loading: 25 times the estimate, so 5 times is taken
    assert times.per_take(SHORT) == 10.0
    times.add(SHORT, 1, 6.0)
    assert (times.per_take(SHORT), times.per_take(LONG)) == (6.0, 12.0)
    for _ in range(9):
        times.add(LONG, 2, 16.0)  # 8 s each: 18 takes beside the estimate of one
    assert times.correction == pytest.approx((6 + 9 * 16) / (2 + 18 * 4))
    assert times.per_take(LONG) == pytest.approx((144 + 4 * times.correction) / 19)


def test_the_error_shrinks_as_predictions_come_true_and_grows_when_they_do_not() -> None:
    steady, wild = StageTimes({SHORT: 2.0}), StageTimes({SHORT: 2.0})
    for number in range(60):
        steady.add(SHORT, 1, 2.0)
        wild.add(SHORT, 1, 1.0 if number % 2 else 4.0)
    assert steady.error == LEAST_ERROR
    assert wild.error > 0.5


def test_time_of_a_worker_without_a_core_of_its_own_counts_in_part() -> None:
    now = 0.0
    clocks = BusyClocks(both(2), 2.0, lambda: now)
    clocks.begin(SAMPLERS, 1)
    now = 10.0  # alone
    for key in (2, 3, 4):
        clocks.begin(EVALUATORS, key)
    now = 20.0  # four on two cores: half speed
    assert clocks.end(SAMPLERS, 1) == pytest.approx(15.0)
    now = 26.0  # three on two cores
    assert clocks.end(EVALUATORS, 2) == pytest.approx(5.0 + 4.0)
    assert clocks.end(EVALUATORS, 2) is None


def test_a_worker_with_a_gpu_has_all_of_its_time() -> None:
    now = 0.0
    clocks = BusyClocks(both(4, on_cpu=False), 2.0, lambda: now)
    clocks.begin(SAMPLERS, 1)
    for key in (2, 3, 4, 5):
        clocks.begin(EVALUATORS, key)
    now = 10.0
    assert clocks.end(SAMPLERS, 1) == 10.0
    assert clocks.end(EVALUATORS, 2) == 5.0


# A simulated run

PERIOD = 30.0


@dataclass
class Simulation:
    """Takes of two cells on `workers` samplers and evaluators that have a core each. Making a take of one second of
    video takes `make` s, scoring it `score` s; the first item of each worker takes `start` s more. `load`: seed of
    other programs on the machine, which slow it down by 1 to 4 times, anew every 30 s; None: there are none."""

    make: float
    score: float
    workers: int = 2
    start: float = 5.0
    estimates: tuple[float, float] = (1.0, 1.0)
    closing: float = 0.0
    load: int | None = None

    def end_of(self, begin: float, seconds: float) -> float:
        """When work of so many seconds of a free core ends."""
        if self.load is None:
            return begin + seconds
        while True:
            period = int(begin // PERIOD)
            slower = 4 ** np.random.default_rng((self.load, period)).random()
            most = ((period + 1) * PERIOD - begin) / slower
            if seconds <= most:
                return begin + seconds * slower
            begin, seconds = (period + 1) * PERIOD, seconds - most

    def run(self, watch: Callable[[float, tuple[float, float] | None, Tally], None]) -> float:
        takes = [Take("tiny", MethodSpec("rag", "rag"), 3 + 3 * (k % 2), 12, f"{k}", 0) for k in range(40)]
        tally, now = Tally(takes), [0.0]
        workers = both(self.workers)
        times = {
            stage: StageTimes({cell: scale * cell.seconds for cell in (SHORT, LONG)})
            for stage, scale in zip((SAMPLERS, EVALUATORS), self.estimates, strict=True)
        }
        clocks = BusyClocks(workers, 2.0 * self.workers, lambda: now[0])
        time_left = TimeLeft(tally, times, workers, clocks, self.closing)
        queues: dict[str, list[Item]] = {SAMPLERS: [Item(MakeItem((take,))) for take in takes], EVALUATORS: []}
        running: list[tuple[float, int, str, Item]] = []
        begun, number = Counter[str](), 0
        while queues[SAMPLERS] or queues[EVALUATORS] or running:
            for stage, queue in queues.items():
                while queue and sum(one[2] == stage for one in running) < self.workers:
                    item = queue.pop(0)
                    rate = self.make if stage == SAMPLERS else self.score
                    seconds = item.payload.takes[0].seconds * rate + (self.start if begun[stage] < self.workers else 0)
                    begun[stage] += 1
                    number += 1
                    time_left.begin(stage, item)
                    heapq.heappush(running, (self.end_of(now[0], seconds), number, stage, item))
            watch(now[0], time_left.estimate([Running(stage, "", item) for _, _, stage, item in running]), tally)
            now[0], _, stage, item = heapq.heappop(running)
            time_left.end(stage, item, 1)
            (take,) = item.payload.takes
            if stage == SAMPLERS:
                tally.set_made(take)
                queues[EVALUATORS].append(Item(ScoreItem(take, ())))
            else:
                tally.set_scored(take)
        return self.end_of(now[0], self.closing)


@pytest.mark.parametrize(
    "simulation",
    [
        Simulation(1.0, 1.0),
        Simulation(1.0, 0.1),
        Simulation(1.0, 5.0),  # scoring takes longer than making: the old estimate was most wrong here
        Simulation(2.0, 1.0, estimates=(0.2, 8.0)),  # a plan that is wrong by factors of 10 and 8
        Simulation(1.0, 1.0, workers=1, start=60.0),
        Simulation(1.0, 1.0, closing=100.0),
    ],
)
def test_the_range_holds_the_time_that_is_really_left(simulation: Simulation) -> None:
    seen: list[tuple[float, tuple[float, float] | None, int]] = []
    total = simulation.run(lambda now, found, tally: seen.append((now, found, len(tally.scored))))
    assert all((found is None) == (scored == 0) for _, found, scored in seen)
    known = [(now, found, scored) for now, found, scored in seen if found is not None]
    late = [one for one in known if one[2] >= 4]
    inside = [low <= total - now <= high for now, (low, high), _ in late]
    assert sum(inside) >= 0.9 * len(inside)
    for now, (low, high), _ in late:
        rest = total - now
        assert low / 1.3 <= rest <= 1.3 * high
        assert high - low <= 1.2 * rest + 40 + 0.6 * simulation.closing
    for now, (low, high), scored in late:
        if scored >= 20:
            assert high - low <= 0.6 * (total - now) + 40 + 0.6 * simulation.closing


def seen_under_load(simulation: Simulation) -> list[tuple[float, float, float]]:
    """(seconds really left, lowest and highest shown) from the fourth scored take on, under twelve different loads."""
    shown: list[tuple[float, float, float]] = []
    for load in range(12):
        seen: list[tuple[float, tuple[float, float] | None, int]] = []
        total = replace(simulation, load=load).run(
            lambda now, found, tally, seen=seen: seen.append((now, found, len(tally.scored)))
        )
        shown += [(total - now, *found) for now, found, scored in seen if found is not None and scored >= 4]
    return shown


def test_the_range_is_wider_where_other_programs_change_the_pace() -> None:
    """Up to four times slower, anew every 30 s: what is left is mostly in the range, and not far outside."""
    shares = []
    for make, score, closing in ((1.0, 1.0, 0.0), (1.0, 0.1, 0.0), (1.0, 5.0, 0.0), (3.0, 3.0, 9.0)):
        shown = seen_under_load(Simulation(make, score, closing=closing))
        shares.append(np.mean([low <= rest <= high for rest, low, high in shown]))
        assert np.median([high / max(low, 1.0) for _, low, high in shown]) <= 5
        assert all(low / 3 <= rest <= 3 * high for rest, low, high in shown)
    assert min(shares) >= 0.75
    assert np.mean(shares) >= 0.85


def pace_of(*items: tuple[float, float]) -> Pace:
    """Items of so many takes of the short cell, and their busy seconds."""
    return Pace(deque(Part(SHORT, takes, seconds) for takes, seconds in items))


def test_the_pace_of_windows_of_four_items() -> None:
    """Expected: 2 s per take. From the newest: 4 items in 20 s, where 8 are expected; 4 in 6 s; the oldest is alone."""
    pace = pace_of((1, 99.0), *[(1, 1.5)] * 4, *[(1, 5.0)] * 4)
    assert pace.spread(lambda cell: 2.0) == (0.75, 2.5)
    assert pace_of((1, 99.0)).spread(lambda cell: 2.0) == (1.0, 1.0), "one item is no window"
    assert pace_of((2, 8.0), (1, 10.0)).spread(lambda cell: 2.0) == (1.0, 3.0)
    # half a take of a running item in 6 s, where 1 is expected; a twentieth says nothing yet
    assert pace.spread(lambda cell: 2.0, [Part(SHORT, 0.5, 6.0)]) == (0.75, 6.0)
    assert pace.spread(lambda cell: 2.0, [Part(SHORT, 0.05, 6.0)]) == (0.75, 2.5)


def test_only_recent_items_are_in_the_pace() -> None:
    times = StageTimes({SHORT: 2.0})
    times.add(SHORT, 1, 200.0, is_first=True)
    for seconds in [9.0] * 4 + [2.0] * RECENT_ITEMS:
        times.add(SHORT, 1, seconds)
    assert {part.seconds for part in times.pace.recent} == {2.0}


def test_error_and_pace_widen_the_range_like_independent_errors() -> None:
    """The prior error log 2, a window that is three times slower than expected: the root of log(2)^2 + log(3)^2."""
    times = StageTimes({SHORT: 2.0}, pace=pace_of((1, 6.0), (1, 6.0)))
    least, most = times.factors()
    assert least == pytest.approx(1 / 2)
    assert math.log(most) == pytest.approx(math.hypot(math.log(2), math.log(3)))


def test_the_closing_steps_are_as_slow_as_scoring() -> None:
    """All is scored; a take that was estimated at 1 s took 4: the closing steps may take 4 times their 10 s, and the
    error of that."""
    take = Take("tiny", MethodSpec("rag", "rag"), 3, 12, "p", 0)
    tally = Tally([take])
    tally.set_made(take)
    tally.set_scored(take)
    times = {stage: StageTimes({SHORT: 1.0}) for stage in (SAMPLERS, EVALUATORS)}
    time_left = TimeLeft(tally, times, both(1), BusyClocks(both(1), 2.0), 10.0)
    assert time_left.estimate([]) == pytest.approx((4.0, 10.0 * math.exp(PRIOR_ERROR)))
    times[EVALUATORS].add(SHORT, 1, 4.0)
    assert time_left.estimate([]) == pytest.approx((4.0, 40.0 * math.exp(PRIOR_ERROR)))


def test_an_item_counts_for_the_part_that_it_reports() -> None:
    """One take of 8 s to score, a quarter of which is done after 100 s on a busy machine: 6 s are left, not 0."""
    take = Take("tiny", MethodSpec("rag", "rag"), 3, 12, "p", 0)
    tally, now = Tally([take]), [0.0]
    tally.set_made(take)
    workers, times = both(1), {stage: StageTimes({SHORT: 8.0}) for stage in (SAMPLERS, EVALUATORS)}
    times[EVALUATORS].add(SHORT, 1, 8.0)
    time_left = TimeLeft(tally, times, workers, BusyClocks(workers, 2.0, lambda: now[0]), 0.0)
    item, first = Item(ScoreItem(take, ())), Item(ScoreItem(take, ()))
    time_left.begin(EVALUATORS, first)
    time_left.end(EVALUATORS, first, 0)
    time_left.begin(EVALUATORS, item)
    now[0] = 100.0
    running = Running(EVALUATORS, "", item, report={"done": 10, "total": 40})
    assert time_left.done_of(running) == 2.0
    assert time_left.done_of(replace(running, report={})) == 8.0
    low, high = time_left.estimate([running]) or (0.0, 0.0)
    assert low < 6.0 < high
    # a quarter in 100 s: at this pace the rest takes 300 s more
    assert time_left.part_of(running) == Part(SHORT, 0.25, 100.0)
    assert high > 300
    assert time_left.part_of(replace(running, report={})) == Part(SHORT, 1.0, 100.0), "longer than the 8 s expected"
    now[0] = 104.0
    late = Item(ScoreItem(take, ()))
    time_left.begin(EVALUATORS, late)
    now[0] = 106.0
    assert time_left.part_of(Running(EVALUATORS, "", late)).takes == 0, "2 s of 8 s say nothing"


def test_the_closing_steps_are_ranks_sheet_and_publication() -> None:
    """1,000 takes of 4 cells under 2 suites; reading one video takes 0.5 s: 0.5 + 1 s, 1.7 x 2 s, 1 + 0.5 s."""
    costs = [TakeCost(1.0, 1.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 4
    assert closing_seconds(1000, 2, costs, publishes=False) == pytest.approx(1.5 + 3.4)
    assert closing_seconds(1000, 2, costs, publishes=True) == pytest.approx(1.5 + 3.4 + 1.5)


def test_failed_items_do_not_count_as_measured() -> None:
    simulation = TimeLeft(Tally([]), {SAMPLERS: StageTimes({SHORT: 1.0})}, both(1), BusyClocks(both(1), 2.0), 0.0)
    item = Item(MakeItem((Take("tiny", MethodSpec("rag", "rag"), 3, 12, "p", 0),)))
    simulation.begin(SAMPLERS, item)
    simulation.end(SAMPLERS, item, 0)
    assert simulation.times[SAMPLERS].items == 0


def test_the_display_shows_a_range() -> None:
    snapshot = Snapshot()
    assert left(snapshot) == "estimating time left"
    assert left(replace(snapshot, seconds_left=65.0, seconds_left_range=(50.0, 80.0))) == "0:50-1:20 left"
    assert left(replace(snapshot, seconds_left=50.2, seconds_left_range=(50.0, 50.4))) == "0:50 left"
    assert left(replace(snapshot, seconds_left=3661.0)) == "1:01:01 left"  # jobs with one stage have no range
    assert clock(59.6) == "1:00"
