"""Busy time: how long the takes of a cell keep a worker, by stage, and how long several workers need for them.

A busy second is one of a worker that has a core, or its GPUs, to itself. Knows no store, no fleet and no plan.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from longtake.jobs.sweep.estimates.pace import Pace, Part
from longtake.platform.takes import Cell

SAMPLERS, EVALUATORS = "samplers", "evaluators"
"""The groups of workers, one for each stage."""
PRIOR_ERROR = math.log(2)
"""The error, as a logarithm, that an estimate is taken to have before it was compared with a measured time."""
LEAST_ERROR = 0.1
PRIOR_TAKES = 1.0
"""A cell's estimate, corrected by the stage's other cells, counts as much as this many measured takes."""


@dataclass(frozen=True)
class StageWorkers:
    """The workers of a stage. `on_cpu`: they share the cores with the workers of the other stage."""

    count: int
    on_cpu: bool = True


def seconds_together(work: Mapping[str, float], workers: Mapping[str, StageWorkers], cores: float) -> float:
    """Seconds until the stages, which run side by side, have done `work` (stage -> busy seconds).

    Workers on the cores of one machine slow each other down when they are more than the cores; what ends first leaves
    its cores to the rest.
    """
    left = {stage: seconds for stage, seconds in work.items() if seconds > 0}
    total = 0.0
    while left:
        on_cores = sum(workers[stage].count for stage in left if workers[stage].on_cpu)
        speed = min(1.0, cores / on_cores) if on_cores else 1.0
        rates = {stage: workers[stage].count * (speed if workers[stage].on_cpu else 1.0) for stage in left}
        step = min(seconds / rates[stage] for stage, seconds in left.items())
        left = {stage: seconds - step * rates[stage] for stage, seconds in left.items()}
        left = {stage: seconds for stage, seconds in left.items() if seconds > 1e-9}
        total += step
    return total


@dataclass
class CellTimes:
    """Measured busy seconds of a cell's takes at one stage."""

    takes: float = 0.0
    seconds: float = 0.0


@dataclass
class StageTimes:
    """The busy seconds per take of each cell at one stage. `estimates`: those of the plan, of any scale.

    The first item of a worker loads networks and libraries, so it only counts while nothing else is known.
    """

    estimates: Mapping[Cell, float]
    cells: dict[Cell, CellTimes] = field(default_factory=dict)
    first: CellTimes = field(default_factory=CellTimes)  # `takes`: their estimated seconds
    later: CellTimes = field(default_factory=CellTimes)
    items: int = 0
    compared: int = 0
    squared_errors: float = PRIOR_ERROR**2
    pace: Pace = field(default_factory=Pace)

    def add(self, cell: Cell, takes: float, seconds: float, is_first: bool = False) -> None:
        """An item of `takes` takes was done in `seconds`, the first item of its worker or a later one."""
        self.items += 1
        estimated = takes * self.estimates[cell]
        if is_first:
            self.first.takes += estimated
            self.first.seconds += seconds
            return
        if self.later.takes:
            self.compared += 1
            self.squared_errors += math.log(max(seconds, 1e-3) / max(takes * self.per_take(cell), 1e-3)) ** 2
        self.pace.recent.append(Part(cell, takes, seconds))
        self.later.takes += estimated
        self.later.seconds += seconds
        times = self.cells.setdefault(cell, CellTimes())
        times.takes += takes
        times.seconds += seconds

    @property
    def correction(self) -> float:
        """Measured seconds per estimated second, over all cells. First items alone are only an upper bound: the middle
        between them and the estimate."""
        if self.later.takes:
            return self.later.seconds / self.later.takes
        slower = self.first.seconds / self.first.takes if self.first.takes else 1.0
        return math.sqrt(slower) if slower > 1 else slower

    def per_take(self, cell: Cell) -> float:
        times = self.cells.get(cell, CellTimes())
        estimate = self.estimates[cell] * self.correction
        return (times.seconds + PRIOR_TAKES * estimate) / (times.takes + PRIOR_TAKES)

    @property
    def error(self) -> float:
        """The error, as a logarithm, of the seconds per take: of predictions so far, each made before the item was
        done."""
        return max(LEAST_ERROR, math.sqrt(self.squared_errors / (1 + self.compared)))

    def factors(self, running: Iterable[Part] = ()) -> tuple[float, float]:
        """The least and the most that the busy seconds of the rest may be, by those expected: the error of the
        predictions, and the change of the pace, as independent errors."""
        fastest, slowest = self.pace.spread(self.per_take, running)
        return math.exp(-math.hypot(self.error, math.log(fastest))), math.exp(math.hypot(self.error, math.log(slowest)))

    def work(self, open_takes: Counter[Cell]) -> float:
        """Busy seconds of the open takes."""
        return sum(count * self.per_take(cell) for cell, count in open_takes.items() if count)

    def longest(self, open_takes: Counter[Cell]) -> float:
        """Busy seconds of the longest open take."""
        return max((self.per_take(cell) for cell, count in open_takes.items() if count), default=0.0)


class BusyClocks:
    """A clock per stage that runs while its items do, slower while more workers compute than there are cores."""

    def __init__(self, workers: Mapping[str, StageWorkers], cores: float, now: Callable[[], float] = time.monotonic):
        self.workers, self.cores, self.now = workers, cores, now
        self.at = now()
        self.seconds = dict.fromkeys(workers, 0.0)
        self.active = dict.fromkeys(workers, 0)
        self.begun: dict[int, float] = {}
        self.count = dict.fromkeys(workers, 0)
        self.first: set[int] = set()

    def begin(self, stage: str, key: int) -> None:
        self.advance()
        self.count[stage] += 1
        (self.first.add if self.count[stage] <= self.workers[stage].count else self.first.discard)(key)
        self.begun[key] = self.seconds[stage]
        self.active[stage] += 1

    def end(self, stage: str, key: int) -> float | None:
        """Busy seconds of an item; None if it never began here."""
        self.advance()
        if key not in self.begun:
            return None
        self.active[stage] -= 1
        return self.seconds[stage] - self.begun.pop(key)

    def so_far(self, stage: str, key: int) -> float:
        self.advance()
        return self.seconds[stage] - self.begun.get(key, self.seconds[stage])

    def advance(self) -> None:
        now = self.now()
        on_cores = sum(count for stage, count in self.active.items() if self.workers[stage].on_cpu)
        speed = min(1.0, self.cores / on_cores) if on_cores else 1.0
        for stage, group in self.workers.items():
            self.seconds[stage] += (now - self.at) * (speed if group.on_cpu else 1.0)
        self.at = now
