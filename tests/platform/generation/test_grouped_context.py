"""Plans with groups: every head's attention against one computed by hand, what is kept, and what is refused."""

import numpy as np
import pytest
import torch

from longtake.platform.errors import LongtakeError
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.grouped_context import GroupedContext, found
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.methods.base import Attended, Group, Method, RolloutInfo, Tokens, Window
from longtake.platform.methods.interface.groups import summed_up
from longtake.platform.methods.interface.hooks import Replacement
from longtake.platform.methods.native import Native, NativeRelative, SlidingWindow
from longtake.platform.models import rope
from longtake.platform.models.spec import DiTSpec
from tests.platform.rollouts import SPEC, latents, new_network, start

GRID = DiTSpec(
    dim=48, ffn_dim=8, heads=4, layers=2, channels=3, latent_height=4, latent_width=4, text_len=4, text_dim=5
)
"""Four heads, and frames of 2 x 2 tokens."""
SMALL = Window(4, 1, 3)
"""Frame 0 and the new block: when block 6 begins, frames 1 and 2 have left the cache."""
COLUMNS = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8], [5, 3, 1, 0, 2, 4, 6, 8, 9]])
MEAN = ("mean", 1)
HEADS = (0, 1, 2, 3)


def at(*places, end):
    """Entries (frame, time) or (name, frame, time), then the new block, which begins at time index 7."""
    past = [Attended(p[-2], p[-1], "sink", entry="" if len(p) == 2 else p[0]) for p in places]
    return (*past, *(Attended(f, 7 + f - end, "block") for f in range(end, end + 3)))


def tokens(frames, places, times):
    return Tokens(np.array(frames), np.array(places), np.array(times))


def alike(row, picked=None):
    """One group of all heads in each layer."""
    return tuple(Group((layer,), HEADS, row, picked) for layer in range(2))


ONE = alike(at(end=0))
ODD = (
    Group((0,), (0, 2), at((0, 0), (2, 4), end=3)),
    Group((0,), (1, 3), at(end=3), tokens([[0, 1, 1], [1, 2, 2]], [[3, 0, 1], [2, 0, 3]], [[1, 2, 2], [2, 5, 6]])),
    Group((1,), HEADS, at((0, 0), ("mean", 1, 2), end=3), tokens([1, 1, 2], [0, 3, 2], [3, 3, 5])),
)
EVEN = alike(at((1, 3), (2, 1), end=3), tokens([0, 0], [2, 1], [0, 6]))
LATER = (
    Group((0,), (0, 2), at((2, 1), (4, 3), end=6), tokens([2, 5], [3, 0], [0, 5])),
    Group((0,), (1, 3), at((0, 0), end=6), tokens([[1, 4], [2, 2]], [[1, 2], [0, 3]], [[0, 1], [2, 2]])),
    Group((1,), HEADS, at(("mean", 1, 0), end=6), tokens([1, 2, 5], [3, 2, 1], [1, 4, 4])),
)
"""Of what ODD attended, or of frames 3 to 5."""
PLANS = {0: (ONE, ONE), 3: (ODD, EVEN), 6: (LATER, alike(at((2, 0), (0, 2), end=6), tokens([1, 0], [0, 1], [3, 2])))}


class Scripted(Method):
    """Plans as told."""

    grouped = True
    answer = None

    def plan(self, first):
        return summed_up(PLANS[first], (8, 9, 10), GRID)

    def watch(self, seen):
        return self.answer(seen)


