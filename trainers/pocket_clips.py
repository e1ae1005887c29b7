"""Training clips of the pocket world: streets, camera walks, and the layout of each block's context.

Everything a step needs is drawn from a generator keyed by (seed, step), so a resumed training sees what an undisturbed
one would have. `window` layouts show the sliding window alone; `memory` layouts also put frames of the past at
time index 0, some that show what the block is about to see and some that do not, and sometimes none.

Shapes: B clips, F frames, K blocks of n = 3 frames, X context places: sink, 8 local, memory.
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
class Streets:
    """Encoded training panoramas [P, 96, C] and the text tokens [P, 2, 8] of each."""

    columns: Tensor
    text: Tensor


def make_streets(count: int, tick: Callable[[int], None], first: int = 0) -> Streets:
    """Draw and encode training streets `first` .. `first + count`; `tick(done)` is called as they come."""
    codec, columns, text = PocketCodec(), [], []
    for i in range(count):
        sky, material = SKIES[i % len(SKIES)], MATERIALS[i // len(SKIES) % len(MATERIALS)]
        columns.append(codec.encode_panorama(panorama(sky, material, TRAINING_SEEDS_FROM + first + i)))
        text.append(torch.from_numpy(PocketPrompt(sky, material, ()).text_tokens()))
        tick(i + 1)
    return Streets(torch.stack(columns), torch.stack(text))


@dataclass(frozen=True)
class Clips:
    """One step's clips: latents [B, F, C, 1, 8], text [B, 2, 8], and who sees whom."""

    latents: Tensor
    text: Tensor
    layout: Layout


def draw_clips(streets: Streets, rng: np.random.Generator, clips: int, frames: int, memory: bool) -> Clips:
    """Clips along random walks from random places of random streets."""
    which = torch.from_numpy(rng.integers(0, len(streets.columns), clips))
    camera = np.stack([walk(rng, frames) for _ in range(clips)])
    places = torch.from_numpy((camera[:, :, None] + np.arange(VIEW_COLUMNS)) % COLUMNS)
    views = streets.columns[which[:, None, None], places]
    layout = memory_layout(rng, camera) if memory else window_layout(rng, camera)
    return Clips(views.transpose(-1, -2).unsqueeze(-2).contiguous(), streets.text[which], layout)


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Camera columns [F]: one column a frame, turning after 1 to 8 blocks, starting anywhere."""
    blocks = frames // BLOCK
    lengths = rng.integers(1, LONGEST_SEGMENT + 1, blocks)
    signs = rng.choice([-1, 1]) * (-1) ** np.arange(blocks)
    steps = np.repeat(np.repeat(signs, lengths)[:blocks], BLOCK)
    return rng.integers(0, COLUMNS) + np.cumsum(steps)


def wrap(columns: np.ndarray) -> np.ndarray:
    """Columns counted the short way round the street."""
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
    """The window alone; half of the clips keep the sink at its absolute distance, half at the window's start."""
    frames, times, valid = window_places(camera)
    absolute = rng.random(len(camera)) < 0.5
    blocks = np.arange(frames.shape[1])
    times[..., 0] -= absolute[:, None] * np.maximum(0, blocks * BLOCK + BLOCK - SIZE)
    return finish(camera, frames, times, valid)


def memory_layout(rng: np.random.Generator, camera: np.ndarray) -> Layout:
    """Seven blocks in ten trade all but two local frames for up to six of the past; the others are plain windows."""
    frames, times, valid = window_places(camera)
    recalls = rng.random(frames.shape[:2]) < 0.7
    used = np.minimum(np.arange(frames.shape[1]) * BLOCK + BLOCK, SIZE)[None, :, None]
    local = (times == 0) | (times >= used - BLOCK - MEMORY_LOCAL)
    valid &= local | ~recalls[..., None]
    recalled, shown = recall(rng, camera, recalls)
    parts = ((frames, recalled), (times, np.zeros_like(recalled)), (valid, shown))
    return finish(camera, *(np.concatenate(pair, axis=-1) for pair in parts))


def recall(rng: np.random.Generator, camera: np.ndarray, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the past [B, K, 6] and which of them are shown: a random share is relevant, a random number is kept."""
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
        picked = np.argsort(-chance)[:count]
        frames[b, k, :count], shown[b, k, :count] = picked, True
    return frames, shown


def finish(camera: np.ndarray, frames: np.ndarray, times: np.ndarray, valid: np.ndarray) -> Layout:
    """Add columns, counted from each block's first frame, and the queries' own places."""
    clips, blocks = frames.shape[:2]
    by_block = camera.reshape(clips, blocks, BLOCK)
    columns = wrap(camera[np.arange(clips)[:, None, None], frames] - by_block[..., :1])
    used = np.minimum(np.arange(blocks) * BLOCK + BLOCK, SIZE)
    query_times = np.broadcast_to(used[:, None] - BLOCK + np.arange(BLOCK), by_block.shape)
    parts = (frames, times, columns, valid, query_times, by_block - by_block[..., :1])
    return Layout(*(torch.from_numpy(np.array(part)) for part in parts))
