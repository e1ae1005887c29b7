"""The running sums of a sweep's takes."""

from __future__ import annotations

import random
from collections import Counter

from longtake.jobs.sweep.tally import Tally
from longtake.platform.takes import MethodSpec, Take


def takes_of(count: int) -> list[Take]:
    return [Take("tiny", MethodSpec("rag", f"m{k % 3}"), 3 + k % 2, 12, f"prompt {k}", 0) for k in range(count)]


def test_the_sums_are_those_of_the_sets_after_any_changes() -> None:
    takes, rng = takes_of(40), random.Random(0)
    tally = Tally(takes)
    for _ in range(500):
        change = rng.choice([tally.set_made, tally.set_made, tally.set_scored, tally.set_failed, tally.set_unmade])
        change(rng.choice(takes))
        to_make = [take for take in takes if take.id not in tally.made | tally.failed]
        to_score = [take for take in takes if take.id not in tally.scored | tally.failed]
        assert +tally.to_make == Counter(take.cell for take in to_make)
        assert +tally.to_score == Counter(take.cell for take in to_score)
        assert tally.unfinished == len(to_score)
    assert tally.failed
    assert tally.scored - tally.failed


def test_a_take_that_is_made_again_counts_once() -> None:
    (take,) = takes_of(1)
    tally = Tally([take])
    for _ in range(2):
        tally.set_made(take)
    assert tally.to_make[take.cell] == 0
    tally.set_unmade(take)
    tally.set_unmade(take)
    assert tally.to_make[take.cell] == 1
    assert tally.unfinished == 1
