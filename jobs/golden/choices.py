"""The logs of choices of a case beside ours: what was chosen in each block, and the scores.

A log is a list at the top of the JSON, of an object a block, or a key of `blocks`. Scores are rounded in the recording.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from longtake.jobs.golden.arrays import TOLERANCE
from longtake.jobs.golden.engine import Run
from longtake.jobs.golden.given import ScoredForcingKVMethod, ScoredTetherCacheMethod
from longtake.jobs.golden.rows import by_row
from longtake.jobs.golden.tables import rows_of
from longtake.platform.methods.base import RETRIEVED
from longtake.platform.methods.deep_forcing import DeepForcingMethod, Held
from longtake.platform.methods.dummy_forcing import DummyForcingMethod
from longtake.platform.methods.fademem import FadeMemMethod
from longtake.platform.methods.parts.heads.mass import DUMMY, FIRST, MIDDLE
from longtake.platform.methods.parts.memory import MemoryMethod
from longtake.platform.methods.parts.retrieval import RetrievalMemory
from longtake.platform.methods.triattention import TriAttentionMethod

RETRIEVAL = (
    *("eligible", "frames_evicted_before_block", "selected_global", "selected_pool"),
    *("similarities", "gap_to_next", "all_candidate_similarities"),
)
"""Keys of `blocks` that LongLive-RAG's cases have."""


@dataclass(frozen=True)
class Log:
    """Whether a log is as ours; `unread`: which of its keys are not compared."""

    agrees: bool
    unread: tuple[str, ...] = ()


def logs(run: Run, facts: Mapping[str, Any]) -> dict[str, Log]:
    """By name, every log that is recorded and that ours can be compared with."""
    found = {}
    for name, (kind, compare) in COMPARED.items():
        if name in facts and isinstance(run.rollout.method, kind):
            found[name] = compare(run, facts[name])
    if isinstance(run.rollout.method, DeepForcingMethod) and "attended_by_layer" in facts["blocks"][0]:
        found["compressed"] = compressed(run, facts["blocks"])
    if isinstance(run.rollout.method, TriAttentionMethod) and "same_in_all_layers" in facts["blocks"][0]:
        shared = run.rollout.method.config.shared_by_layers
        found["same_in_all_layers"] = Log(all(block["same_in_all_layers"] == shared for block in facts["blocks"]))
    for key in RETRIEVAL:
        if any(key in block for block in facts["blocks"]):
            found[key] = Log(all(same(ours(run, key, i), at[key]) for i, at in enumerate(facts["blocks"]) if key in at))
    return found


def same(ours: Any, golden: Any) -> bool:
    """Whether two tables are equal, numbers that are no integers within the tolerance."""
    if isinstance(golden, list) and isinstance(ours, list):
        return len(ours) == len(golden) and all(map(same, ours, golden))
    if isinstance(golden, float) and isinstance(ours, int | float):
        return abs(ours - golden) <= TOLERANCE
    return bool(ours == golden)


def unread(log: list[Any], *known: str) -> tuple[str, ...]:
    """Other keys of the objects in a log, which may lie in lists of lists."""
    return tuple(sorted({key for item in objects(log) for key in item} - {"block", *known}))


def objects(log: Any) -> list[dict[str, Any]]:
    if isinstance(log, list):
        return [item for inner in log for item in objects(inner)]
    return [log] if isinstance(log, dict) else []


