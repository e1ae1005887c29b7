"""What a step trains on follows from (seed, step) alone; reading beside the computing loses and reorders nothing."""

import time

import pytest
import torch

from longtake.platform.errors import ConfigError
from longtake.trainers.chunks import ChunkPlan, Prefetch, read_chunks, split

PLAN = ChunkPlan(entries=(3, 5, 8, 9, 11), frames=(8, 9, 90, 90, 10), chunk=8, batch=4, seed=1)


class Numbered:
    """Entry e, frame f holds the number 100 e + f."""

    def frames(self, entry, first, count):
        return (100 * entry + torch.arange(first, first + count, dtype=torch.float16)).view(count, 1, 1, 1)


def test_split_is_complete_and_fixed():
    """A tenth of 30 is held out; the same seed holds out the same."""
    train, held = split(30, 0.1, seed=7)
    assert len(held) == 3
    assert sorted(train + held) == list(range(30))
    assert split(30, 0.1, seed=7) == (train, held)
    assert split(30, 0.1, seed=8) != (train, held)


def test_split_keeps_one_of_each():
    assert [len(part) for part in split(2, 0.01, seed=0)] == [1, 1]
    assert [len(part) for part in split(2, 0.99, seed=0)] == [1, 1]
    with pytest.raises(ConfigError, match="holds 1 entries"):
        split(1, 0.5, seed=0)


def test_every_epoch_sees_every_entry_once():
    """20 chunks of 4 a step: five steps are four epochs of five entries, whose borders fall inside steps."""
    seen = [place for step in range(5) for place in PLAN.step_chunks(step)]
    for epoch in range(4):
        assert sorted(entry for entry, _ in seen[5 * epoch : 5 * epoch + 5]) == [3, 5, 8, 9, 11]
    assert len({tuple(seen[i : i + 5]) for i in range(0, 20, 5)}) == 4


def test_chunks_lie_inside_their_entries():
    """Of 8 frames an entry of 8 has one chunk, one of 9 two, one of 90 83."""
    starts: dict[int, set[int]] = {}
    for step in range(2000):
        for entry, first in PLAN.step_chunks(step):
            starts.setdefault(entry, set()).add(first)
    assert starts[3] == {0}
    assert starts[5] == {0, 1}
    assert starts[8] == set(range(83))
    assert starts[11] == {0, 1, 2}


def test_validation_looks_at_the_same_chunks_always():
    assert PLAN.chunk_per_entry() == PLAN.chunk_per_entry()
    assert [entry for entry, _ in PLAN.chunk_per_entry()] == [3, 5, 8, 9, 11]


def test_read_chunks_reads_what_was_asked():
    chunks = read_chunks(Numbered(), [(2, 5), (0, 1)], 3)
    assert chunks.dtype == torch.float16
    assert chunks.flatten().tolist() == [205, 206, 207, 1, 2, 3]


def test_prefetch_keeps_the_order_and_counts_the_waiting():
    def slow(step_chunks):
        time.sleep(0.02)
        return torch.tensor(step_chunks)

    with Prefetch(iter([[(i, 0)] for i in range(5)]), slow) as chunks:
        assert [int(chunk[0, 0]) for chunk in chunks] == list(range(5))
    assert chunks.waited > 0.05  # five reads of 0.02 s, and nothing to do meanwhile
    assert not chunks.thread.is_alive()


def test_prefetch_raises_what_reading_raises():
    def refuse(step_chunks):
        raise ConfigError("no such frames")

    with Prefetch(iter([[(0, 0)]]), refuse) as chunks, pytest.raises(ConfigError, match="no such frames"):
        next(iter(chunks))


def test_prefetch_ends_when_nobody_wants_more():
    with Prefetch(iter([[(i, 0)] for i in range(100)]), lambda step_chunks: torch.zeros(1)) as chunks:
        next(iter(chunks))
    assert not chunks.thread.is_alive()
