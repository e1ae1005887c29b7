"""A sampler knows the size of a take's bank in advance, and refuses at block 0 a bank that does not fit."""

from dataclasses import asdict

import pytest

from longtake.platform.backbones.pocket import Pocket
from longtake.platform.errors import ConfigError
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.resources import GIB, BankCapacity, Resources
from longtake.platform.methods.base import methods
from longtake.platform.takes import MethodSpec, Take

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
ENTRY = Pocket.spec.frame.values * 4


def take(method="rag", frames=27, seed=0, **params):
    chosen = asdict(methods.get(method)()) | params
    return Take("pocket", MethodSpec(method, method, chosen), frames // 4, frames, PROMPT, seed)


def sampler_of(entries):
    """A sampler with room for `entries` frames of float32, and half a frame."""
    return Sampler("pocket", Resources(device="cpu", bank=BankCapacity(host_gib=(entries + 0.5) * ENTRY / GIB)))


def test_a_take_that_will_not_fit_is_refused_before_its_first_block():
    """27 frames minus the window's 12 are 15. With room for 14, the take would fail in its last block."""
    sampler = sampler_of(14)
    with pytest.raises(
        ConfigError, match=r"bank: this take needs 0.0 GiB for 15 frames of .* MB, but there is space for"
    ):
        next(sampler.generate(take()))
    assert len(list(sampler.generate(take(bank_frames=14)))) == 9
    assert len(list(sampler.generate(take("native")))) == 9


def test_a_take_that_just_fits_is_made_and_leaves_the_room_to_the_next():
    sampler = sampler_of(15)
    for _ in range(2):
        assert len(list(sampler.generate(take()))) == 9
    assert (sampler.tiers[0].used, sampler.tiers[0].reserved) == (0, 0)


def test_takes_made_together_need_room_together():
    """Two rows of 15 frames each."""
    with pytest.raises(ConfigError, match="for 30 frames of"):
        next(sampler_of(29).generate_together([take(), take(seed=1)]))
    assert len(list(sampler_of(30).generate_together([take(), take(seed=1)]))) == 9


def test_a_sampler_without_a_number_takes_its_share_of_the_machine():
    alone, among_eight = (
        Sampler("pocket", Resources(device="cpu", samplers_per_machine=count)).tiers[0].max_bytes for count in (1, 8)
    )
    assert alone / 8 == pytest.approx(among_eight, rel=0.2)
