"""The contract of a context method: on plans alone, over random latents and a moving camera, and on the pocket network.

Frames are latent frames. While a block is made, the engine has the frames in its cache, derived entries, and frames
that were evicted before the block began, unless the method has let them go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import cache, cached_property, partial
from itertools import islice, pairwise
from typing import Any, get_type_hints

import numpy as np
import torch

from longtake.jobs.certify.backbones import BackboneSubject
from longtake.jobs.certify.check import DECLARATION, UNKNOWN, Broken, Checks, disturb, named, require
from longtake.jobs.certify.walks import (
    BLOCKS,
    LATENT,
    Step,
    frames_worth,
    info_of,
    shown,
    walk_network,
    walk_plans,
)
from longtake.platform.backbones.pocket_network import NETWORK
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.methods.base import REASONS, RETRIEVED, Method, Plan, Reason, Row, Window, methods
from longtake.platform.methods.interface.groups import summed_up
from longtake.platform.methods.parts.memory import MemoryConfig
from longtake.platform.takes import MethodSpec, Take

SHOWN = (0, 1, 2, 4, 6, 20)
SUMMARY: Reason = "summary"
METHOD_CHECKS: Checks = {}
check = partial(named, METHOD_CHECKS)


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

    def build(self, rows: Sequence[int], config: Any, camera: bool = True) -> Method:
        method: Method = config.build(info_of(rows, config.window_in(Window()), camera))
        return method

    def walk(self, rows: Sequence[int] = (0, 1, 2), config: Any = None, camera: bool = True) -> Iterator[Step]:
        """A rollout of these rows, block by block."""
        method = self.build(rows, config or self.config, camera)
        if method.grouped:
            return walk_network(method, rows, pocket().sampler.backbone, pocket().prompts)
        return walk_plans(method, rows)

    @cached_property
    def grouped(self) -> bool:
        """Whether it walks on the pocket network, whose queries and keys depend on the camera."""
        return self.build([0], self.config).grouped

    @cached_property
    def steps(self) -> list[Step]:
        return list(self.walk())

    def banked(self, step: Step) -> list[int]:
        """The frames that a block attends, in any row, though they are not in the cache. With groups, the engine keeps
        what was attended in the block before."""
        if step.plan.groups:
            return []
        return [at.frame for row in step.rows for at in row[:-3] if at.source not in step.cached]

    def takes(self, blocks: int = 10) -> list[Take]:
        """Takes of the pocket backbone that start from real frames, so that memory is in use from block 6 on."""
        method = MethodSpec(self.name, self.name, asdict(self.config))
        takes = [pocket().take(blocks, seed, prompt=seed) for seed in range(3)]
        return [replace(take, method=method, prefix_frames=12) for take in takes]


@cache
def pocket() -> BackboneSubject:
    return BackboneSubject("pocket")


def listed(step: Step) -> str:
    """A row of the index table: entry@time by reason, of the first take."""
    parts: dict[str, list[str]] = {}
    for at in step.rows[0]:
        parts.setdefault(at.reason, []).append(shown(at))
    return "  ".join(f"{reason} {' '.join(places)}" for reason, places in parts.items())


@check(DECLARATION)
def declared(subject: MethodSubject) -> str:
    """It can be made with its default parameters."""
    subject.config.check(subject.window, LATENT)
    subject.build([0], subject.config)
    return f"window {subject.window.size}, sink {subject.window.sink}"


@check("valid plans")
def valid(subject: MethodSubject) -> str:
    """The sink first, the new frames last, between them entries that the engine has, none twice at one time index."""
    gone: list[set[int]] = [set() for _ in range(3)]
    for step in subject.steps:
        first, block = step.first, step.block
        lengths = {*map(len, step.plan.rows)}
        whole = len(step.plan.rows) == 3 and (len(lengths) == 1 or bool(step.plan.groups))
        require(whole, f"{block}: not a row of one length a take")
        for row, attended, let_go, now in zip(step.plan.rows, step.rows, gone, step.gone, strict=True):
            evicted = {*subject.window.evicted(first)} - let_go
            require_row(subject, step, row, evicted)
            require_row(subject, step, attended, evicted)
            let_go |= {*now}
        require_groups(step.plan, first, block)
    return f"{BLOCKS} blocks x 3 takes"


def require_row(subject: MethodSubject, step: Step, row: Row, evicted: set[int]) -> None:
    first, block, frames = step.first, step.block, [at.frame for at in row]
    due, places = [first, first + 1, first + 2], [(at.source, at.time) for at in row]
    missing = {at.source for at in row[:-3]} - step.cached - evicted if not step.plan.groups else ()
    require(max(frames) <= first + 2, f"{block}: attends the future frame {max(frames)}")
    require([at.source for at in row[-3:]] == due, f"{block}: ends with {frames[-3:]}, not the new frames")
    require(not {*due} & {at.source for at in row[:-3]}, f"{block}: attends a new frame twice: {frames}")
    require(len({*places}) == len(places), f"{block}: attends an entry twice at one time index: {places}")
    require(not subject.window.sink or frames[0] == 0, f"{block}: begins with frame {frames[0]}, not the sink")
    require(not missing, f"{block}: attends {sorted(missing, key=str)}, which the engine does not have")


def require_groups(plan: Plan, first: int, block: str) -> None:
    """Every head of every layer is in one group, whose row ends with the new frames; the plan's rows sum them up."""
    every = sorted((layer, head) for layer in range(NETWORK.layers) for head in range(NETWORK.heads))
    for groups in plan.groups:
        heads = sorted((layer, head) for group in groups for layer in group.layers for head in group.heads)
        require(heads == every, f"{block}: the groups name {len(heads)} heads, some twice or not at all")
        for group in groups:
            last = [at.source for at in group.row[-3:]]
            require(last == [first, first + 1, first + 2], f"{block}: a group ends with {last}, not the new frames")
    if plan.groups:
        rows = summed_up(plan.groups, plan.query_times, NETWORK).rows
        require(plan.rows == rows, f"{block}: the rows do not sum the groups up; make the plan with summed_up")


