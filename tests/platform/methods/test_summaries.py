"""Methods that attend averages (MemRoPE, the EMA sink, FadeMem): their tables by hand, and settings that do not fit.

Every number of frame f's keys and values is f, so that an average names the frames in it.
"""

import pytest
import torch

from longtake.platform.errors import ConfigError
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.ema_sink import EmaSink
from longtake.platform.methods.fademem import FadeMem, Slot, relative
from longtake.platform.methods.memrope import MemRope

LATENT = (16, 60, 104)
SHAPE = (2, 1, 1, 2, 1, 2)
"""Keys and values of one layer and row, two tokens, one head of two numbers."""


def made(config, blocks, block=3):
    """The method and the cache after so many blocks. A block reads nothing that is not in the cache."""
    window = config.window_in(Window(block=block))
    config.check(window, LATENT)
    method, cache = config.build(RolloutInfo(window, 1, (0,))), KVCache(SHAPE, window, None)
    for first in range(0, block * blocks, block):
        plan = method.plan(first)
        for frame, entry in enumerate(cache.open_block(first, method.pinned(first)), first):
            entry.fill_(frame)
        for at in plan.rows[0]:
            cache.entry(0, at.source)
        method.committed(first, cache)
    return method, cache


def averages(method, cache, first):
    """(entry, time index, value) of what is derived in a block's plan."""
    return [
        (at.entry, at.time, float(cache.entry(0, at.source).mean())) for at in method.plan(first).rows[0] if at.entry
    ]


@pytest.mark.parametrize(
    ("window", "sink", "block", "first", "mean"),
    [
        # Cached + block - window frames leave, from frame sink + 2 on, at the first block that does not fit.
        (12, 3, 3, 12, 6.0),  # 12 + 3 - 12: frames 5, 6, 7
        (11, 3, 3, 9, 5.0),  # 9 + 3 - 11: frame 5
        (13, 3, 3, 12, 5.5),  # 12 + 3 - 13: frames 5, 6
        (14, 3, 3, 12, 5.0),  # 12 + 3 - 14: frame 5
        (8, 3, 3, 6, 5.0),  # nothing between the averages and the block: 6 + 3 - 8: frame 5
        (6, 1, 3, 6, 4.0),  # 6 + 3 - 6: frames 3, 4, 5
        (11, 0, 4, 8, 2.0),  # 8 + 4 - 11: frame 2
        (15, 0, 4, 12, 2.0),  # 12 + 4 - 15: frame 2
    ],
)
def test_the_first_mean_of_memrope(window, sink, block, first, mean):
    config = MemRope(window=window, sink=sink, from_zero=False)
    method, cache = made(config, first // block, block)
    assert averages(method, cache, first) == [("long", sink, mean), ("short", sink + 1, mean)]
    row = method.plan(first).rows[0]
    assert [at.time for at in row] == [*range(window)]
    assert [at.frame for at in row if not at.entry] == [
        *range(sink),
        *range(first + block - window + sink + 2, first + block),
    ]


def test_later_means_of_memrope_are_of_whole_blocks():
    """W 13, S 3 at frame 15: 5 and 6 left at 12, now 7, 8, 9 do. Rates 1 and 0: the newest mean, and the first."""
    config = MemRope(window=13, sink=3, from_zero=False, alpha_short=1.0, alpha_long=0.0)
    assert averages(*made(config, 5), 15) == [("long", 3, 5.5), ("short", 4, 8.0)]


def test_settings_of_memrope_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"window = 7: must be at least 8 \(sink, two averages, a block\)"):
        made(MemRope(window=7), 0)


def test_the_ema_sink_takes_frame_by_frame():
    """W 9, S 3 at frame 12: 3, 4, 5 left at 9 and 6, 7, 8 left at 12, each half: (0 + 3) / 2 = 1.5, then 3.75."""
    method, cache = made(EmaSink(alpha=0.5), 4)
    assert averages(method, cache, 12) == [("ema0", 0, 3.75), ("ema1", 1, 4.75), ("ema2", 2, 5.75)]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (EmaSink(window=10), "window = 10: must be a multiple of block 3, so that whole blocks leave; set 9"),
        (EmaSink(sink=2), "sink = 2: must be 3, as many frames as a block has"),
    ],
)
def test_settings_of_the_ema_sink_that_do_not_fit(config, reason):
    with pytest.raises(ConfigError, match=reason):
        made(config, 0)