class Hand:
    """Blocks of random queries, keys and values through a context, and attention by hand over what is on record."""

    def __init__(self, method=None, rows=2):
        info = RolloutInfo(SMALL, rows, (0,) * rows, COLUMNS[:rows], 2, (12, 10)[:rows], network=GRID)
        self.info, self.rows, self.method = info, rows, method or Scripted(info)
        self.cache = KVCache((2, 2, rows, 4, 4, 12), SMALL, None)
        self.context, self.record = GroupedContext(GRID, rows, self.method), {}

    def run(self, first, plan=None, measuring=False):
        """The context's answer and ours, [layers, rows, tokens, heads, d] each."""
        entries = self.cache.open_block(first)
        camera = Camera(self.info, first)
        plan = plan or self.method.plan(first)
        self.context.load(plan, self.cache, camera)
        self.context.entries, self.context.measuring = entries, measuring
        made, expected, self.mass = [], [], {}
        for layer in range(2):
            seeds = [torch.Generator().manual_seed(100 * first + 10 * layer + b) for b in range(self.rows)]
            query, key, value = torch.stack([torch.randn(3, 12, 4, 12, generator=seed) for seed in seeds], dim=1)
            for i in range(3):
                whole = self.record.setdefault(first + i, torch.zeros(2, 2, self.rows, 4, 4, 12))
                whole[:, layer] = torch.stack([key, value])[:, :, 4 * i : 4 * i + 4]
            made.append(self.context.attend(layer, query, key, value))
            mine = [[group for group in row if layer in group.layers] for row in plan.groups]
            expected.append(self.by_hand(layer, mine, query, camera, plan.query_times))
        self.cache.derive(MEAN, sum(self.record[frame] for frame in (0, 1, 2)) / 3)
        self.record[MEAN] = self.cache.derived(MEAN)
        return torch.stack(made), torch.stack(expected)

    def by_hand(self, layer, rows, query, camera, times):
        out = torch.empty_like(query)
        for b, groups in enumerate(rows):
            asked = torch.cat([self.turned(query[b, 4 * i : 4 * i + 4], b, camera, t, i) for i, t in enumerate(times)])
            for group in groups:
                for i, head in enumerate(group.heads):
                    parts = self.attended(group, i)
                    entries = torch.stack([self.record[source][:, layer, b, place] for source, place, _ in parts])
                    keys = [
                        self.turned(entry[None, 0], b, camera, time, source, place)[0, head]
                        for (source, place, time), entry in zip(parts, entries, strict=True)
                    ]
                    scores = (asked[:, head].double() @ torch.stack(keys).double().T / 12**0.5).softmax(-1)
                    out[b, :, head] = (scores @ entries[:, 1, head].double()).float()
                    for (source, _, time), mass in zip(parts, scores.mean(0).tolist(), strict=True):
                        place = b, source, time
                        self.mass[place] = self.mass.get(place, 0) + mass / 8
        return out

    def attended(self, group, i):
        """(source, token, time) of all that a head attends."""
        whole = [(entry.source, place, entry.time) for entry in group.row for place in range(4)]
        picked = [np.atleast_2d(x) for x in group.tokens.arrays] if group.tokens else []
        return whole + list(zip(*(x[min(i, len(x) - 1)].tolist() for x in picked), strict=True))

    def turned(self, x, b, camera, time, source, place=None):
        """x [tokens, h, d] of a frame, or of the token at `place`, rotated. A number below 3 counts from the block."""
        frame = source[1] if isinstance(source, tuple) else source if place is not None else camera.first + source
        turn = rope.frame_rotation(time, 2, 2, camera.column(b, frame), GRID.split, GRID.rope_theta)
        return rope.rotate(x, turn if place is None else turn[place : place + 1])


def test_every_head_attends_what_its_group_says():
    """Rows that differ, heads that differ, single tokens shared or per head, a derived entry, columns, late queries; in
    block 6 tokens and frames that only the context still has."""
    hand = Hand()
    for first in PLANS:
        made, expected = hand.run(first)
        assert (made - expected).abs().max() < 1e-5, f"block {first}"
    assert sorted(hand.cache.live) == [0, 6, 7, 8]


def test_rows_equal_single_takes_bit_by_bit():
    together = Hand()
    for first in PLANS:
        made, _ = together.run(first)
        plan = summed_up(PLANS[first][:1], (8, 9, 10), GRID)
        if first == 0:
            alone = Hand(rows=1)
        assert torch.equal(alone.run(first, plan)[0][:, 0], made[:, 0])


def test_shares_are_the_mass_by_hand_and_sum_to_one():
    hand = Hand()
    for first in PLANS:
        hand.run(first, measuring=True)
        plan = hand.method.plan(first)
        for b, (row, measured) in enumerate(zip(plan.rows, hand.context.measured(plan), strict=True)):
            assert float(measured.sum()) == pytest.approx(1, abs=1e-5)
            assert measured.tolist() == pytest.approx([hand.mass[b, one.source, one.time] for one in row], abs=1e-5)


def test_a_derived_entry_is_always_the_newest():
    """Derived again after the block in which it was attended, it is attended as it is now."""
    hand, row = Hand(), at(("mean", 1, 2), end=3)
    hand.run(0)
    hand.run(3, summed_up((alike(row),) * 2, (7, 8, 9), GRID))
    hand.cache.derive(MEAN, torch.ones(2, 2, 2, 4, 4, 12))
    hand.record[MEAN] = hand.cache.derived(MEAN)
    made, expected = hand.run(6, summed_up((alike(at(("mean", 1, 2), end=6)),) * 2, (7, 8, 9), GRID))
    assert (made - expected).abs().max() < 1e-5


