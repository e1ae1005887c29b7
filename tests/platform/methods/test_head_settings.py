"""What the heads of Dummy Forcing and Forcing-KV attend at other settings than the published ones, by hand.

Frames are worked out from the authors' rules. Dummy Forcing keeps, after each block, frame 0 and the last 3 L frames
(all but frame 0, as long as there are fewer). Forcing-KV keeps a sink of S frames and the last of those after it.
"""

import numpy as np
import pytest

from longtake.jobs.golden import recorded
from longtake.platform.checkpoints.files import read_json
from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import TextSwitch
from longtake.platform.methods import dummy_forcing
from longtake.platform.methods.base import Window
from longtake.platform.methods.dummy_forcing import DummyForcing
from longtake.platform.methods.forcing_kv import ForcingKV
from longtake.platform.methods.parts.heads.mass import DUMMY, FIRST, MIDDLE, head_mass
from tests.platform.methods.test_golden_methods import GOLDEN
from tests.platform.methods.test_head_methods import OTHER, table
from tests.platform.rollouts import SPEC, latents, new_network, start

KINDS = np.array([[FIRST, MIDDLE], [DUMMY, FIRST]])


def walk(config, blocks, kinds=None, **kwargs):
    """A rollout, and its plans; with the kinds of heads that the test chooses, once there are any."""
    rollout, plans = start(new_network(), config, **kwargs), []
    for index in range(blocks):
        if kinds is not None and rollout.method.kinds:
            rollout.method.kinds = [kinds]
        plans.append(rollout.block(index).plan)
    return rollout, plans


def past(plan):
    """(layer, head) -> the past frames that it attends."""
    new = len(plan.query_times)
    assert all(at.time == at.frame for group in plan.groups[0] for at in group.row)
    return {
        (layer, head): [at.frame for at in group.row[:-new]]
        for group in plan.groups[0]
        for layer in group.layers
        for head in group.heads
    }


def tokens(plan):
    """The single tokens [frame, token] that head 1 of layer 1 attends; no other head attends any."""
    found = {(group.layers, group.heads): group.tokens for group in plan.groups[0] if group.tokens is not None}
    assert set(found) <= {((1,), (1,))}
    return [[*map(int, at)] for of in found.values() for at in zip(of.frames, of.tokens, strict=True)]


@pytest.mark.parametrize(
    ("ar_start", "local", "warm", "middle"),
    [
        (1, 1, [[], [0, 1, 2]], [[3, 4, 5], [6, 7, 8], [9, 10, 11]]),
        (2, 1, [[], [0, 1, 2], [0, 3, 4, 5]], [[6, 7, 8], [9, 10, 11]]),
        (3, 1, [[], [0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8]], [[9, 10, 11]]),
        (4, 1, [[], [0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]], [[12, 13, 14]]),
        (1, 2, [[], [0, 1, 2]], [[*range(1, 6)], [*range(3, 9)], [*range(6, 12)]]),
        (2, 2, [[], [0, 1, 2], [*range(6)]], [[*range(3, 9)], [*range(6, 12)]]),
        (3, 2, [[], [0, 1, 2], [*range(6)], [0, *range(3, 9)]], [[*range(6, 12)]]),
        (1, 3, [[], [0, 1, 2]], [[*range(1, 6)], [*range(1, 9)], [*range(3, 12)]]),
        (1, 4, [[], [0, 1, 2]], [[*range(1, 6)], [*range(1, 9)], [*range(1, 12)], [*range(3, 15)]]),
    ],
)
def test_dummy_forcing_by_hand(ar_start, local, warm, middle):
    config = DummyForcing(ar_start=ar_start, local_blocks=local)
    config.check(config.window_in(Window()), (16, 4, 6))
    plans = [past(plan) for plan in walk(config, len(warm) + len(middle), KINDS)[1]]
    for plan, frames in zip(plans, warm, strict=False):
        assert all(seen == frames for seen in plan.values())
    for index, frames in enumerate(middle, len(warm)):
        newest = [3 * index - 1]
        assert plans[index] == {(0, 0): [0], (0, 1): frames, (1, 0): newest, (1, 1): [0]}


def test_the_first_part_is_of_the_first_three_frames_attended(monkeypatch):
    """With `ar_start` 2, block 2 attends 0, 3, 4 | 5 | 6, 7, 8: of 2 tokens each, 6 are first and 2 in the middle. With
    1, block 1 attends 0 | 1, 2 | 3, 4, 5."""
    asked = []

    def recording(query, keys, parts):
        asked.append((query.shape[1], keys.shape[1], *parts))
        return head_mass(query, keys, parts)

    monkeypatch.setattr(dummy_forcing, "head_mass", recording)
    walk(DummyForcing(ar_start=2), 4)
    assert asked == [(2, 14, slice(0, 6), slice(6, 8))] * SPEC.layers
    asked.clear()
    walk(DummyForcing(), 3)
    assert asked == [(1, 12, slice(0, 2), slice(2, 6))] * SPEC.layers


