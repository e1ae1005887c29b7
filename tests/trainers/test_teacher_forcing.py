"""Training shows each block exactly what sampling will show it."""

import numpy as np
import pytest
import torch

from longtake.platform.backbones.pocket_network import NETWORK, SCHEDULE, WINDOW
from longtake.platform.generation.rollout import Rollout
from longtake.platform.methods.base import RolloutInfo
from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.parts.memory import MemoryConfig
from longtake.platform.methods.random_memory import RandomMemoryMethod
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.pocket.world import COLUMNS, VIEW_COLUMNS
from longtake.trainers import pocket_clips
from longtake.trainers.pocket_clips import finish, window_places
from longtake.trainers.teacher_forcing import TeacherForcing

BLOCKS = 8
SIGMA = 0.6


class Zeros:
    def initial(self, block):
        return torch.zeros(1, 3, NETWORK.channels, 1, 8)

    renoise = None


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return CausalDiT(NETWORK).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(5)
    camera = pocket_clips.walk(rng, 3 * BLOCKS)[None] + 90
    shape = (1, 3 * BLOCKS, NETWORK.channels, 1, 8)
    clean, noise = (torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for _ in range(2))
    text = torch.eye(8)[[1, 6]].unsqueeze(0)
    return camera, clean, torch.lerp(clean, noise, SIGMA), text


def sampled_flows(network, clip, method_config):
    """Flow of each noisy block when the engine has the clean blocks before it in its cache."""
    camera, clean, noisy, text = clip
    info = RolloutInfo(WINDOW, 1, (7,), camera, VIEW_COLUMNS, (COLUMNS,))
    rollout = Rollout(network, SCHEDULE, method_config.build(info), text, Zeros())
    at_sigma = network.modulate(torch.tensor(SIGMA * 1000))
    flows, plans = [], []
    for k in range(BLOCKS):
        block = rollout.block(k, clean[:, 3 * k : 3 * k + 3])
        plans.append(block.plan.rows[0])
        flows.append(rollout.flow(noisy[:, 3 * k : 3 * k + 3], at_sigma))
        rollout.flow(clean[:, 3 * k : 3 * k + 3], rollout.commit_modulation)
    return torch.cat(flows, dim=1), plans


def forced_flows(network, clip, layout):
    _, clean, noisy, text = clip
    frames = clean.shape[1]
    times = torch.tensor([[SIGMA * 1000] * frames + [0.0] * frames])
    attend = TeacherForcing(NETWORK, layout).attend
    flow = network(torch.cat([noisy, clean], dim=1), network.modulate(times), network.text_kv(text), attend)
    return flow[:, :frames]


def test_relative_window_equals_sampling(network, clip):
    layout = finish(clip[0], *window_places(clip[0]))
    sampled, _ = sampled_flows(network, clip, NativeRelative())
    assert (forced_flows(network, clip, layout) - sampled).abs().max() < 2e-5


def test_absolute_sink_equals_native_sampling(network, clip):
    frames, times, valid = window_places(clip[0])
    times[..., 0] -= np.maximum(0, np.arange(BLOCKS) * 3 - 9)
    sampled, _ = sampled_flows(network, clip, Native())
    assert (forced_flows(network, clip, finish(clip[0], frames, times, valid)) - sampled).abs().max() < 2e-5


class SomeMemory(MemoryConfig):
    def build(self, info):
        return RandomMemoryMethod(info, self)


def test_memory_layout_equals_sampling(network, clip):
    """The layout is written out from the engine's own plans: frame, time index and column of every key."""
    config = SomeMemory(top_k=6, recency_guard=0)
    sampled, plans = sampled_flows(network, clip, config)
    frames, times, valid = (np.zeros((1, BLOCKS, 9), dtype=np.int64) for _ in range(3))
    for k, plan in enumerate(plans):
        for x, at in enumerate(plan[:-3]):
            frames[0, k, x], times[0, k, x], valid[0, k, x] = at.frame, at.time, 1
    layout = finish(clip[0], frames, times, valid.astype(bool))
    assert any(at.reason == "retrieved" for at in plans[-1])
    assert (forced_flows(network, clip, layout) - sampled).abs().max() < 2e-5


def test_memory_layouts_keep_the_budget():
    """What training shows a recalling block is what rag shows it: sink, at most six memory frames, two local ones."""
    rng = np.random.default_rng(1)
    camera = np.stack([pocket_clips.walk(rng, 48) for _ in range(8)])
    layout = pocket_clips.memory_layout(rng, camera)
    shown = layout.valid[..., 9:].sum(-1)
    local = layout.valid[..., 1:9].sum(-1)
    late = torch.arange(16).expand(8, -1) >= 4
    recalling = shown > 0
    assert int(shown.max()) == 6
    assert set(local[late & recalling].tolist()) == {2}
    assert set(local[late & ~recalling].tolist()) == {2, 8}
    assert bool((layout.times[..., 9:] == 0).all())
    past = layout.frames[..., 9:] < (torch.arange(16) * 3 - 2)[None, :, None]
    assert bool(past[layout.valid[..., 9:]].all())
