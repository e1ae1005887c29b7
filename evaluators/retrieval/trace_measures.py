"""What a made video attended, block by block, from the rows of its trace and nothing else.

What a frame shows is what its camera column should show, whatever the generator painted there. Blocks that were given
are left out. A block that a measure asks nothing of is NaN; a measure that a whole video cannot have is its reason.
Eligible is what the window and the recency guard leave, also when a bank's budget has dropped it since: what a method
let go of, it does not show.

Legend: N generated blocks, K frames retrieved (-1: fewer), F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtake.evaluators.retrieval.drive import Note, measure, together
from longtake.evaluators.retrieval.trace_rows import MEMORY, Block
from longtake.evaluators.retrieval.world import Array, Mask, Scene
from longtake.platform.methods.base import Window
from longtake.platform.stats import mean_known

SHARES = {"memory": MEMORY, "sink": "sink", "window": "window", "block": "block"}
WORLD = {"places": "places", "relevant": "precision", "coverage": "coverage"}
"""Our name -> that of retrieval.MEASURES."""
LOOKS_BACK = ("memory_frames", "similarity", "best_similarity", "age_s", "from_start", "again")
MEASURES = (*LOOKS_BACK, *(f"attention_{name}" for name in SHARES), "attention_ratio", *WORLD)

NO_MEMORY = "no memory method"
NO_SIMILARITY = "the method compares no frames"
NO_PREFIX = "no frames were given"
NO_ATTENTION = "no attention measured"
NO_CAMERA = "no known camera"

Measured = dict[str, Array | str]
"""Every one of MEASURES: a value per generated block [N], or why there is none."""


@dataclass(frozen=True)
class TraceContext:
    """What a trace does not say of its video. `recency_guard`: None without memory; `scene`: None without a camera."""

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
    """Seconds [N] at which the generated blocks begin, and every measure of them."""
    made = [block for block in blocks if not block.given]
    measured = memory(blocks, context) | attention(made, context.recency_guard is not None) | world(made, context)
    return np.array([block.first / context.latent_fps for block in made]), measured


def memory(blocks: Sequence[Block], context: TraceContext) -> Measured:
    """How many frames were retrieved, how alike they are, from when, and whether the next block keeps them."""
    if context.recency_guard is None:
        return dict.fromkeys(LOOKS_BACK, NO_MEMORY)
    made = [block for block in blocks if not block.given]
    taken = [np.array(block.retrieved) for block in made]
    alike = [np.array(block.similarities) for block in made]
    ages = [(block.first - frames) / context.latent_fps for block, frames in zip(made, taken, strict=True)]
    before = {block.end: block.retrieved for block in blocks}
    again = [np.isin(before.get(block.first, []), block.retrieved) for block in made]
    no_similarity = any(map(len, taken)) and not any(map(len, alike))
    return {
        "memory_frames": np.array([float(len(frames)) for frames in taken]),
        "similarity": NO_SIMILARITY if no_similarity else np.array([mean_known(values) for values in alike]),
        "best_similarity": NO_SIMILARITY if no_similarity else np.array([largest(values) for values in alike]),
        "age_s": np.array([float(np.median(age)) if age.size else np.nan for age in ages]),
        "from_start": np.array([share_true(frames < context.prefix_frames) for frames in taken])
        if context.prefix_frames
        else NO_PREFIX,
        "again": np.array([share_true(kept) for kept in again]),
    }


def share_true(values: Mask) -> float:
    return float(values.mean()) if values.size else float("nan")


def largest(values: Array) -> float:
    return float(values.max()) if values.size else float("nan")


def attention(made: Sequence[Block], looks_back: bool) -> Measured:
    """Shares of the attention, and memory's share over its share of the attended frames."""
    names = [f"attention_{name}" for name in SHARES]
    if all(block.attention is None for block in made):
        return dict.fromkeys([*names, "attention_ratio"], NO_ATTENTION)
    found: Measured = {
        f"attention_{name}": np.array([block.share(reason) for block in made]) for name, reason in SHARES.items()
    }
    if not looks_back:
        return found | {"attention_memory": NO_MEMORY, "attention_ratio": NO_MEMORY}
    of_frames = np.array([len(block.retrieved) / len(block.attended) for block in made])
    of_attention = np.array([block.share(MEMORY) for block in made])
    ratio = np.full(len(made), np.nan)
    np.divide(of_attention, of_frames, out=ratio, where=of_frames > 0)
    return found | {"attention_ratio": ratio}


def world(made: Sequence[Block], context: TraceContext) -> Measured:
    """What the retrieved frames show, as `retrieval.measure` counts it: NaN where nothing was eligible."""
    if context.recency_guard is None:
        return dict.fromkeys(WORLD, NO_MEMORY)
    if context.scene is None:
        return dict.fromkeys(WORLD, NO_CAMERA)
    most = max((len(block.retrieved) for block in made), default=0)
    notes: list[Note] = [(block.first, list(context.eligible(block.first)), block.retrieved, []) for block in made]
    asked = np.array([bool(eligible) for _, eligible, _, _ in notes], dtype=bool)
    counted = measure(together(notes, context.latent_frames, most), context.scene, context.window.block)
    found: Measured = {}
    for ours, theirs in WORLD.items():
        values = np.full(len(made), np.nan)
        values[asked] = counted[theirs]
        found[ours] = values
    return found
