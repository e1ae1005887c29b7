"""What a descriptor retrieves: the method of a sweep, driven along true videos, held against what frames really show.

The window's rule, what is eligible, ties and K are the method's own: each block it is asked for its plan and then shown
the block's true latents, as a rollout would. Measured is every block that could have been answered; a block that could
not is NaN and left out. Frames of one place are copies in a world that stands still, and any descriptor finds a copy,
so that `shifted_recall` and `shifted_precision` ask the same rule again with the copies of the query taken away.

Legend: P videos, F frames, N blocks with something eligible, K frames retrieved (-1: fewer), D distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from longtake.evaluators.retrieval.world import Array, Mask, Scene, TrueVideos, Whole
from longtake.platform.errors import WeightsError
from longtake.platform.methods.base import Window
from longtake.platform.methods.descriptors import unit_length
from longtake.platform.methods.memory import MemoryConfig, MemoryMethod

MEASURES = (
    "recall",
    "precision",
    "strict_recall",
    "shifted_recall",
    "shifted_precision",
    "places",
    "coverage",
)
LOSS_WINDOW = 3
NEAR, STEP = 48, 12
"""Every distance up to NEAR frames by itself, beyond it STEP frames together."""


@dataclass(frozen=True)
class Found:
    """What a method retrieved along one video; `others_NK` is its answer without copies of the query's view."""

    firsts_N: Whole
    eligible_NF: Mask
    chosen_NK: Whole
    others_NK: Whole


@dataclass(frozen=True)
class Driven:
    """A method's answers along all videos, and its descriptors [F, E] of length 1 where it compares frames."""

    found: list[Found]
    described: list[torch.Tensor] | None


def drive(config: MemoryConfig, videos: TrueVideos, window: Window, tell: Callable[[int], None]) -> Driven:
    """Let the method plan every block of the videos. Raises WeightsError when a descriptor is not a number.

    `tell` gets the number of frames done.
    """
    method = config.build(videos.info(window))
    assert isinstance(method, MemoryMethod)
    rows = range(len(videos.scenes))
    notes: list[list[Note]] = [[] for _ in rows]
    with torch.inference_mode():
        for first in range(0, videos.frames - videos.frames % window.block, window.block):
            plan = method.plan(first)
            for row in rows:
                chosen = [at.frame for at in plan.rows[row] if at.reason == "retrieved"]
                notes[row].append(note(method, videos.scenes[row], row, first, chosen))
            method.forget(first)
            method.observe(first, videos.latents[:, first : first + window.block])
            tell(first + window.block)
        described = list(unit_length(method.descriptors.all)) if method.needs_descriptors else None
    if described is not None and not all(bool((one.norm(dim=-1) > 0.5).all()) for one in described):  # NaN is not
        wrong = "has no direction (0, NaN or infinity) for true latents; train it again"
        raise WeightsError(f"descriptor {config.described_by}: {wrong}")
    return Driven([together(one, videos.frames, config.top_k) for one in notes], described)


Note = tuple[int, list[int], list[int], list[int]]
"""A block: its first frame, and the frames eligible, retrieved, and retrieved with copies of the query taken away."""


def note(method: MemoryMethod, scene: Scene, row: int, first: int, chosen: list[int]) -> Note:
    eligible = method.eligible(row, first)
    if not eligible:
        return first, [], [], []
    copies = scene.copies_FF[first - 1, eligible]
    others = [frame for frame, copy in zip(eligible, copies.tolist(), strict=True) if not copy]
    count = min(method.top_k, len(others))
    again = [frame for frame, _ in method.choose(row, first, others, count)] if count else []
    return first, eligible, chosen, again


def together(notes: list[Note], frames: int, top_k: int) -> Found:
    """The blocks that had something to choose from."""
    kept = [one for one in notes if one[1]]
    eligible = np.zeros((len(kept), frames), dtype=bool)
    chosen, others = np.full((2, len(kept), top_k), -1, dtype=np.int64)
    for n, (_, may, took, again) in enumerate(kept):
        eligible[n, may] = True
        chosen[n, : len(took)], others[n, : len(again)] = took, again
    return Found(np.array([one[0] for one in kept], dtype=np.int64), eligible, chosen, others)


def measure(found: Found, scene: Scene, block: int) -> dict[str, Array]:
    """Every measure of MEASURES for each block [N]; NaN where the block asks nothing of it."""
    query_N = found.firsts_N - 1
    alike_NF = scene.shared_FF[query_N] >= scene.view_columns / 2
    copies_NF = scene.copies_FF[query_N]
    recall, precision = shares(alike_NF, found.eligible_NF, found.chosen_NK)
    strict, _ = shares(copies_NF, found.eligible_NF, found.chosen_NK)
    shifted = shares(alike_NF, found.eligible_NF & ~copies_NF, found.others_NK)
    return {
        "recall": recall,
        "precision": precision,
        "strict_recall": strict,
        "shifted_recall": shifted[0],
        "shifted_precision": shifted[1],
        "places": places(found.chosen_NK, scene),
        "coverage": coverage(found, scene, block),
    }


