"""Runs a context method along true videos and compares the retrieved frames with the ground truth.

For each block, the method plans and then observes the block's true latents, as in a rollout; it applies its own window,
eligibility, tie and top-K rules. A block without a relevant eligible frame scores NaN and is left out of the means.
The world is static, so two frames from one camera column are copies, which any descriptor retrieves. Therefore
`shifted_recall` and `shifted_precision` repeat the retrieval without the copies of the query.

Legend: P videos, F frames, N blocks with eligible frames, K retrieved frames (-1: fewer), D distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from longtake.evaluators.retrieval.world import Array, IntArray, Mask, Scene, TrueVideos
from longtake.platform.errors import WeightsError
from longtake.platform.methods.base import RETRIEVED, Window
from longtake.platform.methods.parts.descriptors import unit_length
from longtake.platform.methods.parts.memory import MemoryConfig, MemoryMethod

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
"""Distances up to NEAR frames are reported one by one, longer ones in bins of STEP frames."""


@dataclass(frozen=True)
class RetrievalResult:
    """The frames that a method retrieved along one video; `shifted_NK`: those without the copies of the query."""

    first_frames_N: IntArray
    eligible_NF: Mask
    retrieved_NK: IntArray
    shifted_NK: IntArray


@dataclass(frozen=True)
class RetrievalRun:
    """A method's results for all videos, and its unit-length descriptors [F, E] if it compares frames."""

    results: list[RetrievalResult]
    descriptors: list[torch.Tensor] | None


def run_retrieval(
    config: MemoryConfig, videos: TrueVideos, window: Window, report_progress: Callable[[int], None]
) -> RetrievalRun:
    """Plan every block of the videos. Raises WeightsError when a descriptor is zero, NaN or infinite.

    `report_progress` is called with the number of finished frames.
    """
    method = config.build(videos.info(window))
    assert isinstance(method, MemoryMethod)
    rows = range(len(videos.scenes))
    blocks: list[list[BlockRetrieval]] = [[] for _ in rows]
    with torch.inference_mode():
        for first in range(0, videos.frames - videos.frames % window.block, window.block):
            plan = method.plan(first)
            for row in rows:
                retrieved = [entry.frame for entry in plan.rows[row] if entry.reason == RETRIEVED]
                blocks[row].append(block_retrieval(method, videos.scenes[row], row, first, retrieved))
            method.forget(first)
            method.observe(first, videos.latents[:, first : first + window.block])
            report_progress(first + window.block)
        descriptors = list(unit_length(method.descriptors.all)) if method.needs_descriptors else None
    if descriptors is not None and not all(bool((one.norm(dim=-1) > 0.5).all()) for one in descriptors):  # or NaN
        wrong = "is zero, NaN or infinite for true latents; train it again"
        raise WeightsError(f"descriptor {config.described_by}: {wrong}")
    return RetrievalRun([collect_blocks(one, videos.frames, config.top_k) for one in blocks], descriptors)


BlockRetrieval = tuple[int, list[int], list[int], list[int]]
"""A block: its first frame, eligible frames, retrieved frames, and frames retrieved without copies of the query."""


def block_retrieval(method: MemoryMethod, scene: Scene, row: int, first: int, retrieved: list[int]) -> BlockRetrieval:
    eligible = method.eligible(row, first)
    if not eligible:
        return first, [], [], []
    copies = scene.copies_FF[first - 1, eligible]
    candidates = [frame for frame, copy in zip(eligible, copies.tolist(), strict=True) if not copy]
    count = min(method.top_k, len(candidates))
    shifted = [frame for frame, _ in method.choose(row, first, candidates, count)] if count else []
    return first, eligible, retrieved, shifted


def collect_blocks(blocks: list[BlockRetrieval], frames: int, top_k: int) -> RetrievalResult:
    """The blocks that have eligible frames, as arrays."""
    kept = [block for block in blocks if block[1]]
    eligible = np.zeros((len(kept), frames), dtype=bool)
    retrieved, shifted = np.full((2, len(kept), top_k), -1, dtype=np.int64)
    for n, (_, candidates, block_retrieved, block_shifted) in enumerate(kept):
        eligible[n, candidates] = True
        retrieved[n, : len(block_retrieved)], shifted[n, : len(block_shifted)] = block_retrieved, block_shifted
    return RetrievalResult(np.array([block[0] for block in kept], dtype=np.int64), eligible, retrieved, shifted)


def measure(result: RetrievalResult, scene: Scene, block: int) -> dict[str, Array]:
    """Each of MEASURES for each block [N]; NaN where it is undefined."""
    query_N = result.first_frames_N - 1
    relevant_NF = scene.shared_FF[query_N] >= scene.view_columns / 2
    copies_NF = scene.copies_FF[query_N]
    recall, precision = recall_and_precision(relevant_NF, result.eligible_NF, result.retrieved_NK)
    strict, _ = recall_and_precision(copies_NF, result.eligible_NF, result.retrieved_NK)
    shifted = recall_and_precision(relevant_NF, result.eligible_NF & ~copies_NF, result.shifted_NK)
    return {
        "recall": recall,
        "precision": precision,
        "strict_recall": strict,
        "shifted_recall": shifted[0],
        "shifted_precision": shifted[1],
        "places": distinct_places(result.retrieved_NK, scene),
        "coverage": coverage(result, scene, block),
    }


