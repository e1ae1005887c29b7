"""TetherCache and Deep Forcing, which choose inside a pass: wrong readings, indices by hand, rows and memory."""

import math
from dataclasses import replace

import pytest
import torch

from longtake.jobs.golden import recorded
from longtake.jobs.golden.engine import build_rollout
from longtake.platform.checkpoints.files import load_safetensors, read_json
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Window
from longtake.platform.methods.deep_forcing import DeepForcing, DeepForcingMethod
from longtake.platform.methods.native import NativeRelative
from longtake.platform.methods.parts.tokens.pulled import pulled
from longtake.platform.methods.tethercache import TetherCache, TetherCacheMethod
from tests.platform.methods.test_golden_methods import GOLDEN, off
from tests.platform.rollouts import latents, new_network, start

TETHER = TetherCache(window=9, sink=1, recent=4)
DEEP = DeepForcing(window=9, sink=1, keep_frames=7, recent=4, contiguous=False)
"""Windows that are full at block 3."""


class InPassOne(TetherCacheMethod):
    watched = frozenset({"first"})


class OneChoice(TetherCacheMethod):
    """The first layer decides for all."""

    def scores(self, frames, query, keys):
        self.seen = 0 if self.seen == 2 else self.seen + 1
        if self.seen == 0:
            self.shared = super().scores(frames, query, keys)
        return self.shared

    seen = 2


class Rotated(TetherCacheMethod):
    """Scores of rotated keys and queries."""

    def watch(self, seen):
        self.turn = seen.rotate
        return super().watch(replace(seen, query=seen.rotated_query))

    def scores(self, frames, query, keys):
        turned = [self.turn(key, frame, i + 3) for i, (key, frame) in enumerate(zip(keys, frames, strict=True))]
        return super().scores(frames, query, turned)


class OwnMass(TetherCacheMethod):
    """A frame is redundant to itself."""

    def scores(self, frames, query, keys):
        alpha, self.config = self.config.alpha, replace(self.config, alpha=0.0)
        mass = super().scores(frames, query, keys)
        self.config = replace(self.config, alpha=alpha)
        times = torch.tensor(frames).double()
        near = torch.exp(-(times[:, None] - times).abs() / max(1, (frames[-1] - frames[0] + 1) / 2))
        return mass + alpha * (1 - (near * mass).amax(1)).clamp(min=0)


class NewQueriesAlone(DeepForcingMethod):
    def compressed(self, seen, held):
        self.queries.kept = {at: torch.zeros_like(query) for at, query in self.queries.kept.items()}
        return super().compressed(seen, held)


class BeforeRotation(DeepForcingMethod):
    def compressed(self, seen, held):
        plain = replace(seen, rotated_query=seen.query, rotated_keys=seen.keys, rotate=lambda x, *_: x)
        return super().compressed(plain, held)


class SinkStays(DeepForcingMethod):
    def group(self, first, layer, held):
        return super().group(first, layer, held._replace(sink=0))


class SinkLater(DeepForcingMethod):
    """Right before the last frames."""

    def compressed(self, seen, held):
        held = super().compressed(seen, held)
        return held._replace(sink=held.sink + 3)


@pytest.mark.parametrize(
    ("case", "wrong", "params", "effect"),
    [
        ("tethercache_small", None, {"tau": 0.0}, 0.3),
        ("tethercache_small", None, {"alpha": 0.0}, 0.2),
        ("tethercache_small", OneChoice, {}, 0.3),
        ("tethercache_small", InPassOne, {}, 0.4),
        ("tethercache_small", Rotated, {}, 0.3),
        ("tethercache_small", OwnMass, {}, 0.3),
        ("deep_forcing", NewQueriesAlone, {}, 0.2),
        ("deep_forcing", BeforeRotation, {}, 0.3),
        ("deep_forcing", SinkStays, {}, 0.6),
        ("deep_forcing", SinkLater, {}, 0.4),
        ("deep_forcing", None, {"contiguous": True}, 0.4),
        ("deep_forcing_12", None, {"reuse": 1000}, 0.5),
    ],
)
def test_a_wrong_reading_fails(case, wrong, params, effect):
    assert off(case, wrong, **params) > effect


def deep_forcing_case(**params):
    path = GOLDEN / "deep_forcing.json"
    facts, tensors = read_json(path), load_safetensors(path.with_suffix(".safetensors"))
    rollout = build_rollout(path, facts, tensors)
    method = replace(recorded.method_of(path, facts), **params).build(rollout.method.info)
    rollout.method = rollout.context.method = method
    return rollout


