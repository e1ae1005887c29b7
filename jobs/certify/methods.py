"""The contract of a context method: on plans alone, over random latents and a moving camera, and on the pocket network.

Frames are latent frames. While a block is made, the engine has the frames of its window, and those that were evicted
before the block began, unless the method has let them go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property, partial
from itertools import islice
from typing import Any, get_type_hints

import numpy as np
import torch

from longtake.jobs.certify.backbones import BackboneSubject
from longtake.jobs.certify.check import DECLARATION, UNKNOWN, Broken, Checks, disturb, named, require
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.methods.base import REASONS, RETRIEVED, Plan, RolloutInfo, Window, methods
from longtake.platform.methods.memory import MemoryConfig
from longtake.platform.takes import MethodSpec, Take

BLOCKS = 40
SHOWN = (0, 1, 2, 4, 6, 20)
LATENT = (5, 1, 8)
CAMERA = np.stack([np.arange(3 * BLOCKS), -np.arange(3 * BLOCKS), np.arange(3 * BLOCKS) // 2])
LOCAL = tuple(reason for reason in REASONS if reason != RETRIEVED)
METHOD_CHECKS: Checks = {}
check = partial(named, METHOD_CHECKS)
Entry = tuple[int, int, str]
"""Frame, time index, reason."""


@dataclass(frozen=True)
class Step:
    """One block: its plan, what a second call gave, and per row what the bank lets go meanwhile."""

    first: int
    plan: Plan
    again: Plan
    gone: list[list[int]]

    @property
    def rows(self) -> list[list[Entry]]:
        return [[(at.frame, at.time, at.reason) for at in row] for row in self.plan.rows]

    @property
    def block(self) -> str:
        return f"block {self.first // 3}"


class MethodSubject:
    """A method with its default parameters, in the pocket backbones' window unless they name another."""

    def __init__(self, name: str):
        self.name = name

    @cached_property
    def config(self) -> Any:
        return methods.get(self.name)()

    @cached_property
    def window(self) -> Window:
        return self.config.window_in(Window())

    def build(self, rows: Sequence[int], config: Any, camera: bool = True) -> Any:
        world = (CAMERA[list(rows)], 8, 96) if camera else (None, 0, 0)
        return config.build(RolloutInfo(config.window_in(Window()), len(rows), tuple(11 + r for r in rows), *world))

    def walk(self, rows: Sequence[int] = (0, 1, 2), config: Any = None, camera: bool = True) -> Iterator[Step]:
        """A rollout of these rows, block by block."""
        method = self.build(rows, config or self.config, camera)
        for first in range(0, 3 * BLOCKS, 3):
            yield Step(first, method.plan(first), method.plan(first), method.forget(first))
            seeds = [torch.Generator().manual_seed(1000 * row + first) for row in rows]
            method.observe(first, torch.cat([torch.randn(1, 3, *LATENT, generator=seed) for seed in seeds]))

    @cached_property
    def steps(self) -> list[Step]:
        return list(self.walk())

    def evicted(self, step: Step) -> list[int]:
        """The frames that a block attends, in any row, though they have left the window."""
        live = self.window.live(step.first + 3)
        return [frame for row in step.rows for frame, _, _ in row if frame not in live]

    def takes(self, blocks: int = 10) -> list[Take]:
        """Takes of the pocket backbone that start from real frames, so that memory is in use from block 6 on."""
        method = MethodSpec(self.name, self.name, asdict(self.config))
        takes = [pocket().take(blocks, seed, prompt=seed) for seed in range(3)]
        return [replace(take, method=method, prefix_frames=12) for take in takes]


@cache
def pocket() -> BackboneSubject:
    return BackboneSubject("pocket")


def listed(step: Step) -> str:
    """A row of the index table: frame@time by reason, of the first take."""
    parts: dict[str, list[str]] = {}
    for frame, time, reason in step.rows[0]:
        parts.setdefault(reason, []).append(f"{frame}@{time}")
    return "  ".join(f"{reason} {' '.join(places)}" for reason, places in parts.items())


@check(DECLARATION)
def declared(subject: MethodSubject) -> str:
    """It can be made with its default parameters."""
    subject.config.check(subject.window, LATENT)
    subject.build([0], subject.config)
    return f"window {subject.window.size}, sink {subject.window.sink}"


