"""What a recorded block attended, against what ours did.

A case tells it for all heads alike (`attended`), by layer, by named groups of heads, or by layer and head. Everything
but the first is compared token by token, for each layer and head.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from longtake.platform.generation.rollout import Block
from longtake.platform.methods.base import Attended, Group
from longtake.platform.models.spec import DiTSpec

Token = tuple[str, int, int]
"""The frame or the name of a derived entry, the token in it, the time index."""


def same_choice(block: Block, golden: Mapping[str, Any], facts: Mapping[str, Any], spec: DiTSpec) -> bool:
    """Whether a block attended the same entries at the same time indices, also as a query."""
    if list(block.plan.query_times) != golden["query_positions"]:
        return False
    if "attended" in golden:
        return [[[label(at), at.time] for at in row] for row in block.plan.rows] == golden["attended"]
    recorded = by_head(golden, facts, spec)
    ours = {
        (layer, head): tokens
        for group in block.plan.groups[0]
        for layer in group.layers
        for head, tokens in zip(group.heads, group_tokens(group, spec), strict=True)
    }
    return ours == recorded


def label(at: Attended) -> int | str:
    return at.entry or at.frame


def group_tokens(group: Group, spec: DiTSpec) -> list[list[Token]]:
    """What each head of a group attends."""
    whole = entries([[label(at), at.time] for at in group.row], spec)
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
            if "attended_by_layer" in golden:
                tokens = layer_tokens(golden["attended_by_layer"][layer], spec)
            elif "attended_by_layer_and_head" in golden:
                mine = golden["attended_by_layer_and_head"][layer][head]
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