def ours(run: Run, key: str, block: int) -> Any:
    """What a block of ours has under a key of LongLive-RAG's log; None or 0 where nothing was to be chosen."""
    method, at = run.rollout.method, run.blocks[block]
    if not isinstance(method, MemoryMethod):
        return 0 if key == "eligible" else None
    eligible = method.eligible(0, at.first)
    chosen = [[entry for entry in row if entry.reason == RETRIEVED] for row in at.plan.rows]
    if key == "eligible":
        return len(eligible)
    if key == "frames_evicted_before_block":
        return len(method.window.evicted(at.first))
    if not chosen[0]:
        return None
    if key in ("selected_global", "selected_pool"):
        before = method.window.sink if key == "selected_pool" else 0
        return [[entry.frame - before for entry in row] for row in chosen]
    if key == "similarities":
        return [[entry.similarity for entry in row] for row in chosen]
    scores = similarities(method, eligible, at.first) if isinstance(method, RetrievalMemory) else []
    if key == "all_candidate_similarities":
        return scores
    count = len(chosen[0])
    ranked = [sorted(row, reverse=True) for row in scores]
    return [gap_at(row, count) for row in ranked]


def similarities(method: RetrievalMemory, eligible: list[int], first: int) -> list[list[float]]:
    """Per row, the cosine of every eligible frame and the newest one."""
    unit = method.descriptors.unit
    found: list[list[float]] = (unit[:, eligible] @ unit[:, first - 1, :, None])[..., 0].tolist()
    return found


def admissions(run: Run, log: list[dict[str, Any]]) -> Log:
    """TetherCache: candidates, scores and what is kept, by layer."""
    method = run.rollout.method
    assert isinstance(method, ScoredTetherCacheMethod)
    rows, layers = method.info.rows, method.spec.layers
    chosen = iter(method.scored)
    size, full = method.window.block, method.full
    blocks = [b for b in range(len(run.blocks)) if (b + 1) * size - method.config.recent > full]
    agrees = [item["block"] for item in log] == blocks and len(method.scored) == len(blocks) * layers * rows
    for item in log if agrees else []:
        golden = [by_row(layer, 0, rows) for layer in item["layers"]]
        for layer in range(layers):
            for row in range(rows):
                candidates, scores = next(chosen)
                kept = run.states[item["block"] + 1]["memory"][row][layer]
                gap = gap_at(sorted(scores, reverse=True), len(kept))
                made = {"candidates": candidates, "kept": kept, "scores": scores, "gap": gap}
                told = golden[layer][row]
                agrees &= all(same(value, told[key]) for key, value in made.items() if key in told)
    return Log(agrees, unread([item["layers"] for item in log], "candidates", "kept", "scores", "gap"))


def gap_at(ranked: list[float], count: int) -> float | None:
    """Between the last of the best `count` scores and the next one; None if all are among them."""
    return abs(ranked[count - 1] - ranked[count]) if 0 < count < len(ranked) else None


def compressions(run: Run, log: list[dict[str, Any]]) -> Log:
    """Deep Forcing: how many tokens each layer kept, and how many were no candidates any more."""
    method = run.rollout.method
    assert isinstance(method, DeepForcingMethod)
    most = method.config.reuse or math.inf
    made = [
        (b, [at and (int((at[0].uses >= most).sum()), len(at[1].uses)) for at in layers])
        for b, rows in enumerate(held_anew(run))
        for layers in rows
        if any(layers)
    ]
    told = [
        (item["block"], [at and (at["excluded"], at["tokens_kept"]) for at in layers])
        for item in log
        for layers in by_row(item["layers"], 1, method.info.rows)
    ]
    return Log(made == told, unread([item["layers"] for item in log], "excluded", "tokens_kept"))


def compressed(run: Run, blocks: list[dict[str, Any]]) -> Log:
    """Deep Forcing: whether each layer compressed what it held."""
    made = [[list(map(bool, layers)) for layers in rows] for rows in held_anew(run)]
    told = [rows_of("attended_by_layer", block, len(rows)) for block, rows in zip(blocks, made, strict=True)]
    given = [[[at.get("compressed") for at in layers] for layers in rows] for rows in told]
    return Log(given in (made, [[[None] * len(layers) for layers in rows] for rows in made]))


