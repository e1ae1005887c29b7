"""Which chunks of a corpus a step trains on, and their reading beside the computing.

A training sees every entry once an epoch, in an order and from a start that (seed, epoch) alone decide; a step takes
the next `batch` places of that endless row, and of these each worker every so many-th. So neither the number of workers
nor an interruption changes what a step trains on. Held-out entries and their starts are fixed for ever.

Shapes: B chunks, S frames a chunk, C channels, H x W latent size.
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

Place = tuple[int, int]
"""An entry of the corpus and the first frame of a chunk in it."""
HELD_OUT, SPLIT = 2**63, 2**63 + 1
"""Stands where an epoch's number does, for what is drawn once."""
AHEAD = 2


class Latents(Protocol):
    """What a corpus gives: frames [count, C, H, W] of one entry."""

    def frames(self, entry: int, first: int, count: int) -> Tensor: ...


def draws(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Entries to train on and entries held out, at least one of each. Raises ConfigError for fewer than two."""
    if count < 2:
        raise ConfigError(f"holds {count} entries; a training needs one to train on and one to hold out")
    order = draws(seed, SPLIT).permutation(count)
    held = min(count - 1, max(1, round(count * share)))
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


@dataclass(frozen=True)
class ChunkPlan:
    """Places of every step. `frames`: length of each entry that `entries` names; S = `chunk` frames."""

    entries: tuple[int, ...]
    frames: tuple[int, ...]
    chunk: int
    batch: int
    seed: int

    def places(self, step: int) -> list[Place]:
        """The `batch` chunks of step `step`, counted from 0."""
        found = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, positions = np.divmod(found, len(self.entries))
        return [self.place(int(epoch), int(position)) for epoch, position in zip(epochs, positions, strict=True)]

    def place(self, epoch: int, position: int) -> Place:
        order, starts = epoch_draws(self.seed, epoch, len(self.entries))
        return self.started(int(order[position]), float(starts[position]))

    def started(self, index: int, fraction: float) -> Place:
        return self.entries[index], int(fraction * (self.frames[index] - self.chunk + 1))

    def all_once(self) -> list[Place]:
        """One chunk of every entry, the same at every call: what validation looks at."""
        starts = draws(self.seed, HELD_OUT).random(len(self.entries))
        return [self.started(index, float(start)) for index, start in enumerate(starts)]


@lru_cache(maxsize=4)
def epoch_draws(seed: int, epoch: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = draws(seed, epoch)
    return rng.permutation(count), rng.random(count)


def read_chunks(corpus: Latents, places: list[Place], frames: int) -> Tensor:
    """[B, S, C, H, W] in the type that they are kept in: half the bytes to move, and the loss is made in float32
    anyway. Raises what the corpus raises, as for latents that are not finite.
    """
    return torch.stack([corpus.frames(entry, first, frames) for entry, first in places])


class Prefetch:
    """Runs `read` on every item of `items` in a thread, AHEAD of whoever iterates; `waited` is the seconds lost.

    A context manager: leaving it ends the thread. What `read` raises is raised to whoever iterates.
    """

    def __init__(self, items: Iterator[list[Place]], read: Callable[[list[Place]], Tensor]):
        self.items, self.read, self.waited = items, read, 0.0
        self.ready: queue.Queue[Tensor | Exception | None] = queue.Queue(AHEAD)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True, name="chunks")

    def work(self) -> None:
        try:
            for item in self.items:
                if not self.hand_over(self.read(item)):
                    return
            self.hand_over(None)
        except Exception as error:
            self.hand_over(error)

    def hand_over(self, what: Tensor | Exception | None) -> bool:
        """False when nobody wants it any more."""
        while not self.ended.is_set():
            try:
                self.ready.put(what, timeout=0.1)
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
            found = self.ready.get()
            self.waited += time.perf_counter() - started
            if found is None:
                return
            if isinstance(found, Exception):
                raise found
            yield found