@pytest.mark.parametrize(
    ("contiguous", "sink", "next_sink"), [(True, range(8, 18), range(14, 24)), (False, range(5, 15), range(11, 21))]
)
def test_indices_of_a_compression_by_hand(contiguous, sink, next_sink):
    """W 21, S 10, N 16, R 4, 6 tokens a frame. Block 7 (f = 21) would attend 24 frames: it keeps 10 + 12 tokens + 4.
    Contiguous: frames 20..23 stay, the tokens go to 18, 18, .. 19, the sink to 8..17. Else the tokens stay and the sink
    goes to f - 16 = 5 .. 14. Block 8 attends 19 frames and moves nothing; block 9 compresses as 7 did, 6 later."""
    plans = [block.plan for block in deep_forcing_case(contiguous=contiguous).blocks(10)]
    for block, times, whole in ((7, sink, range(20, 24)), (8, sink, range(20, 27)), (9, next_sink, range(26, 30))):
        for group in plans[block].groups[0]:
            assert [(at.frame, at.time) for at in group.row[:10]] == list(enumerate(times)), f"block {block}"
            assert [(at.frame, at.time) for at in group.row[10:]] == [(f, f) for f in whole]
            last = times[-1] + 1
            own = [last] * 6 + [last + 1] * 6 if contiguous else group.tokens.frames.tolist()
            assert group.tokens.times.tolist() == own
            ids = (6 * group.tokens.frames + group.tokens.tokens).tolist()
            assert ids == sorted({*ids}), "in the order of the video, none twice"


def sinks(config, blocks):
    """(block, time indices of the sink, tokens kept) of every block whose sink is not where it was."""
    moves, last = [], [*range(config.sink)]
    for block in start(new_network(), config).blocks(blocks):
        group = block.plan.groups[0][0]
        times = [at.time for at in group.row[: config.sink]]
        if times != last:
            moves.append((3 * block.index, times, len(group.tokens.frames)))
        last = times
    return moves


@pytest.mark.parametrize(
    ("window", "sink", "keep", "moves"),
    [
        # 12 + 3 > 13 at f = 12; then 10 + 3 fits, 13 + 3 does not: f = 18, 24. First by W - N = 3, then as f does.
        (13, 2, 10, [(12, [3, 4]), (18, [9, 10]), (24, [15, 16])]),
        # Every block: from W - N = 0 on, so the first leaves the sink where it is.
        (13, 1, 13, [(15, [3]), (18, [6]), (21, [9]), (24, [12])]),
        (12, 1, 12, [(15, [3]), (18, [6]), (21, [9]), (24, [12])]),
        (14, 1, 10, [(12, [4]), (18, [10]), (24, [16])]),
    ],
)
def test_where_the_sink_is_in_the_released_code(window, sink, keep, moves):
    """Two tokens a frame; N - S - R frames' worth are kept."""
    found = sinks(DeepForcing(window=window, sink=sink, keep_frames=keep, contiguous=False, reuse=0), 9)
    assert found == [(first, times, 2 * (keep - sink - 4)) for first, times in moves]


def test_a_reuse_of_zero_is_no_limit():
    """Like one that is never reached, and unlike a limit of 1, which leaves fewer tokens than there is room for."""
    found = [[block.plan.groups for block in deep_forcing_case(reuse=reuse).blocks(12)] for reuse in (0, 1000, 1)]
    assert found[0] == found[1] != found[2]


def test_fewer_tokens_than_a_frame_end_right_before_the_last_frames():
    """With a reuse of 1 all candidates of block 9 that were kept in block 7 are gone: of frames 20..25 12 are kept. In
    block 11 frames 26..31 are left. All have indices below the recent frames', the newest the last."""
    blocks = list(deep_forcing_case(contiguous=True, reuse=1).blocks(12))
    for first, block in ((27, 9), (33, 11)):
        for group in blocks[block].plan.groups[0]:
            assert group.tokens.frames.min() >= first - 13
            assert group.tokens.times.tolist() == [first - 3] * 6 + [first - 2] * 6


def test_pulled_by_hand():
    """x = 1, 3 has mean 2 and deviation 1; the past 0, 0, 8, 8 has 4 and 4. Like it, x is 0, 8; half way .5, 5.5."""
    x, past = (torch.tensor(numbers, dtype=torch.float32)[None, :, None] for numbers in ([1, 3], [0, 0, 8, 8]))
    assert pulled(x, past, 0.5).flatten().tolist() == pytest.approx([0.5, 5.5])
    assert pulled(x, past, 0).equal(x)
    assert pulled(torch.ones(1, 2, 1), past, 1).flatten().tolist() == [4, 4], "a constant has no deviation"


@pytest.mark.parametrize("config", [TETHER, DEEP, replace(DEEP, contiguous=True)])
def test_rows_are_single_takes_bit_by_bit(config):
    """Also what each chose: the three takes choose differently."""
    network = new_network()
    together = list(start(network, config, seeds=(1, 2, 3)).blocks(9))
    groups = {seed: [block.plan.groups[row] for block in together] for row, seed in enumerate((1, 2, 3))}
    assert groups[1] != groups[2] != groups[3]
    for row, seed in enumerate((1, 2, 3)):
        alone = list(start(network, config, seeds=(seed,)).blocks(9))
        assert groups[seed] == [block.plan.groups[0] for block in alone]
        assert all(torch.equal(one.latents[row], two.latents[0]) for one, two in zip(together, alone, strict=True))


