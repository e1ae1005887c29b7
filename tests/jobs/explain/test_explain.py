"""Every lost place is blamed on the stage that a planted fault broke, on the shipped pocket backbone."""

from collections import Counter
from functools import cache

import pytest
import torch

from longtake.jobs.explain.replay import Replay
from longtake.jobs.explain.stages import cover, stages_of
from longtake.platform.generation.sampler import Sampler
from longtake.platform.methods.oracle import OracleMethod
from longtake.platform.takes import MethodSpec, Take

PROMPT = "dusk, brick; pan left 3 s, right 9 s" + ", left 6 s, right 6 s" * 4
"""The camera goes 12 columns to the left, which nothing shows again, then to and fro over columns 0 to 31."""
GIVEN, FAULT = 96, 105
"""Frames: what is given, and the first of the block with the fault, which is the last one made: a fault has
consequences in later blocks, which are losses of their own."""
SEEDS = range(6)
LOUD = (9, 10, 11, 12, 13)
"""Frames of the columns that do not come back."""


class Forgets(OracleMethod):
    """The bank keeps the six newest evicted frames alone."""

    def forget(self, first):
        kept = self.banked(0, first + self.window.block)[-6:]
        gone = [frame for frame in self.banked(0, first + self.window.block) if frame not in kept]
        self.dropped[0] |= set(gone)
        return [gone]


class Elsewhere(OracleMethod):
    """Retrieves frames of other places."""

    def choose(self, row, first, eligible, count):
        right = super().choose(row, first, eligible, count)
        return right if first < FAULT else [(frame, None) for frame in (*LOUD, 8)]


class Drowned(OracleMethod):
    """Retrieves two right frames, and four whose keys are so long that they take all attention."""

    def choose(self, row, first, eligible, count):
        right = super().choose(row, first, eligible, count)
        return right if first < FAULT else [*right[:2], *((frame, None) for frame in LOUD[:4])]


def long_keys(key, entry):
    return torch.stack([entry[0] * 6, entry[1]]) if key[1] in LOUD else entry


def noise(key, entry):
    return torch.stack([entry[0], torch.randn(entry[1].shape, generator=torch.Generator().manual_seed(key[1]))])


@cache
def sampler():
    return Sampler("pocket")


def explained(kind, tamper=None, seed=3, frames=FAULT + 3):
    params = {"top_k": 6, "recency_guard": 2, "window": None, "sink": None}
    take = Take("pocket", MethodSpec("oracle-memory", "oracle", params), 60, frames, PROMPT, seed, GIVEN)
    rollout, prefix = sampler().rollout([take])
    rollout.method.__class__ = kind
    if tamper is not None:
        put = rollout.cache.bank.put
        rollout.cache.bank.put = lambda key, entry: put(key, tamper(key, entry))
    try:
        return Replay(take, rollout, prefix).run(lambda done, total: None)
    finally:
        rollout.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tamper", "stage"),
    [
        (Forgets, None, "not stored"),
        (Elsewhere, None, "not retrieved"),
        (Drowned, long_keys, "not attended"),
        (OracleMethod, noise, "not used"),
    ],
)
def test_a_planted_fault_is_named(kind, tamper, stage):
    losses = [loss for seed in SEEDS for loss in explained(kind, tamper, seed).losses if loss.frame >= FAULT]
    stages = Counter(loss.stage for loss in losses)
    assert stages.total() >= 10
    assert stages[stage] >= 0.95 * stages.total(), stages


def test_the_oracle_loses_almost_nothing():
    found = explained(OracleMethod, frames=156)
    assert found.returned > 100
    assert len(found.losses) < 0.02 * found.returned


def test_stages_by_hand():
    """Of places lost in frame 30: 1 has no copy; 2 one that is not attended; 3 is right if its attended copy is alone,
    5 with the best copies; 4 with neither; 6 has one that is not attended and does not help."""
    copies = {1: [], 2: [5], 3: [6], 4: [7, 8], 5: [8], 6: [9]}
    tried = []

    def trial(frames):
        tried.append(frames)
        return {(30, 2), (30, 5)} if frames == [5, 7] else {(30, 3)}

    stages = stages_of({(30, place) for place in copies}, copies, attended={6, 8}, best=[5, 7], trial=trial)
    assert [stages[30, place] for place in range(1, 7)] == [
        "not stored",
        "not retrieved",
        "not attended",
        "not used",
        "not attended",
        "not used",
    ]
    assert tried == [[5, 7], [6, 8]]


def test_cover_takes_the_earliest_of_equals():
    right = {9: {1, 2}, 4: {1, 2}, 5: {3}, 6: {3, 8}}
    assert cover({1, 2, 3}, right, 2) == [4, 5]
    assert cover({1, 2, 3}, right, 3) == [4, 5, 6], "filled up with the earliest that shows any"
    assert cover({8}, right, 6) == [6]
    assert cover({1, 2, 3}, right, 1) == [4]