@check("time indices")
def times(subject: MethodSubject) -> str:
    """No older frame lies later, unless the method says so; the window's lie as far before the block as they are;
    published memory lies at 0."""
    sorted_always = True
    for step in subject.steps:
        query, block = step.plan.query_times, step.block
        require(query == tuple(range(query[0], query[0] + 3)), f"{block}: the indices {query} of the block have gaps")
        for row in step.rows:
            indices, new = [at.time for at in row], tuple(at.time for at in row[-3:])
            require(min(indices) >= 0, f"{block}: {min(indices)} is no time index")
            require(new == query, f"{block}: the new frames are at {new}, their queries at {query}")
            require(max(indices) == query[-1], f"{block}: an entry at {max(indices)} lies after the block, at {query}")
            for at in row:
                memory = at.reason == RETRIEVED and isinstance(subject.config, MemoryConfig)
                due = query[0] - step.first + at.frame if at.reason == "window" else 0 if memory else at.time
                require(at.time == due, f"{block}: {at.reason} frame {at.frame} has the index {at.time}, not {due}")
        for places in map(sorted, attended_places(step)):
            in_order = all(one[1] <= two[1] for one, two in pairwise(places))
            sorted_always &= in_order
            seen = " ".join(f"{frame}@{time}" for frame, time in places)
            allowed = in_order or not subject.config.in_order
            require(allowed, f"{block}: an older frame has a later index: {seen}; or set in_order to False")
    require(
        subject.config.in_order == sorted_always,
        "in_order is False, but no older frame has a later index; leave it out",
    )
    return "absolute" if subject.steps[-1].plan.query_times[0] == subject.steps[-1].first else "relative to the window"


def attended_places(step: Step) -> Iterator[list[tuple[int, int]]]:
    """(frame, time index) of everything that the heads of a group attend together; without groups, of a row."""
    if not step.attended.groups:
        yield from ([(at.frame, at.time) for at in row] for row in step.rows)
    for group in (group for groups in step.attended.groups for group in groups):
        whole = [(at.frame, at.time) for at in group.row]
        if group.tokens is None:
            yield whole
            continue
        frames, times = np.broadcast_arrays(np.atleast_2d(group.tokens.frames), np.atleast_2d(group.tokens.times))
        for head in zip(frames.tolist(), times.tolist(), strict=True):
            yield [*whole, *{*zip(*head, strict=True)}]


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
            same = same and alone.attended.groups[:1] == step.attended.groups[row : row + 1]
            require(same, f"{step.block}: take {row} of 3 attends or forgets other frames than alone")
    takes = subject.takes()
    for take, made in zip(takes, pocket().latents(takes), strict=True):
        require(torch.equal(pocket().latents([take])[0], made), f"take {take.seed} of 3 has other latents than alone")
    return "plans, and 3 takes of the pocket network bit by bit"


@check("resume")
def resume(subject: MethodSubject) -> str:
    """Neither what ran before, nor what runs beside it, nor the length of a take changes a plan or a bit."""
    disturb(1)
    beside = [step.attended for step, _ in zip(subject.walk([0]), subject.walk([1]), strict=True)]
    disturb(2)
    again = [step.attended for step in subject.walk([0])]
    require(beside == again, "made again, a take attends other frames; keep state in the instance, draw by info.seeds")
    long, short = (pocket().latents(subject.takes(blocks)[:1]) for blocks in (10, 8))
    require(torch.equal(long[:, :24], short), "a longer take does not begin like the shorter one")
    return "made again, beside another take, and longer: the same"