def recall_and_precision(relevant_NF: Mask, eligible_NF: Mask, retrieved_NK: IntArray) -> tuple[Array, Array]:
    """(1 if one of the K frames is relevant, share of relevant frames among the K); NaN if none was eligible."""
    answerable_N = (relevant_NF & eligible_NF).any(axis=1)
    hits_N = retrieved_hits(relevant_NF, retrieved_NK).sum(axis=1)
    retrieved_N = np.maximum((retrieved_NK >= 0).sum(axis=1), 1)
    return np.where(answerable_N, hits_N > 0, np.nan), np.where(answerable_N, hits_N / retrieved_N, np.nan)


def retrieved_hits(relevant_NF: Mask, retrieved_NK: IntArray) -> Mask:
    """[N, K]: whether each retrieved frame is relevant."""
    hits: Mask = np.take_along_axis(relevant_NF, np.maximum(retrieved_NK, 0), axis=1) & (retrieved_NK >= 0)
    return hits


def distinct_places(retrieved_NK: IntArray, scene: Scene) -> Array:
    """Number of different camera columns among the K frames; NaN for a block that retrieved fewer than K."""
    if not retrieved_NK.size:
        return np.full(len(retrieved_NK), np.nan)
    place_NK = np.sort(scene.camera_F[retrieved_NK] % scene.world_columns, axis=1)
    distinct_N = 1 + (np.diff(place_NK, axis=1) != 0).sum(axis=1)
    return np.where((retrieved_NK >= 0).all(axis=1), distinct_N, np.nan)


def coverage(result: RetrievalResult, scene: Scene, block: int) -> Array:
    """Share of a block's new columns that the K frames show, among those that any eligible frame shows."""
    shows_FW = scene.shows_FW
    frames_NB = result.first_frames_N[:, None] + np.arange(block)
    new_NW = shows_FW[frames_NB].any(axis=1) & ~shows_FW[frames_NB - block].any(axis=1)
    known_NW = result.eligible_NF.astype(np.float32) @ shows_FW.astype(np.float32) > 0
    shown_NW = (shows_FW[result.retrieved_NK] & (result.retrieved_NK >= 0)[..., None]).any(axis=1)
    known_N = (new_NW & known_NW).sum(axis=1)
    covered_N = (new_NW & known_NW & shown_NW).sum(axis=1)
    return np.where(known_N > 0, covered_N / np.maximum(known_N, 1), np.nan)


def distances(frames: int) -> list[tuple[int, int]]:
    """Inclusive ranges of temporal distance: single distances up to NEAR, then complete bins of STEP."""
    near = [(k, k) for k in range(1, min(NEAR, frames - 1) + 1)]
    return near + [(k, k + STEP - 1) for k in range(NEAR + 1, frames - STEP + 1, STEP)]


@dataclass(frozen=True)
class Similarity:
    """Mean cosine of pairs of frames by temporal distance [D], and by number of shared columns [view + 1] for pairs at
    least one window apart, because retrieval only compares those."""

    by_distance_D: Array
    by_shared: Array
    local_redundancy: float
    overlap_gap: float


def similarity(descriptors: torch.Tensor, scene: Scene, min_distance: int) -> Similarity:
    """For unit-length descriptors [F, E]. `overlap_gap`: mean cosine of equal views minus that of disjoint views."""
    cosine_FF = (descriptors.float() @ descriptors.float().T).numpy().astype(np.float64)
    frames = len(cosine_FF)
    later, earlier = np.tril_indices(frames, -1)
    pairs, distance = cosine_FF[later, earlier], later - earlier
    lag_sums = np.bincount(distance, pairs, frames)
    lag_counts = np.bincount(distance, minlength=frames)
    by_distance = [ratio(lag_sums[a : b + 1].sum(), lag_counts[a : b + 1].sum()) for a, b in distances(frames)]
    far = distance >= min_distance
    shared, levels = scene.shared_FF[later[far], earlier[far]], scene.view_columns + 1
    sums, counts = np.bincount(shared, pairs[far], levels), np.bincount(shared, minlength=levels)
    by_shared = np.array([ratio(s, c) for s, c in zip(sums, counts, strict=True)])
    local = float(np.mean(by_distance[:LOSS_WINDOW]))
    return Similarity(np.array(by_distance), by_shared, local, float(by_shared[-1] - by_shared[0]))


def ratio(total: float, count: float) -> float:
    return float(total / count) if count else float("nan")