@pytest.mark.parametrize(
    ("config", "block", "first", "middle"),
    [
        (DummyForcing(), 6, 6, [[15, 16, 17], [18, 19, 20]]),
        (DummyForcing(local_blocks=3), 3, 0, [[*range(1, 9)], [*range(3, 12)]]),
        (DummyForcing(window=6, local_blocks=3), 6, 12, [[*range(12, 18)], [*range(12, 21)], [*range(15, 24)]]),
    ],
)
def test_dummy_forcing_after_another_prompt(config, block, first, middle):
    """W frames are computed again: of 18, the last 12 or 6; of 9, all. Middle heads have the last 3 L of them, where
    all are too few from the second on, if they begin in the first L blocks of the video."""
    plans = walk(config, block + len(middle), KINDS, switches={block: TextSwitch(OTHER)})[1]
    for plan, frames in zip(plans[block:], middle, strict=True):
        assert past(plan)[0, 1] == frames
        assert past(plan)[0, 0] == past(plan)[1, 1] == [first]


@pytest.fixture
def heads(tmp_path):
    """Head 0 of layer 1 is static, head 1 dynamic; layer 0 is static as a whole."""
    file = tmp_path / "heads.json"
    file.write_text(table(2, [[0], [0]]))
    return str(file)


@pytest.mark.parametrize(
    ("settings", "whole", "static", "dynamic", "cut"),
    [
        ({}, [[], [0, 2], [0, 5], [0, 8], [0, 11]], [[0, 5], [0, 8], [0, 11]], None, [[5, 6, 7], [8, 9, 10]]),
        (
            {"sink": 2, "window": 6},
            [[], [0, 1, 2], [0, 1, 5], [0, 1, 8], [0, 1, 11]],
            [[0, 1, 5], [0, 1, 8], [0, 1, 11]],
            None,
            [[5, 6, 7], [8, 9, 10]],
        ),
        (
            {"sink": 4, "window": 8},
            [[], [0, 1, 2], [0, 1, 2, 3, 5], [0, 1, 2, 3, 8], [0, 1, 2, 3, 11]],
            [[0, 1, 2, 3, 5], [0, 1, 2, 3, 8], [0, 1, 2, 3, 11]],
            None,
            [[5, 6, 7], [8, 9, 10]],
        ),
        (
            {"spatial_frames": 3, "window": 7},
            [[], [0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]],
            [[0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]],
            [[0, 5], [0, 8], [0, 11]],
            [[5, 6, 7], [8, 9, 10]],
        ),
        (
            {"temporal_frames": 3, "window": 7},
            [[], [0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]],
            [[0, 5], [0, 8], [0, 11]],
            [[0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]],
            [[3, 4, 5], [6, 7, 8]],
        ),
        (
            {"spatial_frames": 0, "temporal_frames": 2, "window": 6},
            [[], [0, 1, 2], [0, 4, 5], [0, 7, 8], [0, 10, 11]],
            [[0], [0], [0]],
            [[0, 4, 5], [0, 7, 8], [0, 10, 11]],
            [[4, 5, 6], [7, 8, 9]],
        ),
        (
            {"sink": 0, "spatial_frames": 2, "temporal_frames": 2, "window": 5},
            [[], [1, 2], [4, 5], [7, 8], [10, 11]],
            [[4, 5], [7, 8], [10, 11]],
            None,
            [[4, 5, 6], [7, 8, 9]],
        ),
    ],
)
def test_forcing_kv_by_hand(heads, settings, whole, static, dynamic, cut):
    """Blocks 0 to 4: before `ar_start` + 1 = 2 all heads attend `whole`, then layer 0. All runs of the three frames
    `cut` are kept with `dynamic_frames` 3, chosen by blocks 2 and 3 for the next."""
    config = ForcingKV(table=heads, runs=2, dynamic_frames=3, **settings)
    config.check(config.window_in(Window()), (16, 4, 6))
    plans = walk(config, 5)[1]
    for plan, frames in zip(plans[:2], whole, strict=False):
        assert all(seen == frames for seen in past(plan).values())
    for plan, *frames in zip(plans[2:], whole[2:], static, dynamic or static, strict=True):
        assert past(plan) == {(0, 0): frames[0], (0, 1): frames[0], (1, 0): frames[1], (1, 1): frames[2]}
    assert tokens(plans[2]) == []
    for plan, frames in zip(plans[3:], cut, strict=True):
        assert tokens(plan) == [[frame, token] for frame in frames for token in range(2)]