def shares(relevant_NF: Mask, eligible_NF: Mask, chosen_NK: Whole) -> tuple[Array, Array]:
    """(1 where a relevant frame is among the K, share of the K that is relevant); NaN where none is eligible."""
    answerable_N = (relevant_NF & eligible_NF).any(axis=1)
    hits_N = picked(relevant_NF, chosen_NK).sum(axis=1)
    taken_N = np.maximum((chosen_NK >= 0).sum(axis=1), 1)
    return np.where(answerable_N, hits_N > 0, np.nan), np.where(answerable_N, hits_N / taken_N, np.nan)


def picked(true_NF: Mask, chosen_NK: Whole) -> Mask:
    """[N, K]: whether it is true of the frames retrieved."""
    hits: Mask = np.take_along_axis(true_NF, np.maximum(chosen_NK, 0), axis=1) & (chosen_NK >= 0)
    return hits


def places(chosen_NK: Whole, scene: Scene) -> Array:
    """How many camera columns the K frames come from; NaN for a block that retrieved fewer than K."""
    if not chosen_NK.size:
        return np.full(len(chosen_NK), np.nan)
    place_NK = np.sort(scene.camera_F[chosen_NK] % scene.world_columns, axis=1)
    distinct_N = 1 + (np.diff(place_NK, axis=1) != 0).sum(axis=1)
    return np.where((chosen_NK >= 0).all(axis=1), distinct_N, np.nan)


def coverage(found: Found, scene: Scene, block: int) -> Array:
    """Of the columns that a block brings into view and some eligible frame shows, the share that the K frames show."""
    shows_FW = scene.shows_FW
    frames_NB = found.firsts_N[:, None] + np.arange(block)
    new_NW = shows_FW[frames_NB].any(axis=1) & ~shows_FW[frames_NB - block].any(axis=1)
    known_NW = found.eligible_NF.astype(np.float32) @ shows_FW.astype(np.float32) > 0
    shown_NW = (shows_FW[found.chosen_NK] & (found.chosen_NK >= 0)[..., None]).any(axis=1)
    wanted_N = (new_NW & known_NW).sum(axis=1)
    got_N = (new_NW & known_NW & shown_NW).sum(axis=1)
    return np.where(wanted_N > 0, got_N / np.maximum(wanted_N, 1), np.nan)


def distances(frames: int) -> list[tuple[int, int]]:
    """Ranges of temporal distance, ends included: each up to NEAR by itself, then STEP together, whole ones only."""
    near = [(k, k) for k in range(1, min(NEAR, frames - 1) + 1)]
    return near + [(k, k + STEP - 1) for k in range(NEAR + 1, frames - STEP + 1, STEP)]


@dataclass(frozen=True)
class Similarity:
    """Mean cosine of pairs of frames: by temporal distance [D], and by shared columns [view + 1] of pairs at least a
    window apart, which are the ones that retrieval can meet."""

    by_distance_D: Array
    by_shared: Array
    local_redundancy: float
    overlap_gap: float


def similarity(described: torch.Tensor, scene: Scene, apart: int) -> Similarity:
    """Of descriptors [F, E] of length 1. `overlap_gap`: the same view seen again minus views that share nothing."""
    cosine_FF = (described.float() @ described.float().T).numpy().astype(np.float64)
    frames = len(cosine_FF)
    later, earlier = np.tril_indices(frames, -1)
    pairs, distance = cosine_FF[later, earlier], later - earlier
    lag_sums = np.bincount(distance, pairs, frames)
    lag_counts = np.bincount(distance, minlength=frames)
    by_distance = [ratio(lag_sums[a : b + 1].sum(), lag_counts[a : b + 1].sum()) for a, b in distances(frames)]
    far = distance >= apart
    shared, levels = scene.shared_FF[later[far], earlier[far]], scene.view_columns + 1
    sums, counts = np.bincount(shared, pairs[far], levels), np.bincount(shared, minlength=levels)
    by_shared = np.array([ratio(s, c) for s, c in zip(sums, counts, strict=True)])
    local = float(np.mean(by_distance[:LOSS_WINDOW]))
    return Similarity(np.array(by_distance), by_shared, local, float(by_shared[-1] - by_shared[0]))


def ratio(total: float, count: float) -> float:
    return float(total / count) if count else float("nan")