@pytest.mark.parametrize(("window", "recent", "memory"), [(9, 4, 2), (9, 5, 1), (8, 3, 2), (7, 3, 1)])
def test_a_memory_that_is_shorter_than_a_block(window, recent, memory):
    """S 3: a block attends the sink, the memory and `recent`, at 0..W-1, also when frames leave both at once. The
    frames of a memory are older than those of `recent`, and some are newer than its first ones, 3 and 4."""
    rollout, kept = start(new_network(), TetherCache(window=window, recent=recent)), set()
    for block in rollout.blocks(12):
        first = 3 * block.index
        for group in block.plan.groups[0]:
            frames = [at.frame for at in group.row]
            assert [at.time for at in group.row] == [*range(min(window, first + 3))]
            if first + 3 > window:
                assert frames[:3] == [0, 1, 2]
                assert frames[-recent:] == [*range(first + 3 - recent, first + 3)]
                assert frames[3:-recent] == sorted({*frames[3:-recent]})
                assert len(frames[3:-recent]) == memory
                assert all(3 <= frame < first + 3 - recent for frame in frames[3:-recent])
                kept.update(frames[3:-recent])
    assert max(kept) > 5


@pytest.mark.parametrize("sink", [0, 1])
def test_without_a_memory_it_is_the_relative_window(sink):
    network = new_network()
    tether = start(network, TetherCache(window=9, sink=sink, recent=9 - sink))
    relative = start(network, NativeRelative(window=9, sink=sink))
    assert [[(at.frame, at.time) for at in block.plan.rows[0]] for block in tether.blocks(8)] == [
        [(at.frame, at.time) for at in block.plan.rows[0]] for block in relative.blocks(8)
    ]


def test_the_scores_of_tethercache_by_hand():
    """Two frames of one token, d = 1, query 1, keys 0 and 2 ln 3: masses 1/10 and 9/10; at a temperature of 2, 1/4 and
    3/4. Frames 4 and 5: s = max(1, 2 / 2), so a frame's redundancy is the other's mass / e."""
    query, keys = torch.ones(1, 1, 1), [torch.zeros(1, 1, 1), torch.full((1, 1, 1), 2 * math.log(3))]
    for temperature, (one, two) in ((1.0, (0.1, 0.9)), (2.0, (0.25, 0.75))):
        method = start(new_network(), TetherCache(alpha=0.5, temperature=temperature)).method
        due = [one + 0.5 * (1 - two / math.e), two + 0.5 * (1 - one / math.e)]
        assert method.scores([4, 5], query, keys).tolist() == pytest.approx(due)


def test_given_frames_are_chosen_from_as_if_they_had_been_made():
    """TetherCache chooses in the commit pass, which given blocks have too."""
    network = new_network()
    whole = latents(start(network, TETHER), 9)
    assert torch.equal(whole, latents(start(network, TETHER), 9, prefix=whole[:, :18]))


@pytest.mark.parametrize("config", [TETHER, DEEP])
def test_nothing_grows_with_the_video(config):
    rollout = start(new_network(), config)
    for block in rollout.blocks(40):
        held = [state.keys.shape[1] for layers in rollout.context.states for states in layers for state in states]
        assert max(held) <= 9 * 2, f"block {block.index}: 9 frames of 2 tokens"
        assert len(rollout.cache.live) <= 9
        assert len(rollout.context.layouts) <= 10
    if isinstance(config, DeepForcing):
        kept = [held for row in rollout.method.held for held in row]
        assert all(len(held.tokens.frames) == len(held.uses) <= 4 for held in kept)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TetherCache(recent=2), "recent = 2: must be at least block 3, and at most window 21 - sink 3"),
        (TetherCache(recent=19), "recent = 19: must be at least block 3"),
        (DeepForcing(recent=7), "recent = 7, keep_frames = 16: recent must be from 3 to 6"),
        (DeepForcing(keep_frames=14), "keep_frames = 14: .* more than sink 10 .* and at most window 21"),
        (DeepForcing(keep_frames=22), "keep_frames = 22"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        config.check(config.window_in(Window()), (5, 1, 8))


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (TetherCache, {"tau": 1.5}),
        (TetherCache, {"alpha": -1.0}),
        (TetherCache, {"temperature": 0.0}),
        (DeepForcing, {"reuse": -1}),
    ],
)
def test_ranges(config, params):
    name, value = next(iter(params.items()))
    with pytest.raises(ConfigError, match=f"{name} = {value}"):
        config(**params)
