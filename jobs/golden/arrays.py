"""The arrays of a case beside ours.

Keys and values of the last layer are as the last block attended them, keys before rotation: averages, sinks and
memories of the rows of its plan. LongLive-RAG's `final_cache` is the window and its `pool` what has left it, both after
the last block; native keys are rotated there. FadeMem's memory has keys that are rotated to rows and columns alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.jobs.golden.case import Case
from longtake.jobs.golden.engine import Run
from longtake.platform.generation.grouped_context import GroupedContext
from longtake.platform.methods.base import Attended, Row
from longtake.platform.methods.fademem import FadeMemMethod
from longtake.platform.methods.native import SlidingWindow
from longtake.platform.methods.parts.descriptors import avg_pool
from longtake.platform.methods.parts.memory import MemoryMethod
from longtake.platform.methods.parts.tokens.key_scores import NAMES
from longtake.platform.methods.triattention import TriAttentionMethod
from longtake.platform.models import rope

TOLERANCE = 5e-5
"""Largest absolute difference allowed; a float64 run of the recorded cases differs by at most 4.4e-6."""
INPUTS = {"noise", "renoise", "prompt_embeds"}
"""Arrays that the engine is always given."""
STATE = re.compile(r"(\w+)_([kv])_last_layer(?:_first\d+)?")


@dataclass(frozen=True)
class Difference:
    """The largest difference of an array, infinite if shapes differ; `part`: what was compared, if not all of it."""

    size: float
    part: str = ""


def differences(run: Run, case: Case) -> Iterator[tuple[str, Difference | None]]:
    """By name, for every recorded array that is not an input; None: ours has nothing to compare it with."""
    given = INPUTS | {prompt["prompt_embeds"] for prompt in case.facts.get("prompts", [])}
    if isinstance(run.rollout.method, TriAttentionMethod):
        given |= {*NAMES}
    for name in sorted(case.tensors.keys() - given):
        yield name, difference(run, name, case.tensors[name])


def difference(run: Run, name: str, golden: Tensor) -> Difference | None:
    ours = counterpart(run, name, golden)
    if ours is None:
        return None
    if name.startswith("recache_flow_") and 0 < ours.shape[1] < golden.shape[1]:
        part = f"the last {ours.shape[1]} of {golden.shape[1]} frames, which are computed again"
        return Difference(largest(ours, golden[:, -ours.shape[1] :]), part)
    return Difference(largest(ours, golden))


def largest(ours: Tensor, golden: Tensor) -> float:
    if ours.shape != golden.shape:
        return float("inf")
    apart = (ours - golden.float()).abs()
    return float(apart.max()) if bool(apart.isfinite().all()) else float("inf")


def counterpart(run: Run, name: str, golden: Tensor) -> Tensor | None:
    """What the engine has for a recorded array."""
    if name == "output":
        return run.output
    if name == "flow_ctx":
        return torch.stack([block.commit_flow for block in run.blocks if block.commit_flow is not None])
    if name == "x0_steps":
        return run.predicted[: len(golden)]
    if name == "step_timesteps":
        return torch.cat([run.rollout.schedule.timesteps, torch.tensor([run.rollout.commit_timestep])])
    if name == "descriptors":
        return descriptors(run, golden)
    if name.startswith("recache_flow_"):
        which = name.removeprefix("recache_flow_")
        made = dict(enumerate(run.rollout.recached))
        return made.get(int(which), torch.empty(0, 0)) if which.isdigit() else None
    found = STATE.fullmatch(name)
    return kept(run, found[1], "kv".index(found[2]), golden) if found else None


def descriptors(run: Run, golden: Tensor) -> Tensor | None:
    """The descriptors that the method kept, or the average pool of the output if it keeps none."""
    method = run.rollout.method
    if isinstance(method, MemoryMethod) and method.needs_descriptors:
        return method.descriptors.all
    pooled = avg_pool(run.output)
    return pooled if pooled.shape == golden.shape else None


def kept(run: Run, stem: str, part: int, golden: Tensor) -> Tensor | None:
    """Keys (`part` 0) or values (1) of the last layer, in the shape of `golden`."""
    method, end = run.rollout.method, run.blocks[-1].first + run.rollout.method.window.block
    if stem == "pool":
        frames = [method.window.sink + i for i in range(golden.shape[1])]
        return torch.stack([cached(run, frame, part) for frame in frames], dim=1) if run.rollout.cache.bank else None
    if stem == "final_cache":
        if not isinstance(method, SlidingWindow | MemoryMethod) or end < method.window.size or run.rollout.switches:
            return None
        absolute = isinstance(method, SlidingWindow) and part == 0
        slots = {frame: cached(run, frame, part) for frame in method.window.live(end)}
        return torch.cat([turned(run, at, frame) if absolute else at for frame, at in slots.items()], dim=1)
    if isinstance(run.rollout.context, GroupedContext):
        return grouped(run, run.rollout.context, stem, part)
    entries = [run.made[at.source] if at.entry else run.rollout.cache.frame(at.frame) for at in chosen(run, stem)]
    inside = isinstance(method, FadeMemMethod) and stem == "memory" and part == 0
    found = [turned(run, entry[part, -1], 0) if inside else entry[part, -1] for entry in entries]
    return torch.cat(found, dim=1) if found else None


def cached(run: Run, frame: int, part: int) -> Tensor:
    """[B, T, h, d] of a frame in the window or the bank."""
    return torch.stack([run.rollout.cache.entry(row, frame)[part, -1] for row in range(len(run.output))])


def turned(run: Run, keys: Tensor, time: int) -> Tensor:
    """Keys [B, T, h, d] of a frame, rotated to a time index and to their rows and columns."""
    spec = run.rollout.network.spec
    grid = (spec.token_rows, spec.token_columns)
    return rope.rotate(keys, rope.frame_rotation(time, *grid, 0, spec.split, spec.rope_theta))


def chosen(run: Run, stem: str, row: Row | None = None) -> list[Attended]:
    """The entries of a row of the last plan that a case calls `stem`."""
    row, first, sink = row or run.blocks[-1].plan.rows[0], run.blocks[-1].first, run.rollout.method.window.sink
    if stem.startswith("ema_"):
        return [at for at in row if at.entry == stem.removeprefix("ema_")]
    if stem == "sink":
        return [at for at in row if at.frame < min(sink, first)]
    return [at for at in row if stem == "memory" and at.reason in ("summary", "retrieved")]


def grouped(run: Run, context: GroupedContext, stem: str, part: int) -> Tensor | None:
    """What all heads of the last layer hold after the last commit pass, if they hold the same."""
    rows = []
    for layers in context.states:
        if len(layers[-1]) != 1:
            return None
        (state,) = layers[-1]
        spans = [state.spans[at.source] for at in chosen(run, stem, state.group.row)]
        rows.append([(state.keys, state.values)[part][:, span].transpose(0, 1) for span in spans])
    return torch.stack([torch.cat(row) for row in rows]) if all(rows) else None
