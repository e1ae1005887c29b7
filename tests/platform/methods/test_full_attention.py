"""Full attention: every frame, and the memory that it says it needs."""

import pytest

from longtake.jobs.sweep.capacity import check_context
from longtake.platform.backbones.pocket_network import NETWORK
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import FrameSize, RolloutInfo, Window
from longtake.platform.methods.full_attention import FullAttention
from longtake.platform.methods.native import Native


def test_by_hand():
    config = FullAttention()
    method = config.build(RolloutInfo(config.window_in(Window()), 1, (0,)))
    for block in (0, 1, 2, 4, 6, 20):
        plan = method.plan(3 * block)
        assert [(at.frame, at.time) for at in plan.rows[0]] == [(frame, frame) for frame in range(3 * block + 3)]
        assert plan.query_times == (3 * block, 3 * block + 1, 3 * block + 2)


def test_memory_and_time_grow_with_the_video():
    """Wan 1.3B: 143,769,600 numbers a frame, twice, in 2 bytes: 960 frames are 514.2 GiB. Blocks of 3 in 120 frames
    attend 3, 6 .. 120, on average 61.5."""
    config, window = FullAttention(), FullAttention().window_in(Window())
    frame = FrameSize(143_769_600, 2, 720)
    assert config.growing_bytes(960, window, NETWORK, frame) == 2 * 960 * 143_769_600 * 2
    assert Native().growing_bytes(960, Window(), NETWORK, frame) == 0
    assert config.mean_attended(120, window, NETWORK) == 61.5
    assert Native().mean_attended(120, Window(), NETWORK) == 12
    assert config.context_slots(120, window, NETWORK) == 120
    assert Native().context_slots(120, Window(), NETWORK) == 12


def test_what_cannot_fit_is_refused_in_one_line():
    check_context(0, 8, on_gpu=False)
    check_context(2**20, 8, on_gpu=False)
    with pytest.raises(ConfigError, match=r"methods: the context of a sampler needs 1048576.0 GiB, .* shorten"):
        check_context(2**50, 1, on_gpu=False)


def test_a_window_is_refused():
    with pytest.raises(ConfigError, match="window = 30: full-attention attends every frame"):
        FullAttention(window=30).check(Window(30, 1, 3), (16, 60, 104))