@check("valid plans")
def valid(subject: MethodSubject) -> str:
    """Rows of one length: the sink first, the new frames last, between them frames that the engine has, once each."""
    gone: list[set[int]] = [set() for _ in range(3)]
    for step in subject.steps:
        first, block = step.first, step.block
        require(len(step.rows) == 3 and len({*map(len, step.rows)}) == 1, f"{block}: not a row of one length a take")
        for row, let_go, now in zip(step.rows, gone, step.gone, strict=True):
            frames = [frame for frame, _, _ in row]
            missing = {*frames} - {*subject.window.live(first + 3), *subject.window.evicted(first)} | {*frames} & let_go
            require(max(frames) <= first + 2, f"{block}: attends the future frame {max(frames)}")
            require(
                frames[-3:] == [first, first + 1, first + 2], f"{block}: ends with {frames[-3:]}, not the new frames"
            )
            require(len({*frames}) == len(frames), f"{block}: attends a frame twice: {frames}")
            require(not subject.window.sink or frames[0] == 0, f"{block}: begins with frame {frames[0]}, not the sink")
            require(not missing, f"{block}: attends {sorted(missing)}, which the engine does not have")
            let_go |= {*now}
    return f"{BLOCKS} blocks x 3 takes"


@check("time indices")
def times(subject: MethodSubject) -> str:
    """No older frame lies later; the window's lie as far before the block as they are; published memory lies at 0."""
    for step in subject.steps:
        query, block = step.plan.query_times, step.block
        require(query == tuple(range(query[0], query[0] + 3)), f"{block}: the indices {query} of the block have gaps")
        for row in step.rows:
            order = [time for _, time, _ in sorted(row)]
            require(
                order == sorted(order) and order[0] >= 0, f"{block}: an older frame has a later index: {sorted(row)}"
            )
            require(
                tuple(order[-3:]) == query, f"{block}: the new frames are at {order[-3:]}, their queries at {query}"
            )
            for frame, time, reason in row:
                memory = reason not in LOCAL and isinstance(subject.config, MemoryConfig)
                due = query[0] - step.first + frame if reason == "window" else 0 if memory else time
                require(time == due, f"{block}: {reason} frame {frame} has the time index {time}, not {due}")
    return "absolute" if subject.steps[-1].plan.query_times[0] == subject.steps[-1].first else "relative to the window"


@check("plan twice")
def twice(subject: MethodSubject) -> str:
    for step in subject.steps:
        require(step.plan == step.again, f"{step.block}: a second call of plan gives another plan")
    return "a second call gives the same"


@check("batch")
def batch(subject: MethodSubject) -> str:
    """Every take of a batch is the take made alone: its plans, and on the pocket network every bit."""
    for row in range(3):
        for alone, step in zip(subject.walk([row]), subject.steps, strict=True):
            same = alone.rows[0] == step.rows[row] and alone.gone[0] == step.gone[row]
            require(same, f"{step.block}: take {row} of 3 attends or forgets other frames than alone")
    takes = subject.takes()
    for take, made in zip(takes, pocket().latents(takes), strict=True):
        require(torch.equal(pocket().latents([take])[0], made), f"take {take.seed} of 3 has other latents than alone")
    return "plans, and 3 takes of the pocket network bit by bit"


@check("resume")
def resume(subject: MethodSubject) -> str:
    """Neither what ran before, nor what runs beside it, nor the length of a take changes a plan or a bit."""
    disturb(1)
    beside = [step.rows for step, _ in zip(subject.walk([0]), subject.walk([1]), strict=True)]
    disturb(2)
    again = [step.rows for step in subject.walk([0])]
    require(beside == again, "made again, a take attends other frames; keep state in the instance, draw by info.seeds")
    long, short = (pocket().latents(subject.takes(blocks)[:1]) for blocks in (10, 8))
    require(torch.equal(long[:, :24], short), "a longer take does not begin like the shorter one")
    return "made again, beside another take, and longer: the same"


