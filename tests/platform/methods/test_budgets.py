"""Every method at one budget: what it says that it attends is what its blocks attend."""

import pytest

from longtake.jobs.certify.methods import MethodSubject
from longtake.jobs.certify.walks import BLOCKS, LATENT, frames_worth
from longtake.platform.backbones.pocket_network import NETWORK
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Window, methods
from longtake.platform.methods.deep_forcing import DeepForcing
from longtake.platform.methods.fademem import FadeMem
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.relax_forcing import RelaxForcing
from longtake.platform.methods.tethercache import TetherCache
from longtake.platform.methods.triattention import TriAttention

AS_PUBLISHED = {"full-attention", "forcing-kv", "dummy-forcing", "pyramid-forcing"}
"""Methods whose rules know no other budget than the published one."""


@pytest.mark.slow
@pytest.mark.parametrize("frames", [12, 21])
@pytest.mark.parametrize("name", methods.names())
def test_every_method_attends_its_budget(name, frames):
    subject = MethodSubject(name)
    try:
        config = subject.config.at_budget(frames)
    except ConfigError:
        assert name in AS_PUBLISHED
        return
    assert name not in AS_PUBLISHED
    window = config.window_in(Window())
    config.check(window, LATENT)
    counts = [frames_worth(step.rows[0]) for step in subject.walk([0], config)][BLOCKS // 2 :]
    assert config.attended(window, NETWORK) == pytest.approx(frames)
    seen = sum(counts) / len(counts)
    assert seen == pytest.approx(frames, rel=0.01) or (config.varies and 0.8 * frames < seen < frames)


def test_the_table_of_budgets():
    """1 + 6 + 5 and 1 + 10 + 10 of retrieval; 9 + 3 and 18 + 3 slots; 2 + 6 + 1 + 3 and 2 + 15 + 1 + 3."""
    assert [(c.window, c.top_k) for c in (Rag().at_budget(12), Rag().at_budget(21))] == [(12, 6), (21, 10)]
    assert [FadeMem().at_budget(frames).slots for frames in (12, 21)] == [9, 18]
    deep = [DeepForcing().at_budget(frames) for frames in (13, 21)]
    assert [(c.sink, c.keep_frames) for c in deep] == [(1, 13), (10, 21)]
    for config in deep:
        config.check(config.window_in(Window()), LATENT)
    for frames in (4, 12, 21):
        config = TriAttention().at_budget(frames)
        for block in (3, 4):
            window = config.window_in(Window(block=block))
            if window.size >= window.sink + block:
                config.check(window, LATENT)
            assert config.attended(window, NETWORK) == frames
    assert TetherCache().at_budget(8) == TetherCache(window=8, recent=3), "3 + 2 + 3"
    relax = [RelaxForcing().at_budget(frames) for frames in (7, 12, 21)]
    assert [(c.history, c.candidates) for c in relax] == [(1, 4), (6, 6), (15, 15)]


def test_a_budget_beyond_the_rules_is_refused():
    with pytest.raises(ConfigError, match="slots = 19: must be from 1 to 18"):
        FadeMem().at_budget(22)