def test_forcing_kv_that_begins_before_there_are_three_past_frames(heads):
    """After block 0 only frames 1 and 2 are past; with frame 3 of block 1 they are the three that are cut, though the
    last three past frames, 3 to 5, are attended as a whole."""
    settings = {"spatial_frames": 3, "temporal_frames": 3, "window": 7, "dynamic_frames": 3}
    plans = walk(ForcingKV(table=heads, runs=2, ar_start=0, **settings), 4)[1]
    assert [past(plan)[1, 1] for plan in plans] == [[], [0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8]]
    assert [sorted({frame for frame, _ in tokens(plan)}) for plan in plans] == [[], [], [1, 2, 3], [3, 4, 5]]


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_so_many_frames_worth_of_runs(heads, frames):
    plans = walk(ForcingKV(table=heads, runs=2, dynamic_frames=frames), 5)[1]
    kept = [tokens(plan) for plan in plans]
    assert [len(of) for of in kept] == [0, 0, 0, frames * 2, frames * 2]
    assert {frame for frame, _ in kept[4]} <= {8, 9, 10}
    config = ForcingKV(table=heads, runs=2, dynamic_frames=frames)
    most = config.attended(config.window_in(Window()), SPEC)
    assert most == 5 + frames / 2, "layer 0 attends 5 frames, a dynamic head of layer 1 so many more"


@pytest.mark.parametrize(
    ("settings", "again"),
    [
        ({}, range(11, 12)),
        ({"dynamic_frames": 0}, range(11, 12)),
        ({"dynamic_frames": 2}, range(10, 12)),
        ({"spatial_frames": 3, "window": 7}, range(9, 12)),
        ({"sink": 4, "window": 8}, range(8, 12)),
    ],
)
def test_forcing_kv_after_another_prompt(heads, settings, again):
    """The runs are dropped, as many frames as the most of the settings are computed again with all heads alike, and the
    commit pass of the block chooses runs for the next."""
    config = ForcingKV(table=heads, runs=2, **settings)
    rollout, _ = walk(config, 4, switches={4: TextSwitch(OTHER)})
    assert bool(tokens(rollout.method.plan(12))) == (config.dynamic_frames > 0)
    before = {frame: entry.clone() for frame, entry in rollout.cache.live.items()}
    plan = rollout.prepare(4).plan
    changed = [f for f, entry in sorted(before.items()) if not entry.equal(rollout.cache.live[f])]
    assert changed == [f for f in again if f in before]
    assert tokens(plan) == []
    assert len(tokens(rollout.block(4).plan)) == 0
    assert {frame for frame, _ in tokens(rollout.block(5).plan)} <= {11, 12, 13}
    assert len(tokens(rollout.block(6).plan)) == 2 * config.dynamic_frames
    rerun = start(new_network(), config).method.switch(12, False)
    assert rerun.frames == again
    sink = [*range(config.sink)]
    assert past(rerun.plan) == {(layer, head): sink for layer in range(2) for head in range(2)}
    assert all(group.tokens is None for group in rerun.plan.groups[0])


def test_forcing_kv_groups_heads_from_an_early_change_of_the_prompt_on(heads):
    """As the authors do, although `ar_start` is later: block 1 chooses runs of frames 2, 3 and 4."""
    config = ForcingKV(table=heads, runs=2, ar_start=3, dynamic_frames=3)
    plans = walk(config, 3, switches={1: TextSwitch(OTHER)})[1]
    assert [frame for frame, _ in tokens(plans[2])] == [2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_a_prompt_that_changes_while_heads_are_measured(block):
    config = ForcingKV(runs=2, local_share=0.99)
    rollout, _ = walk(config, block, switches={block: TextSwitch(OTHER)})
    before = {frame: entry.clone() for frame, entry in rollout.cache.live.items()}
    rollout.prepare(block)
    assert [f for f, entry in before.items() if not entry.equal(rollout.cache.live[f])] == [3 * block - 1]
    assert bool(latents(start(new_network(), config, switches={block: TextSwitch(OTHER)}), 6).isfinite().all())


@pytest.mark.parametrize(
    ("case", "changed", "due"),
    [
        ("forcing_kv", {"sink_size": 2}, {"window": 6, "sink": 2}),
        ("forcing_kv", {"spatial_frames": 2, "temporal_frames": 3}, {"window": 7, "temporal_frames": 3}),
        ("forcing_kv", {"dynamic_frames": 2, "retention_ratio": 0.67}, {"dynamic_frames": 2, "window": 5}),
        ("forcing_kv", {"dynamic_frames": 0, "retention_ratio": 0.0}, {"dynamic_frames": 0}),
        ("dummy_forcing", {"ar_start": 4, "local_attn_size": 21}, {"ar_start": 4, "window": 21}),
        ("dummy_forcing", {"local_context_blocks": 4}, {"local_blocks": 4, "window": 12}),
    ],
)
def test_recorded_settings_are_read(case, changed, due):
    facts = read_json(GOLDEN / f"{case}.json")
    config = {**facts["config"], **changed}
    recorded.check_keys(GOLDEN / f"{case}.json", config)
    method = recorded.method_of(GOLDEN / f"{case}.json", {**facts, "config": config})
    method.check(method.window_in(Window()), (16, 4, 6))
    assert {name: getattr(method, name) for name in due} == due


def test_a_recorded_share_that_is_not_so_many_frames_is_refused():
    facts = read_json(GOLDEN / "forcing_kv.json")
    with pytest.raises(ConfigError, match=r"retention_ratio = 0\.33: must be 0\.67 with dynamic_frames 2"):
        recorded.method_of(GOLDEN / "forcing_kv.json", {**facts, "config": {**facts["config"], "dynamic_frames": 2}})
