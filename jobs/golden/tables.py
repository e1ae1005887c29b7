"""What a recorded block attended, against what ours did.

A case tells it for all heads alike (`attended`, of each row), by layer, by named groups of heads, or by layer and head.
Everything but the first is compared token by token, for each layer and head. A case of several rows has one such table
for all, or one for each.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from longtake.jobs.golden.rows import by_row
from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import Block
from longtake.platform.methods.base import Attended, Group, Plan
from longtake.platform.models.spec import DiTSpec

Token = tuple[str, int, int]
"""The frame or the name of a derived entry, the token in it, the time index."""
LISTS = {"attended": 2, "attended_by_layer": 1, "attended_by_layer_and_head": 2, "attended_by_group": 0}
"""Tables of a row, and how many lists lie in each other in one, down to an object or an entry."""
KEYS = {"block", "start_frame", "query_positions", "dynamic_chunks", *LISTS}
"""Keys of a recorded block that are compared here."""


def same_choice(block: Block, golden: Mapping[str, Any], facts: Mapping[str, Any], spec: DiTSpec) -> bool:
    """Whether a block attended the same entries at the same time indices, also as a query, in every row. Raises
    ConfigError if that is not recorded."""
    if golden.get("block", block.index) != block.index or golden.get("start_frame", block.first) != block.first:
        return False
    names = [name for name in LISTS if name in golden]
    if not names or "query_positions" not in golden:
        missing = "query_positions" if names else "attended"
        raise ConfigError(f"blocks: block {block.index} has no {missing}; record the case again")
    batch = len(block.plan.rows)
    if any(at != list(block.plan.query_times) for at in by_row(golden["query_positions"], 1, batch)):
        return False
    return all(same_table(name, block, golden, facts, spec) for name in names)


def same_table(name: str, block: Block, golden: Mapping[str, Any], facts: Mapping[str, Any], spec: DiTSpec) -> bool:
    """Whether every row of ours is as in one of the block's tables."""
    batch = len(block.plan.rows)
    if name == "attended" and not block.plan.groups:
        return [[[label(at), at.time] for at in row if at.part == 1] for row in block.plan.rows] == golden[name]
    tables, chunks = rows_of(name, golden, batch), by_row(golden.get("dynamic_chunks", []), 2, batch)
    for row, (table, runs) in enumerate(zip(tables, chunks, strict=True)):
        told = {name: table, "dynamic_chunks": runs}
        if attended(block.plan, row, spec) != by_head(told, of_row(facts, row), spec):
            return False
    return True


def rows_of(name: str, golden: Mapping[str, Any], batch: int) -> list[Any]:
    """The table of each row."""
    table = golden[name]
    if name == "attended":
        return list(table)
    whole = name == "attended_by_layer" and table and not isinstance(innermost(table), dict)
    return by_row(table, LISTS[name] + (2 if whole else 0), batch)


def innermost(value: Any) -> Any:
    """What lies in the first lists of lists."""
    return innermost(value[0]) if isinstance(value, list) and value else value


def of_row(facts: Mapping[str, Any], row: int) -> Mapping[str, Any]:
    """The facts of a case with the groups of heads of one row."""
    if "head_groups" not in facts:
        return facts
    return {**facts, "head_groups": by_row(facts["head_groups"], 1, facts["batch"])[row]}


def attended(plan: Plan, row: int, spec: DiTSpec) -> dict[tuple[int, int], list[Token]]:
    """(layer, head) -> what ours attended in a row of the batch."""
    layers, heads = tuple(range(spec.layers)), tuple(range(spec.heads))
    groups = plan.groups[row] if plan.groups else (Group(layers, heads, plan.rows[row]),)
    return {
        (layer, head): tokens
        for group in groups
        for layer in group.layers
        for head, tokens in zip(group.heads, group_tokens(group, spec), strict=True)
    }


def label(at: Attended) -> int | str:
    return at.entry or at.frame


def group_tokens(group: Group, spec: DiTSpec) -> list[list[Token]]:
    """What each head of a group attends."""
    whole = [
        (str(label(at)), token, at.time) for at in group.row for token in range(round(at.part * spec.frame_tokens))
    ]
    single: list[list[Token]] = [[] for _ in group.heads]
    if group.tokens is not None:
        frames, tokens, times = (
            np.broadcast_to(x, (len(group.heads), x.shape[-1])).tolist() for x in group.tokens.arrays
        )
        single = [
            [(str(f), t, at) for f, t, at in zip(*head, strict=True)]
            for head in zip(frames, tokens, times, strict=True)
        ]
    return [sorted([*whole, *mine]) for mine in single]


def entries(recorded: Iterable[list[Any]], spec: DiTSpec) -> list[Token]:
    """The tokens of whole entries [entry, time index]."""
    return [(str(entry), token, time) for entry, time in recorded for token in range(spec.frame_tokens)]


def by_head(golden: Mapping[str, Any], facts: Mapping[str, Any], spec: DiTSpec) -> dict[tuple[int, int], list[Token]]:
    """(layer, head) -> what it attended."""
    found: dict[tuple[int, int], list[Token]] = {}
    for layer in range(spec.layers):
        for head in range(spec.heads):
            if "attended" in golden:
                tokens = entries(golden["attended"], spec)
            elif "attended_by_layer" in golden:
                tokens = layer_tokens(golden["attended_by_layer"][layer], spec)
            elif "attended_by_layer_and_head" in golden:
                layers = golden["attended_by_layer_and_head"]
                mine = layers[layer if len(layers) > 1 else 0][head]
                tokens = own_index(mine["whole"], mine["tokens"], spec)
            else:
                tokens = named_tokens(golden, facts, spec, layer, head)
            found[layer, head] = sorted(tokens)
    return found


def layer_tokens(recorded: Any, spec: DiTSpec) -> list[Token]:
    """TetherCache lists entries; Deep Forcing a sink with its time indices, and frames and tokens at their own."""
    if isinstance(recorded, list):
        return entries(recorded, spec)
    return entries(recorded["sink"], spec) + own_index(
        recorded["frames_at_own_index"], recorded["tokens_at_own_index"], spec
    )


def own_index(frames: list[int], tokens: list[list[int]], spec: DiTSpec) -> list[Token]:
    return entries([[frame, frame] for frame in frames], spec) + [(str(f), token, f) for f, token in tokens]


def named_tokens(
    golden: Mapping[str, Any], facts: Mapping[str, Any], spec: DiTSpec, layer: int, head: int
) -> list[Token]:
    """Dummy Forcing has groups `first`, `mid`, `last`; Forcing-KV `layer 0`, `static`, `dynamic` with runs of
    tokens."""
    groups = golden["attended_by_group"]
    if "all" in groups:
        return entries(groups["all"], spec)
    if "head_groups" in facts:
        name = next(name for name, heads in facts["head_groups"][layer].items() if head in heads)
        return entries(groups[name], spec)
    if layer == 0:
        return entries(groups["layer 0"], spec)
    if head in facts["config"]["static_heads"][layer]:
        return entries(groups["static"], spec)
    size = spec.frame_tokens // facts["config"]["patches_per_frame"]
    runs = [[f, t] for f, run in golden.get("dynamic_chunks", []) for t in range(run * size, (run + 1) * size)]
    return entries(groups["dynamic"], spec) + own_index([], runs, spec)