def slots(config, blocks):
    return [tuple(slot) for slot in made(config, blocks)[0].slots]


def test_a_centre_is_rounded_as_the_authors_round_it():
    """Four slots, beta .7, at frame 27: 11 frames around 19 and frame 25 have the centre 234 / 12 = 19.5, which rounds
    to 20. The shares, 11/12 and 1/12, are floats, and what they make of 19 and 25 is just below 19.5."""
    assert slots(FadeMem(slots=4, warp_beta=0.7), 9) == [(0, 8), (10, 6), (19, 12), (26, 1)]


def test_what_merges_by_hand():
    """The newest pair never merges, so two slots are frame 0 with all the others, and the newest. At beta 0 all ages
    are equal, and the oldest pair merges."""
    assert slots(FadeMem(slots=1), 3) == [(0, 9)]
    assert slots(FadeMem(slots=2), 3) == [(0, 8), (8, 1)]
    assert slots(FadeMem(slots=5, warp_beta=0.0), 4) == [(0, 8), (8, 1), (9, 1), (10, 1), (11, 1)]


@pytest.mark.parametrize(("gamma", "value"), [(0.0, 6.0), (1.0, 5.0), (2.0, 4.4)])
def test_the_weights_of_a_merge(gamma, value):
    """Three frames of value 4 and one of 8: (4 + 8) / 2, (3 * 4 + 8) / 4, (9 * 4 + 8) / 10. The centre is 5 always."""
    method, cache = made(FadeMem(slots=4, span_gamma=gamma), 1)
    method.slots = [Slot(0), Slot(4, 3), Slot(8, 1)]
    cache.derive(("4x3", 4), torch.full(SHAPE, 4.0))
    cache.derive(("8x1", 8), torch.full(SHAPE, 8.0))
    method.merge(1, cache)
    assert method.slots == [Slot(0), Slot(5, 4)]
    assert float(cache.derived(("5x4", 5)).mean()) == pytest.approx(value)


@pytest.mark.parametrize(
    ("centres", "beta", "times"),
    [
        ([0], 0.3, [0]),
        ([0, 29], 0.3, [0, 17]),
        ([0, 28, 29], 0.3, [0, 16, 17]),
        ([0, 27, 28, 29], 0.3, [0, 15, 16, 17]),
        # Block 30: the gaps are 20 -> at most 17, then 10, then 5.
        ([0, 10, 20, 25, 27, 28, 29], 0.3, [0, 1, 8, 13, 15, 16, 17]),
        # 25 and 26 are both 5 or less away: the first leaves gap 4 to the second.
        ([0, 25, 26, 27, 28, 29], 0.3, [0, 13, 14, 15, 16, 17]),
        # All gaps are equally near: the smallest that leaves room.
        ([0, 10, 20, 25, 27, 28, 29], 0.0, [0, 12, 13, 14, 15, 16, 17]),
    ],
)
def test_indices_of_fademem_by_hand(centres, beta, times):
    assert relative(centres, 30, beta) == times


@pytest.mark.parametrize("count", [1, 2, 3, 4, 18])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 3.0])
def test_every_number_of_slots_runs(count, beta):
    row = made(FadeMem(slots=count, warp_beta=beta), 20)[0].plan(60).rows[0]
    times = [at.time for at in row]
    assert len(row) == count + 3
    assert times == sorted({*times})
    assert (times[0], times[-3:]) == (0, [18, 19, 20])


@pytest.mark.parametrize("params", [{"slots": 0}, {"slots": 19}, {"warp_beta": -0.1}, {"span_gamma": 51.0}])
def test_ranges_of_fademem(params):
    name, value = next(iter(params.items()))
    with pytest.raises(ConfigError, match=f"{name} = {value}: must be from"):
        FadeMem(**params)