def held_anew(run: Run) -> list[list[list[tuple[Held, Held] | None]]]:
    """By block, row and layer: what Deep Forcing held before a compression and after it; None: there was none."""
    pairs = pairwise(at["held"] for at in run.states)
    return [
        [
            [None if one is two else (one, two) for one, two in zip(old, new, strict=True)]
            for old, new in zip(before, after, strict=True)
        ]
        for before, after in pairs
    ]


def chunk_selections(run: Run, log: list[dict[str, Any]]) -> Log:
    """Forcing-KV: the runs that a commit pass kept, counted from the oldest frame that leaves."""
    method = run.rollout.method
    assert isinstance(method, ScoredForcingKVMethod)
    made, size, runs = [], method.spec.frame_tokens, method.config.runs
    scored = iter(method.scored)
    run_of = [at for at in range(runs) for _ in range(at * size // runs, (at + 1) * size // runs)]
    for b, (before, after) in enumerate(pairwise(run.states)):
        oldest = method.compared(b * method.window.block).start
        for old, new in zip(before["chunks"], after["chunks"], strict=True):
            if new is not None and new is not old:
                pairs = zip(new.frames.tolist(), new.tokens.tolist(), strict=True)
                made.append((b, sorted({(f - oldest) * runs + run_of[token] for f, token in pairs})))
    rows = method.info.rows
    told = [(item["block"], sorted(kept)) for item in log for kept in by_row(item["kept_chunks"], 1, rows)]
    agrees, count = made == told, runs * method.config.dynamic_frames
    for item in log if agrees else []:
        scores, gaps = (by_row(item.get(key), lists, rows) for key, lists in (("scores", 1), ("gap", 0)))
        for score, gap in zip(scores, gaps, strict=True):
            found = next(scored)
            agrees &= score is None or same(found, score)
            agrees &= gap is None or same(gap_at(sorted(found), count), gap)
    return Log(agrees, unread(log, "kept_chunks", "scores", "gap"))


def memory(run: Run, log: list[dict[str, Any]]) -> Log:
    """FadeMem: centre and span of every slot, as a block attends them."""
    made = []
    for block in run.blocks:
        slots = [entry.entry.split("x") for entry in block.plan.rows[0] if entry.entry]
        made.append((block.index, [int(centre) for centre, _ in slots], [int(span) for _, span in slots]))
    told = [(item["block"], item["center"], item["span"]) for item in log]
    return Log(made == told, unread(log, "center", "span"))


def head_groups(run: Run, log: list[Any]) -> Log:
    """Dummy Forcing: the heads of each kind, by layer."""
    made = [
        [{name: np.flatnonzero(layer == kind).tolist() for name, kind in KINDS.items()} for layer in kinds]
        for kinds in run.states[-1]["kinds"]
    ]
    told = [[{name: layer.get(name, []) for name in KINDS} for layer in row] for row in by_row(log, 1, len(made))]
    return Log(made == told)


def head_scores(run: Run, log: list[Any]) -> Log:
    """Dummy Forcing: every head's attention mass on the first frame, the middle, and the new block."""
    method = run.rollout.method
    assert isinstance(method, DummyForcingMethod)
    mass = method.mass
    whole = np.concatenate([mass, 1 - mass.sum(axis=-1, keepdims=True)], axis=-1)
    return Log(same(whole.tolist(), by_row(log, 3, len(mass))))


KINDS = {"first": FIRST, "mid": MIDDLE, "last": DUMMY}
COMPARED: Mapping[str, tuple[type, Callable[[Run, Any], Log]]] = {
    "admissions": (ScoredTetherCacheMethod, admissions),
    "compressions": (DeepForcingMethod, compressions),
    "chunk_selections": (ScoredForcingKVMethod, chunk_selections),
    "memory": (FadeMemMethod, memory),
    "head_groups": (DummyForcingMethod, head_groups),
    "head_scores_first_mid_last": (DummyForcingMethod, head_scores),
}
"""Log -> the method that has it, and how it is compared."""
