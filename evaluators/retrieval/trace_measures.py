"""Measures of what a generated video attended, block by block, from the rows of its trace alone.

The content of a frame is taken from its camera column, not from the generated pixels. Prefix blocks are left out. An
undefined value is NaN; a measure that is undefined for the whole video is a string with the reason. Eligible frames
follow from the window and the recency guard; they include frames that the bank has dropped to stay within its budget.

Legend: N generated blocks, K frames retrieved (-1: fewer), F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtake.evaluators.retrieval.run import BlockRetrieval, collect_blocks, measure
from longtake.evaluators.retrieval.trace_rows import Block
from longtake.evaluators.retrieval.world import Array, Mask, Scene
from longtake.platform.methods.base import RETRIEVED, Window
from longtake.platform.stats import mean_known

SHARES = {"memory": (RETRIEVED, "summary"), "sink": ("sink",), "window": ("window",), "block": ("block",)}
WORLD = {"places": "places", "relevant": "precision", "coverage": "coverage"}
"""Name in a trace report -> name in run.MEASURES."""
MEMORY_MEASURES = ("memory_frames", "similarity", "best_similarity", "age_s", "from_start", "again")
MEASURES = (*MEMORY_MEASURES, *(f"attention_{name}" for name in SHARES), "attention_ratio", *WORLD)

NO_MEMORY = "no memory method"
NO_SIMILARITY = "the method compares no frames"
NO_PREFIX = "no frames were given"
NO_ATTENTION = "no attention measured"
NO_CAMERA = "no known camera"

Measured = dict[str, Array | str]
"""Each of MEASURES: values of the generated blocks [N], or the reason why there are none."""


@dataclass(frozen=True)
class TraceContext:
    """What a trace does not record. `recency_guard`: None without memory; `scene`: None without a known camera."""

    window: Window
    latent_fps: int
    latent_frames: int
    prefix_frames: int
    recency_guard: int | None
    scene: Scene | None

    def eligible(self, first: int) -> range:
        """Frames that block `first` could have retrieved."""
        evicted = self.window.evicted(first)
        return evicted[: max(0, len(evicted) - (self.recency_guard or 0))]


def measure_blocks(blocks: Sequence[Block], context: TraceContext) -> tuple[Array, Measured]:
    """The start times of the generated blocks in seconds [N], and their measures."""
    generated = [block for block in blocks if not block.given]
    attended = attention(generated, context.recency_guard is not None)
    measured = memory(blocks, context) | attended | world(generated, context)
    return np.array([block.first / context.latent_fps for block in generated]), measured


def memory(blocks: Sequence[Block], context: TraceContext) -> Measured:
    """Number, similarity and age of the retrieved frames, and the share that the next block retrieves again."""
    if context.recency_guard is None:
        return dict.fromkeys(MEMORY_MEASURES, NO_MEMORY)
    generated = [block for block in blocks if not block.given]
    retrieved = [np.array(block.retrieved) for block in generated]
    similarities = [np.array(block.similarities) for block in generated]
    ages = [(block.first - frames) / context.latent_fps for block, frames in zip(generated, retrieved, strict=True)]
    before = {block.end: block.retrieved for block in blocks}
    again = [np.isin(before.get(block.first, []), block.retrieved) for block in generated]
    no_similarity = any(map(len, retrieved)) and not any(map(len, similarities))
    return {
        "memory_frames": np.array([float(len(frames)) for frames in retrieved]),
        "similarity": NO_SIMILARITY if no_similarity else np.array([mean_known(values) for values in similarities]),
        "best_similarity": NO_SIMILARITY if no_similarity else np.array([largest(values) for values in similarities]),
        "age_s": np.array([float(np.median(age)) if age.size else np.nan for age in ages]),
        "from_start": np.array([share_true(frames < context.prefix_frames) for frames in retrieved])
        if context.prefix_frames
        else NO_PREFIX,
        "again": np.array([share_true(kept) for kept in again]),
    }


def share_true(values: Mask) -> float:
    return float(values.mean()) if values.size else float("nan")


def largest(values: Array) -> float:
    return float(values.max()) if values.size else float("nan")


def attention(generated: Sequence[Block], has_memory: bool) -> Measured:
    """Shares of the attention, and memory's share divided by its share of the attended frames."""
    names = [f"attention_{name}" for name in SHARES]
    if all(block.attention is None for block in generated):
        return dict.fromkeys([*names, "attention_ratio"], NO_ATTENTION)
    shares: Measured = {
        f"attention_{name}": np.array([block.share(*reasons) for block in generated])
        for name, reasons in SHARES.items()
    }
    if not has_memory:
        return shares | {"attention_memory": NO_MEMORY, "attention_ratio": NO_MEMORY}
    of_frames = np.array([len(block.retrieved) / len(block.attended) for block in generated])
    of_attention = np.array([block.share(RETRIEVED) for block in generated])
    ratio = np.full(len(generated), np.nan)
    np.divide(of_attention, of_frames, out=ratio, where=of_frames > 0)
    return shares | {"attention_ratio": ratio}


def world(generated: Sequence[Block], context: TraceContext) -> Measured:
    """Content of the retrieved frames, as `run.measure` computes it; NaN where no frame was eligible."""
    if context.recency_guard is None:
        return dict.fromkeys(WORLD, NO_MEMORY)
    if context.scene is None:
        return dict.fromkeys(WORLD, NO_CAMERA)
    top_k = max((len(block.retrieved) for block in generated), default=0)
    blocks: list[BlockRetrieval] = [
        (block.first, list(context.eligible(block.first)), block.retrieved, []) for block in generated
    ]
    has_eligible = np.array([bool(eligible) for _, eligible, _, _ in blocks], dtype=bool)
    measured = measure(collect_blocks(blocks, context.latent_frames, top_k), context.scene, context.window.block)
    values: Measured = {}
    for name, source in WORLD.items():
        values_N = np.full(len(generated), np.nan)
        values_N[has_eligible] = measured[source]
        values[name] = values_N
    return values