@check("equal budget")
def budget(subject: MethodSubject) -> str:
    """Never more frames' worth of tokens than the backbone's window holds, unless the method's published window is
    larger; in the end, on average, as many as the config says."""
    counts = [frames_worth(step.rows[0]) for step in subject.steps]
    own, most, seen = subject.config.window is not None, Window().size, sum(counts[BLOCKS // 2 :]) / (BLOCKS // 2)
    says = subject.config.attended(subject.window, NETWORK)
    table = f"{' '.join(f'{counts[block]:.3g}' for block in SHOWN)} frames in blocks {' '.join(map(str, SHOWN))}"
    table = f"{table}; {seen:.3g} on average in the last half"
    full = f"attends {max(counts):.3g} frames where the backbone's window holds {most}"
    if says is None:
        require(counts[-1] == 3 * BLOCKS, f"attended() is None, for all frames, but {table}")
        return f"every frame: {table}"
    require(own or max(counts) <= most, f"{full}; give `window` another default; {table}")
    unlike = f"attended() says {says:.3g} frames; {table}"
    require(0.99 <= seen / says <= 1.01 or (subject.config.varies and seen <= says), unlike)
    return table


@check("labels")
def labels(subject: MethodSubject) -> str:
    """Reasons are those that traces count; sink, window and block say where a frame is, and summary that an entry is
    derived; `keeps_evicted` says whether frames come back from the bank."""
    for step in subject.steps:
        live = subject.window.live(step.first + 3)
        for at in (at for row in step.rows for at in row):
            called = f"{step.block}: frame {at.frame}"
            require(at.reason in REASONS, f"{called}: reason = {at.reason!r}; must be one of {', '.join(REASONS)}")
            place = "block" if at.frame >= step.first else "sink" if at.frame < subject.window.sink else "window"
            true = SUMMARY if at.entry else place if at.frame in live else "out of the window"
            called = f"{called} is {true}, but called {at.reason}"
            require(at.reason == true or (at.reason == RETRIEVED and not at.entry), called)
    says, does = subject.config.keeps_evicted, any(map(subject.banked, subject.steps))
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
    if subject.config.needs_camera:
        blind = "needed"
    else:
        blind = "unused"
        for step, without in zip(subject.steps, subject.walk(camera=False), strict=True):
            same = step.attended == without.attended or subject.grouped
            require(same, f"{step.block}: attends other frames without a camera; set needs_camera")
    return f"unknown names: {'refused' if texts else 'none to give'}; camera: {blind}"


@check("recency guard")
def guard(subject: MethodSubject) -> str:
    """With recency_guard R, no frame of the R newest evicted; with top_k K too, as many of the others as K allows (with
    a gate, or none)."""
    if not hasattr(subject.config, "recency_guard"):
        return "none declared"
    guards = sorted({0, 2, subject.config.recency_guard})
    for newest in guards:
        config = replace(subject.config, recency_guard=newest)
        for step in islice(subject.walk([0], config), 15):
            evicted, got = subject.window.evicted(step.first), subject.banked(step)
            where = f"recency_guard {newest}, {step.block}: of evicted frames {evicted.start}..{evicted.stop - 1}"
            require(all(frame < evicted.stop - newest for frame in got), f"{where} attends {got}")
            due = min(getattr(config, "top_k", 0), max(0, len(evicted) - newest))
            gated = getattr(config, "gate", None) is not None and not got
            right = gated or len(got) == due
            require(not isinstance(config, MemoryConfig) or right, f"{where} attends {len(got)}, not {due}")
    return f"{', '.join(map(str, guards))} newest evicted frames are left out"


@check("window")
def windows(subject: MethodSubject) -> str:
    """A window without end is full attention; one that is too small for a block is refused. A method whose published
    window is not the backbone's may refuse other sizes."""
    refused = require_full_attention(subject)
    small = replace(subject.config, window=3, sink=1)
    try:
        small.check(small.window_in(Window()), LATENT)
    except ConfigError:
        return f"without end: {'refused' if refused else 'full attention'}; too small: refused"
    raise Broken("window = 3 with a sink of 1 and blocks of 3 is accepted; call super().check")


def require_full_attention(subject: MethodSubject) -> bool:
    """False if a window without end attends every frame; True if the method refuses it, and may."""
    try:
        wide = replace(subject.config, window=10_000)
        wide.check(wide.window_in(Window()), LATENT)
    except ConfigError:
        require(subject.config.window is not None, "window = 10000 is refused; a window without end is full attention")
        return True
    for step in subject.walk([0], wide):
        frames = sorted(at.frame for at in step.rows[0])
        require(frames == [*range(step.first + 3)], f"window = 10000, {step.block}: attends {frames}")
    return False