def test_an_edited_entry_is_attended_until_it_is_dropped():
    """The watching method replaces frame 0 in layer 1 of row 0; the cache still has the true one."""
    hand, seen_by = Hand(), []
    edited = torch.stack([torch.full((4, 4, 12), 0.5), torch.full((4, 4, 12), 2.0)])
    twice = {first: summed_up((alike(at((0, 1), end=first)),) * 2, (7, 8, 9), GRID) for first in (3, 6)}

    def answer(seen):
        seen_by.append((seen.row, seen.layer))
        assert torch.equal(seen.fetch(0)[0], hand.record[0][0, seen.layer, seen.row].transpose(0, 1))
        wanted = Replacement(alike(at((0, 1), end=3))[0], {0: edited})
        return wanted if (seen.row, seen.layer) == (0, 1) else None

    hand.run(0)
    hand.method.answer, hand.method.watched, hand.context.passes = answer, frozenset({"commit"}), frozenset({"commit"})
    made, expected = hand.run(3, twice[3])
    assert seen_by == [(0, 0), (1, 0), (0, 1), (1, 1)]
    off = (made - expected).abs().amax((2, 3, 4)) > 1e-3
    assert off.tolist() == [[False, False], [True, False]]
    hand.method.watched = frozenset()
    hand.record[0] = hand.record[0].clone()
    hand.record[0][:, 1, 0] = edited.transpose(1, 2)
    made, expected = hand.run(6, twice[6])
    assert (made - expected).abs().max() < 1e-5, "the edit lasts while the layer attends it"


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (alike(at((1, 0), end=6)), "layer 0: the plan attends 1, which is neither in the cache nor was"),
        (alike(at((0, 0), end=6), tokens([0, 2], [1, 3], [1, 1])), "layer 0: the plan attends token 3 of frame 2, wh"),
        (alike(at(("sum", 4, 0), end=6)), r"layer 0: the plan attends \('sum', 4\), which"),
    ],
)
def test_what_is_gone_is_an_error(groups, message):
    """Block 3 attended frame 0 and the first token of frame 2."""
    hand, before = Hand(), alike(at((0, 0), end=3), tokens([2], [0], [1]))
    hand.run(0)
    hand.run(3, summed_up((before,) * 2, (7, 8, 9), GRID))
    with pytest.raises(LongtakeError, match=message):
        hand.run(6, summed_up((groups,) * 2, (7, 8, 9), GRID))


def test_heads_that_were_in_several_groups_have_nothing_in_common():
    """Frame 2 has left the cache. Heads 0 and 2 attended it in block 3: head 0 alone may go on, 0 with 1 may not."""
    for heads in ((0,), (0, 1)):
        hand = Hand()
        hand.run(0)
        hand.run(3)
        others = tuple(head for head in HEADS if head not in heads)
        groups = (Group((0,), heads, at((2, 0), end=6)), Group((0,), others, at(end=6)), Group((1,), HEADS, at(end=6)))
        plan = summed_up((groups, alike(at(end=6))), (7, 8, 9), GRID)
        if heads == (0,):
            made, expected = hand.run(6, plan)
            assert (made - expected).abs().max() < 1e-5
        else:
            with pytest.raises(LongtakeError, match="layer 0: the plan attends 2, which"):
                hand.run(6, plan)


@pytest.mark.parametrize(
    ("known", "ids", "index", "there"),
    [
        ([[4, 2, 9, 2]], [[2, 9, 3]], [[1, 2]], [[True, True, False]]),
        ([[4, 2], [2, 4]], [[4]], [[0], [1]], [[True], [True]]),
        ([[4, 2]], [[4], [5]], [[0]], [[True], [False]]),
    ],
)
def test_tokens_are_found_by_id(known, ids, index, there):
    """The first of equals; each head among its own, or all heads among the same."""
    where, is_there = found(torch.tensor(known), torch.tensor(ids))
    assert is_there.tolist() == there
    assert where[is_there].tolist() == [i for row in index for i in row]


class InGroups(SlidingWindow):
    """The sliding window, as a plan with groups of the heads named."""

    grouped, heads = True, ((0, 1),)

    def plan(self, first):
        plan = super().plan(first)
        groups = [[Group((layer,), heads, row) for layer in range(2) for heads in self.heads] for row in plan.rows]
        return summed_up([tuple(row) for row in groups], plan.query_times, SPEC)


@pytest.mark.parametrize("heads", [((0, 1),), ((0,), (1,))])
@pytest.mark.parametrize("relative", [False, True])
def test_it_agrees_with_the_plain_buffer(heads, relative):
    network = new_network()

    class Grouped(Native):
        def build(self, info):
            method = InGroups(info, relative, None)
            method.heads = heads
            return method

    plain = NativeRelative() if relative else Native()
    grouped, whole = (latents(start(network, config, seeds=(1, 2)), 9) for config in (Grouped(), plain))
    assert (grouped - whole).abs().max() < 1e-5