@check("equal budget")
def budget(subject: MethodSubject) -> str:
    """Never more frames than the backbone's window holds; in the end, as many as the method's own window."""
    counts, own, most = [len(step.rows[0]) for step in subject.steps], subject.window.size, Window().size
    seen = f"{' '.join(str(counts[block]) for block in SHOWN)} frames in blocks {' '.join(map(str, SHOWN))}, of {own}"
    require(max(counts) <= most, f"attends {max(counts)} frames where the backbone's window holds {most}; {seen}")
    require(
        counts[-1] == own, f"attends {counts[-1]} frames of {own} in the end; give `window` another default; {seen}"
    )
    return seen


@check("labels")
def labels(subject: MethodSubject) -> str:
    """Reasons are those that traces count; sink, window and block say where a frame is; `keeps_evicted` says whether
    frames come back from the bank."""
    for step in subject.steps:
        live = subject.window.live(step.first + 3)
        for frame, _, reason in (entry for row in step.rows for entry in row):
            known = reason in REASONS
            require(known, f"{step.block}: frame {frame}: reason = {reason!r}; must be one of {', '.join(REASONS)}")
            true = "block" if frame >= step.first else "sink" if frame < subject.window.sink else "window"
            true = true if frame in live else "out of the window"
            require(
                reason not in LOCAL or reason == true, f"{step.block}: frame {frame} is {true}, but called {reason}"
            )
    says, does = subject.config.keeps_evicted, any(map(subject.evicted, subject.steps))
    require(says == does, f"keeps_evicted is {says}, but it attends {'evicted frames' if does else 'no evicted frame'}")
    return f"keeps_evicted is {says}, and so it is"


@check("no fallback")
def fallback(subject: MethodSubject) -> str:
    """What is not there is an error: a name that nothing has, and the camera for a method that depends on it."""
    hints = get_type_hints(type(subject.config))
    texts = [one.name for one in fields(subject.config) if "str" in str(hints[one.name])]
    for name in texts:
        try:
            config = replace(subject.config, **{name: UNKNOWN})
            config.check(subject.window, LATENT)
            config.fingerprint()
            next(subject.walk(config=config))
        except LongtakeError:
            continue
        raise Broken(f"{name} = {UNKNOWN!r} is accepted; raise ConfigError for a value that nothing has")
    needs = subject.config.needs_camera
    for step, blind in zip(subject.steps, () if needs else subject.walk(camera=False), strict=not needs):
        require(step.plan == blind.plan, f"{step.block}: attends other frames without a camera; set needs_camera")
    return f"unknown names: {'refused' if texts else 'none to give'}; camera: {'needed' if needs else 'unused'}"


@check("recency guard")
def guard(subject: MethodSubject) -> str:
    """With recency_guard R, no frame of the R newest evicted; with top_k K too, as many of the others as K allows."""
    if not hasattr(subject.config, "recency_guard"):
        return "none declared"
    for newest in (0, 2, subject.config.recency_guard):
        config = replace(subject.config, recency_guard=newest)
        for step in islice(subject.walk([0], config), 15):
            evicted, got = subject.window.evicted(step.first), subject.evicted(step)
            where = f"recency_guard {newest}, {step.block}: of evicted frames {evicted.start}..{evicted.stop - 1}"
            require(all(frame < evicted.stop - newest for frame in got), f"{where} attends {got}")
            due = min(getattr(config, "top_k", 0), max(0, len(evicted) - newest))
            require(not isinstance(config, MemoryConfig) or len(got) == due, f"{where} attends {len(got)}, not {due}")
    return f"0, 2 and {subject.config.recency_guard} newest evicted frames are left out"


@check("window")
def windows(subject: MethodSubject) -> str:
    """A window without end is full attention; one that is too small for a block is refused."""
    for step in subject.walk([0], replace(subject.config, window=10_000)):
        frames = sorted(frame for frame, _, _ in step.rows[0])
        require(frames == [*range(step.first + 3)], f"window = 10000, {step.block}: attends {frames}")
    small = replace(subject.config, window=3, sink=1)
    try:
        small.check(small.window_in(Window()), LATENT)
    except ConfigError:
        return "without end: full attention; too small: refused"
    raise Broken("window = 3 with a sink of 1 and blocks of 3 is accepted; call super().check")
