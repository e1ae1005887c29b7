"""Training clips of the pocket world: scenes, camera walks, and the layout of each block's context.

The random draws of a step use a generator keyed by (seed, step), so a resumed training sees the same data as an
uninterrupted one. `window` layouts contain the sliding window only; `memory` layouts add past frames at time index 0:
some relevant to the block, some irrelevant, and sometimes none.

Shapes: B clips, F frames, K blocks of n = 3 frames, X context slots: sink, 8 local, memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longtake.platform.backbones.pocket_network import WINDOW
from longtake.platform.pocket.codec import PocketCodec
from longtake.platform.pocket.prompts import PocketPrompt
from longtake.platform.pocket.world import COLUMNS, MATERIALS, SKIES, TRAINING_SEEDS_FROM, VIEW_COLUMNS, panorama
from longtake.trainers.teacher_forcing import Layout

SIZE, BLOCK = WINDOW.size, WINDOW.block
LOCAL = SIZE - WINDOW.sink - BLOCK
MEMORY = 6
MEMORY_LOCAL = LOCAL - MEMORY
LONGEST_SEGMENT = 8


@dataclass(frozen=True)
class TrainingScenes:
    """Encoded training panoramas [P, 96, C] and their text tokens [P, 2, 8]."""

    columns: Tensor
    text: Tensor


def make_scenes(count: int, tick: Callable[[int], None], first: int = 0) -> TrainingScenes:
    """Draw and encode `count` training scenes, from number `first` on; calls `tick(done)` after each."""
    codec, columns, text = PocketCodec(), [], []
    for i in range(count):
        sky, material = SKIES[i % len(SKIES)], MATERIALS[i // len(SKIES) % len(MATERIALS)]
        columns.append(codec.encode_panorama(panorama(sky, material, TRAINING_SEEDS_FROM + first + i)))
        text.append(torch.from_numpy(PocketPrompt(sky, material, ()).text_tokens()))
        tick(i + 1)
    return TrainingScenes(torch.stack(columns), torch.stack(text))


@dataclass(frozen=True)
class Clips:
    """The clips of one step: latents [B, F, C, 1, 8], text [B, 2, 8], and their context layout."""

    latents: Tensor
    text: Tensor
    layout: Layout


def draw_clips(scenes: TrainingScenes, rng: np.random.Generator, clips: int, frames: int, memory: bool) -> Clips:
    """Clips along random walks from random positions in random scenes."""
    which = torch.from_numpy(rng.integers(0, len(scenes.columns), clips))
    camera = np.stack([walk(rng, frames) for _ in range(clips)])
    places = torch.from_numpy((camera[:, :, None] + np.arange(VIEW_COLUMNS)) % COLUMNS)
    views = scenes.columns[which[:, None, None], places]
    layout = memory_layout(rng, camera) if memory else window_layout(rng, camera)
    return Clips(views.transpose(-1, -2).unsqueeze(-2).contiguous(), scenes.text[which], layout)


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Camera columns [F]: a random start, one column per frame, a turn after every 1 to 8 blocks."""
    blocks = frames // BLOCK
    lengths = rng.integers(1, LONGEST_SEGMENT + 1, blocks)
    signs = rng.choice([-1, 1]) * (-1) ** np.arange(blocks)
    steps = np.repeat(np.repeat(signs, lengths)[:blocks], BLOCK)
    return rng.integers(0, COLUMNS) + np.cumsum(steps)


def wrap(columns: np.ndarray) -> np.ndarray:
    """Columns as the shortest signed offset around the panorama."""
    return (columns + COLUMNS // 2) % COLUMNS - COLUMNS // 2


def window_places(camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, time index and validity [B, K, 1 + 8] of the sliding window at relative positions."""
    clips, blocks = len(camera), camera.shape[1] // BLOCK
    first = np.arange(blocks)[:, None] * BLOCK
    slots = np.arange(SIZE - BLOCK)
    frames = np.where(slots == 0, 0, np.maximum(0, first + BLOCK - SIZE) + slots)
    valid = frames < first
    parts = (np.minimum(frames, camera.shape[1] - 1), np.broadcast_to(slots, frames.shape), valid)
    return tuple(np.broadcast_to(part, (clips, *part.shape)).copy() for part in parts)  # type: ignore[return-value]


def window_layout(rng: np.random.Generator, camera: np.ndarray) -> Layout:
    """The window alone; half of the clips place the sink at its absolute distance, half at the start of the window."""
    frames, times, valid = window_places(camera)
    absolute = rng.random(len(camera)) < 0.5
    blocks = np.arange(frames.shape[1])
    times[..., 0] -= absolute[:, None] * np.maximum(0, blocks * BLOCK + BLOCK - SIZE)
    return finish(camera, frames, times, valid)


def memory_layout(rng: np.random.Generator, camera: np.ndarray) -> Layout:
    """70 % of the blocks replace all but two local frames by up to six past frames; the others are plain windows."""
    frames, times, valid = window_places(camera)
    recalls = rng.random(frames.shape[:2]) < 0.7
    used = np.minimum(np.arange(frames.shape[1]) * BLOCK + BLOCK, SIZE)[None, :, None]
    local = (times == 0) | (times >= used - BLOCK - MEMORY_LOCAL)
    valid &= local | ~recalls[..., None]
    recalled, shown = recall(rng, camera, recalls)
    parts = ((frames, recalled), (times, np.zeros_like(recalled)), (valid, shown))
    return finish(camera, *(np.concatenate(pair, axis=-1) for pair in parts))


def recall(rng: np.random.Generator, camera: np.ndarray, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Past frames [B, K, 6] and the mask of those in use; both their number and their relevance are random."""
    clips, blocks = recalls.shape
    frames, shown = np.zeros((clips, blocks, MEMORY), dtype=np.int64), np.zeros((clips, blocks, MEMORY), dtype=bool)
    for b, k in zip(*np.nonzero(recalls), strict=True):
        past = k * BLOCK - MEMORY_LOCAL - 1
        if past < 1:
            continue
        offsets = wrap(camera[b, :past] - camera[b, k * BLOCK + 1])
        relevant = np.abs(offsets) < VIEW_COLUMNS
        chance = np.where(relevant, rng.random() * 8, 1.0) * rng.random(past)
        count = min(past, rng.integers(0, MEMORY + 1))
        selected = np.argsort(-chance)[:count]
        frames[b, k, :count], shown[b, k, :count] = selected, True
    return frames, shown


def finish(camera: np.ndarray, frames: np.ndarray, times: np.ndarray, valid: np.ndarray) -> Layout:
    """Add columns, relative to each block's first frame, and the positions of the queries."""
    clips, blocks = frames.shape[:2]
    by_block = camera.reshape(clips, blocks, BLOCK)
    columns = wrap(camera[np.arange(clips)[:, None, None], frames] - by_block[..., :1])
    used = np.minimum(np.arange(blocks) * BLOCK + BLOCK, SIZE)
    query_times = np.broadcast_to(used[:, None] - BLOCK + np.arange(BLOCK), by_block.shape)
    parts = (frames, times, columns, valid, query_times, by_block - by_block[..., :1])
    return Layout(*(torch.from_numpy(np.array(part)) for part in parts))
