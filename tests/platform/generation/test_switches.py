"""Prompts that change during a take, through the sampler and a shipped backbone."""

from dataclasses import asdict, replace

import pytest
import torch

from longtake.platform.backbones.base import backbones
from longtake.platform.generation.sampler import Sampler
from longtake.platform.methods.base import methods
from longtake.platform.prompts import Switch
from longtake.platform.takes import MethodSpec, Take

DUSK, NIGHT = "dusk, brick; pan right 30 s", "night, stone; pan right 30 s"
AT = Switch(4.5, NIGHT, frame=18)


@pytest.fixture(scope="module")
def sampler():
    torch.set_num_threads(1)
    return Sampler("pocket")


def take(*switches, method="native", frames=27, seed=0, prompt=DUSK, **params):
    marks = tuple(sorted(backbones.get("pocket").fingerprint().items()))
    spec = MethodSpec(method, method, asdict(methods.get(method)()) | params)
    return Take("pocket", spec, 6, frames, prompt, seed, 0, marks, switches)


def latents_of(sampler, *takes):
    """[take, frames, C, H, W]"""
    blocks = list(sampler.generate_together(takes))
    return torch.stack([torch.cat([rows[i].latents for rows in blocks]) for i in range(len(takes))])


def test_the_new_text_counts_from_its_block_on_and_not_before(sampler):
    (plain,), (timed,) = latents_of(sampler, take()), latents_of(sampler, take(AT))
    assert plain[:18].equal(timed[:18])
    assert not plain[18:21].equal(timed[18:21])


def test_a_switch_to_the_same_text_changes_nothing(sampler):
    """With a method that computes no frames again, a switch is the text alone."""
    (plain,), (timed,) = (
        latents_of(sampler, take(*switches, recache="none")) for switches in ([], [replace(AT, text=DUSK)])
    )
    assert plain.equal(timed)


def test_a_batch_has_the_bits_of_takes_alone(sampler):
    both = take(AT), take(replace(AT, text=DUSK), seed=1, prompt=NIGHT)
    together = latents_of(sampler, *both)
    for row, one in zip(together, both, strict=True):
        assert row.equal(latents_of(sampler, one)[0])


def test_a_longer_take_begins_with_the_shorter_one(sampler):
    (long,), (short,) = latents_of(sampler, take(AT, frames=27)), latents_of(sampler, take(AT, frames=21))
    assert long[:21].equal(short)


@pytest.mark.parametrize("method", ["native", "infinity-rope"])
def test_a_method_decides_what_becomes_of_the_frames_before(sampler, method):
    """LongLive's recache under the same text changes what is attended; a flush at the published window does not."""
    (plain,) = latents_of(sampler, take(method=method))
    (same,) = latents_of(sampler, take(replace(AT, text=DUSK), method=method))
    (cut,) = latents_of(sampler, take(replace(AT, text=DUSK, cut=True), method=method))
    assert plain.equal(same) == (method == "infinity-rope")
    assert not same.equal(cut)


@pytest.mark.parametrize("other", [replace(AT, frame=21), replace(AT, cut=True)])
def test_takes_that_change_at_other_blocks_are_no_batch(sampler, other):
    with pytest.raises(ValueError, match="change at other blocks"):
        next(sampler.generate_together([take(AT), take(other, seed=1)]))
