"""Frames that the model makes for its own training: made as the sampler makes them, and still of the true street."""

import numpy as np
import pytest
import torch

from longtake.platform.backbones.pocket import pocket_network
from longtake.platform.backbones.pocket_network import SCHEDULE, WINDOW
from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import Rollout
from longtake.platform.methods.base import RolloutInfo
from longtake.platform.methods.native import NativeRelative
from longtake.platform.pocket.world import COLUMNS, VIEW_COLUMNS
from longtake.trainers.own_context import OwnContext, own_frames, resample
from longtake.trainers.pocket_clips import Clips, draw_clips, finish, make_scenes, walk, window_places

PASSES = len(SCHEDULE.steps)
FIRST_HELD_OUT = 9000


class Given:
    """Draws the same noise for every block."""

    def __init__(self, noise):
        self.noise = noise

    def initial(self, block):
        return self.noise

    renoise = None


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    return pocket_network("pocket").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def streets():
    return make_scenes(4, lambda done: None, first=FIRST_HELD_OUT)


def columns_of(latents):
    """[B, F, C, 1, 8] -> [B * F * 8, C]"""
    return latents.squeeze(3).transpose(2, 3).flatten(0, 2)


def test_resampled_frames_are_the_samplers(network, streets):
    """With every pass of the schedule it starts from noise alone, as the sampler does after true blocks."""
    camera = walk(np.random.default_rng(5), 18)[None]
    places = torch.from_numpy((camera[:, :, None] + np.arange(VIEW_COLUMNS)) % COLUMNS)
    latents = streets.columns[:1][torch.zeros(1, 1, 1, dtype=torch.long), places].transpose(-1, -2).unsqueeze(-2)
    clips = Clips(latents, streets.text[:1], finish(camera, *window_places(camera)))
    made = resample(network, clips, latents, np.random.default_rng(0), PASSES)

    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(latents.shape, dtype=np.float32))
    info = RolloutInfo(WINDOW, 1, (7,), camera, VIEW_COLUMNS, (COLUMNS,))
    rollout = Rollout(network, SCHEDULE, NativeRelative().build(info), clips.text, Given(noise[:, 15:]))
    sampled = list(rollout.blocks(6, latents[:, :15]))[-1].latents
    assert (made[:, 15:] - sampled).abs().max() < 1e-4


def test_own_frames_show_the_true_street_with_errors(network, streets):
    rng = np.random.default_rng(1)
    clips = draw_clips(streets, rng, 4, 24, memory=False)
    made = own_frames(network, clips, np.random.default_rng(2), OwnContext("pocket"))
    again = own_frames(network, clips, np.random.default_rng(2), OwnContext("pocket"))
    equal = (made == clips.latents).flatten(2).all(-1)
    assert torch.equal(made, again)
    assert equal[:, :3].all(), "the first block is always true"
    assert not equal[:, 12:].any(), "the second half never is"

    every = streets.columns.flatten(0, 1)
    shown, true = (torch.cdist(columns_of(x[:, 12:]), every).argmin(1) for x in (made, clips.latents))
    assert (shown == true).float().mean() > 0.8
    assert 0.005 < (made - clips.latents)[:, 12:].square().mean() < 0.2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": "poket"}, "own_context.start: 'poket' does not ship; did you mean 'pocket'"),
        ({"start": "pocket", "rounds": 0}, "own_context.rounds = 0: must be 1 or more"),
        ({"start": "pocket", "passes": 9}, "own_context.passes = 9: must be 1 to 8"),
    ],
)
def test_bad_values_name_themselves(values, message):
    with pytest.raises(ConfigError, match=message):
        OwnContext(**values)
