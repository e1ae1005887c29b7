"""What TriAttention holds, against a plain list of the places of LongLive's cache, one token a frame."""

import random
from itertools import product

import pytest

from longtake.platform.methods.base import Window
from longtake.platform.methods.parts.tokens.slots import Held


def test_what_leaves_by_hand():
    """A window of 8 with a sink of 1. Frame 0, two frames' worth of tokens, frames 5 to 8 and a block of 3 are 10: the
    tokens leave. Had the window 9 places, one of them would stay."""
    held = Held([0, 5, 6, 7, 8], 1, range(2))
    assert held.beside(Window(8, 1, 3)) == Held([0, 5, 6, 7, 8], 1, [])
    assert held.beside(Window(9, 1, 3)) == Held([0, 5, 6, 7, 8], 1, [1])
    assert held.beside(Window(7, 1, 3)) == Held([0, 6, 7, 8], 1, [])
    assert held.cut(1, 3, 2) == Held([0, 7, 8], 1, range(3))
    assert held.plus([9, 10, 11]).frames == 10


@pytest.mark.parametrize(("block", "sink", "protected"), [*product((1, 3, 4), (0, 1, 2), (True, False))])
def test_as_a_list_of_places(block, sink, protected):
    """For every budget below windows of up to 8, and any number of newest frames."""
    for size in range(sink + block, 9):
        for budget, newest in product(range(max(1, sink), size), range(size)):
            head = sink if protected else 0
            last = min(newest, budget - head)
            check(Window(size, sink, block), budget, head, last)


def check(window, budget, head, last):
    """Eight blocks. When the cache exceeds the budget, random places between the first and the last ones stay."""
    room, draw = budget - head - last, random.Random(0)
    places, held, chosen = [], Held(), []
    for first in range(0, 8 * window.block, window.block):
        over = max(0, len(places) + window.block - window.size)
        places = places[: window.sink] + places[window.sink + over :]
        beside = held.beside(window)
        assert sorted([*beside.whole, *(chosen[part] for part in beside.parts)]) == sorted(places)
        places, held = [*places, *window.new(first)], beside.plus(window.new(first))
        if len(places) > budget:
            end = len(places) - last
            chosen = sorted(draw.sample(places[head:end], room))
            places = [*places[:head], *chosen, *places[end:]]
        held = held.cut(head, room, last) if held.frames > budget else held
