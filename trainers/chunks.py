"""Selects the chunks of a corpus for each training step, and prefetches them in a thread.

Training visits every entry once per epoch. The order and the start frames depend on (seed, epoch) only. A step takes
the next `batch` chunks of this endless sequence, which the workers share in turn. Therefore neither the number of
workers nor an interruption changes the data of a step. Held-out entries and their start frames never change.

Shapes: B chunks, S frames per chunk, C channels, H x W latent size.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longtake.platform.errors import ConfigError

ChunkIndex = tuple[int, int]
"""A chunk: its entry in the corpus and its first frame."""
HELD_OUT, SPLIT = 2**63, 2**63 + 1
"""Used in place of an epoch number for values that are drawn once."""
AHEAD = 2


class Latents(Protocol):
    """A corpus: frames [count, C, H, W] of one entry."""

    def frames(self, entry: int, first: int, count: int) -> Tensor: ...


def draws(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Training entries and held-out entries, at least one of each. Raises ConfigError for fewer than two entries."""
    if count < 2:
        raise ConfigError(f"holds {count} entries; training and validation need 2 or more; make a larger corpus")
    order = draws(seed, SPLIT).permutation(count)
    held = min(count - 1, max(1, round(count * share)))
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


@dataclass(frozen=True)
class ChunkPlan:
    """The chunks of every step. `frames`: the length of each of `entries`; S = `chunk` frames."""

    entries: tuple[int, ...]
    frames: tuple[int, ...]
    chunk: int
    batch: int
    seed: int

    def step_chunks(self, step: int) -> list[ChunkIndex]:
        """The `batch` chunks of step `step`, counted from 0."""
        indices = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, positions = np.divmod(indices, len(self.entries))
        return [self.epoch_chunk(int(epoch), int(position)) for epoch, position in zip(epochs, positions, strict=True)]

    def epoch_chunk(self, epoch: int, position: int) -> ChunkIndex:
        order, starts = epoch_draws(self.seed, epoch, len(self.entries))
        return self.chunk_at(int(order[position]), float(starts[position]))

    def chunk_at(self, index: int, fraction: float) -> ChunkIndex:
        return self.entries[index], int(fraction * (self.frames[index] - self.chunk + 1))

    def chunk_per_entry(self) -> list[ChunkIndex]:
        """One chunk of every entry, the same at every call, for validation."""
        starts = draws(self.seed, HELD_OUT).random(len(self.entries))
        return [self.chunk_at(index, float(start)) for index, start in enumerate(starts)]


@lru_cache(maxsize=4)
def epoch_draws(seed: int, epoch: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = draws(seed, epoch)
    return rng.permutation(count), rng.random(count)


def read_chunks(corpus: Latents, indices: list[ChunkIndex], frames: int) -> Tensor:
    """[B, S, C, H, W] in the dtype of the corpus: it halves the transfer, and the loss is computed in float32 anyway.
    Propagates errors of the corpus, for example for latents that are not finite.
    """
    return torch.stack([corpus.frames(entry, first, frames) for entry, first in indices])


class Prefetch:
    """Runs `read` on every item in a thread, up to AHEAD items before the consumer; `waited`: seconds spent waiting.

    A context manager that ends the thread on exit. Errors of `read` are raised in the consumer.
    """

    def __init__(self, items: Iterator[list[ChunkIndex]], read: Callable[[list[ChunkIndex]], Tensor]):
        self.items, self.read, self.waited = items, read, 0.0
        self.ready: queue.Queue[Tensor | Exception | None] = queue.Queue(AHEAD)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True, name="chunks")

    def work(self) -> None:
        try:
            for item in self.items:
                if not self.put(self.read(item)):
                    return
            self.put(None)
        except Exception as error:
            self.put(error)

    def put(self, item: Tensor | Exception | None) -> bool:
        """Returns False when the consumer has left."""
        while not self.ended.is_set():
            try:
                self.ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __enter__(self) -> "Prefetch":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            started = time.perf_counter()
            item = self.ready.get()
            self.waited += time.perf_counter() - started
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
