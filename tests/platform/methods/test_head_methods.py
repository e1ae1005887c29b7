"""Methods that choose per head: wrong readings that must fail their golden cases, their rules by hand, and prompts that
change. A wrong reading is the method with one rule changed."""

import json
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from longtake.jobs.golden.given import GivenRowsMethod
from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import Rollout, TextSwitch
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.dummy_forcing import DummyForcing
from longtake.platform.methods.forcing_kv import ForcingKV, ForcingKVMethod
from longtake.platform.methods.native import Native
from longtake.platform.methods.parts.heads.mass import DUMMY, FIRST, MIDDLE, head_mass, kinds_by_mass
from longtake.platform.methods.parts.heads.table import kinds, read_table
from longtake.platform.methods.parts.tokens.candidates import Candidates
from longtake.platform.methods.parts.tokens.key_scores import KeyScores, pairs
from longtake.platform.methods.parts.tokens.token_runs import changed_runs, similarity
from longtake.platform.methods.triattention import TriAttention
from longtake.platform.models.schedule import FlowSchedule
from tests.platform.methods.test_golden_methods import off
from tests.platform.rollouts import SPEC, Noise, latents, new_network, start

OTHER = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(99))


class BlockOnly(GivenRowsMethod):
    """Dummy heads see nothing past."""

    def groups(self, row, first):
        cut = {True: slice(-3, None), False: slice(None)}
        return tuple(
            replace(group, row=group.row[cut[bool(self.kinds) and group.row[0].frame == first - 1]])
            for group in super().groups(row, first)
        )


class SinkOfThree(GivenRowsMethod):
    """Heads for the first frame see the first three."""

    def local_row(self, first, frames, times=None):
        return super().local_row(first, [0, 1, 2, *frames[1:]] if self.kinds and frames[0] == 0 else frames)


def test_wrong_dummy_forcing():
    assert off("dummy_forcing", BlockOnly) > 0.5
    assert off("dummy_forcing", SinkOfThree) > 0.5


class BeforeRotation(ForcingKVMethod):
    def watch(self, seen):
        super().watch(replace(seen, rotated_keys=seen.keys))


class EachLayer(ForcingKVMethod):
    """Every layer keeps what changed most in its own keys."""

    def watch(self, seen):
        super().watch(seen)
        dynamic = [(layer, heads) for layer, its, heads in kinds(self.static[seen.row], self.spec) if its]
        if seen.first >= self.first_grouped and (seen.layer, seen.heads) in dynamic:
            self.own[seen.layer] = changed_runs(seen, seen.first - 1, self.spec.frame_tokens, 3, 1)

    @cached_property
    def own(self):
        return {}

    def groups(self, row, first):
        groups = super().groups(row, first)
        return tuple(replace(g, tokens=self.own[g.layers[0]]) if g.tokens is not None else g for g in groups)


def test_wrong_forcing_kv(monkeypatch):
    assert off("forcing_kv", BeforeRotation) > 0.1
    assert off("forcing_kv", EachLayer) > 0.1
    monkeypatch.setattr(
        "longtake.platform.methods.parts.tokens.token_runs.similarity", lambda *args: -similarity(*args)
    )
    assert off("forcing_kv") > 0.2


def test_wrong_triattention():
    assert off("triattention", slot_places=False) > 0.3
    assert off("triattention", statistics="measured") > 0.3
    assert off("triattention", shared_by_layers=True) > 0.3
    assert off("triattention", furthest=1) > 0.1


def test_mass_by_hand():
    """One head, d = 1, query 1: logits are the keys. Keys 0, 0, ln 2: weights 1/4, 1/4, 1/2. Query 0: 1/3 each."""
    keys = torch.tensor([[[0.0], [0.0], [np.log(2)]]])
    parts = slice(0, 1), slice(1, 3)
    assert head_mass(torch.ones(1, 1, 1), keys, parts) == pytest.approx(np.array([[1 / 4, 3 / 4]]))
    both = head_mass(torch.tensor([[[1.0], [0.0]]]), keys, parts)
    assert both == pytest.approx(np.array([[(1 / 4 + 1 / 3) / 2, (3 / 4 + 2 / 3) / 2]]))


def test_kinds_by_hand():
    """Sums over heads: first 1.0, middle 2.0. Shares (first, middle): (.5, .1), (.3, .3), (.1, .4), (.1, .2). The least
    maximum is .2, so the last is a dummy; of the others, the second has equal shares, which counts for the first."""
    mass = np.array([[[0.5, 0.2], [0.3, 0.6]], [[0.1, 0.8], [0.1, 0.4]]])
    assert kinds_by_mass(mass, 1).tolist() == [[FIRST, FIRST], [MIDDLE, DUMMY]]
    assert kinds_by_mass(mass, 0).tolist() == [[FIRST, FIRST], [MIDDLE, MIDDLE]]
    assert kinds_by_mass(mass, None).tolist() == [[FIRST, DUMMY], [MIDDLE, DUMMY]], "half of all heads"


def test_similarity_by_hand():
    """Two frames of 3 tokens, two heads of d = 1: a token is a vector of two. Cosines 1, 0, -1; runs of 1 and 2."""
    keys = torch.tensor([[[[1.0], [1], [1]], [[0], [0], [0]]], [[[2.0], [0], [-1]], [[0], [3], [0]]]])
    assert similarity(keys, [0, 1, 3]).tolist() == [[1.0, -0.5]]


@pytest.mark.parametrize("largest", [False, True])
def test_a_score_is_the_published_formula(tmp_path, largest):
    """Against the formula with cosines, pair by pair: split 2, 2, 2 over time, rows and columns; offsets 1, 2, 4."""
    draw = torch.Generator().manual_seed(0)
    real, imaginary, extra = (torch.randn(2, 2, 6, generator=draw) for _ in range(3))
    mean = torch.complex(real, imaginary)
    file = tmp_path / "statistics.safetensors"
    save_file({"q_mean_real": real, "q_mean_imag": imaginary, "q_abs_mean": mean.abs() + extra.abs()}, file)
    keys = torch.randn(2, 3, 12, generator=draw)
    frames = torch.tensor([[3, 9, 40], [5, 6, 7]])
    found = Candidates((50 - frames) * 2 + 1, keys, 2)
    got = KeyScores(SPEC, str(file), 7, largest=largest).score(0, 1, found, 50)
    key = pairs(keys)
    for head in range(2):
        for at in range(3):
            q, k, dt = mean[1, head], key[head, at], int(frames[head, at])
            phase = torch.angle(q * k.conj()).double()
            speed = torch.tensor([1.0, 10_000**-0.5, 0, 0, 0, 0], dtype=torch.float64)
            waves = [torch.cos(speed * (dt + further) + phase) for further in (1, 2, 4)]
            ahead = [(q.abs() * k.abs() * wave).sum() for wave in waves]
            due = (max(ahead) if largest else sum(ahead) / 3) + (extra[1, head].abs() * k.abs()).sum()
            assert float(got[head, at]) == pytest.approx(float(due), abs=1e-4)


@pytest.mark.parametrize("standardised", [False, True])
def test_scores_of_all_layers_by_hand(standardised):
    """Two layers give 1, 3 and 10, 50: as they are, 11 and 53 in all. With mean 2 and deviation 1, and 30 and 20, both
    become -1, 1. Equal scores, of deviation 0, become 0."""

    class Given(KeyScores):
        def own(self, row, layer, found, end):
            return torch.tensor([[[1.0, 3.0], [5.0, 5.0]], [[10.0, 50.0], [7.0, 7.0]]][layer])

    scores = Given(SPEC, "measured", 1, shared=True, standardised=standardised)
    scores.score(0, 0, None, 0)
    due = [[-2, 2], [0, 0]] if standardised else [[11, 53], [12, 12]]
    assert scores.score(0, 1, None, 0).tolist() == due


def attended_by_triattention(config, blocks):
    """Per block: the frames that are attended whole, and the single tokens [layer][head] as frame * T + place; and what
    had been chosen before, [layer] of arrays [h, n] of the same kind."""
    rollout = start(new_network(), config)
    for block in range(blocks):
        chosen = [None if t is None else t.frames * 2 + t.tokens for t in rollout.method.tokens[0]]
        groups = rollout.block(block).plan.groups[0]
        single = [None if g.tokens is None else g.tokens.frames * 2 + g.tokens.tokens for g in groups]
        assert len({tuple(at.frame for at in group.row) for group in groups}) == 1
        yield [at.frame for at in groups[0].row], single, chosen


@pytest.mark.parametrize(
    ("config", "whole", "stay"),
    [
        # budget 6: 1 + 2 + 3, which fits beside a block of 3 in 12.
        (TriAttention(), [0, *range(15, 21)], range(2)),
        # budget 10: 1 + 6 + 3 and a block are 13: one frame's worth leaves, the oldest tokens.
        (TriAttention(budget_frames=10), [0, *range(15, 21)], range(1, 6)),
        (TriAttention(budget_frames=11), [0, *range(15, 21)], range(2, 7)),
        # The sink has its place even so; the newest are fewer: 1 + 0 + 2.
        (TriAttention(budget_frames=3), [0, *range(16, 21)], range(0)),
        # 11: 1 + 1 + 9 and a block are 14: the one frame's worth leaves, and frame 9, the oldest of 9..17.
        (TriAttention(budget_frames=11, keep_last=9), [0, *range(10, 21)], range(0)),
        # Nothing but the sink is held whole.
        (TriAttention(keep_last=0), [0, *range(18, 21)], range(5)),
        # 3 + 3: the sink is chosen from.
        (TriAttention(protect_sink=False), [*range(15, 21)], range(3)),
        # 7 + 3 and a block are 13: the place of the sink stays, the one behind it leaves.
        (TriAttention(budget_frames=10, protect_sink=False), [*range(15, 21)], [0, *range(2, 7)]),
    ],
)
def test_what_triattention_attends_by_hand(config, whole, stay):
    """Block 6 (f = 18), two tokens a frame: `stay` counts frames' worth of the tokens that were chosen."""
    *_, (frames, single, chosen) = attended_by_triattention(config, 7)
    assert frames == whole
    kept = [part * 2 + token for part in stay for token in range(2)]
    for tokens, before in zip(single, chosen, strict=True):
        assert (tokens is None and not kept) or tokens.tolist() == before[:, kept].tolist()
    assert len(whole) + len(stay) == config.attended(Window(12, 1, 3), SPEC)


def test_frames_leave_before_the_first_choice():
    """W 13, budget 12, S 1: at f = 12 there are 12 frames, and 15 are 2 too many: frames 1 and 2."""
    frames, single, _ = [*attended_by_triattention(TriAttention(window=13, budget_frames=12), 5)][4]
    assert frames == [0, *range(3, 15)]
    assert single == [None, None]


def test_tokens_of_the_sink_are_chosen_from():
    """After block 2 there is room for 7 of frames 0 to 7: two tokens leave, and not all heads drop those of frame 0."""
    config = TriAttention(budget_frames=8, keep_last=1, protect_sink=False)
    *_, (frames, single, _) = attended_by_triattention(config, 4)
    assert frames == [*range(8, 12)]
    assert any(0 in tokens or 1 in tokens for tokens in single)


def table(layers, static, heads=2):
    rows = [
        {"layer_idx": i, "static_head": its, "dynamic_head": [h for h in range(heads) if h not in its]}
        for i, its in enumerate(static)
    ]
    return json.dumps({"num_layers": layers, "num_heads": heads, "layers": rows})


def test_a_table_of_heads(tmp_path):
    file = tmp_path / "heads.json"
    file.write_text(table(2, [[0], [1]]))
    static = read_table(str(file), SPEC)
    assert static == (frozenset({0}), frozenset({1}))
    assert list(kinds(static, SPEC)) == [(0, False, (0, 1)), (1, False, (1,)), (1, True, (0,))], "layer 0 is static"
    assert set(ForcingKV(table=str(file)).fingerprint()) == {"method.table"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not a table of heads"),
        ("[]", "is not a table of heads"),
        (table(3, [[0], [1], []]), "is of a network of 3 layers of 2 heads"),
        (table(2, [[0], [1]]).replace("[1]", "[0]"), "must name every head of every layer once"),
        (table(2, [[0]]), "must name every head of every layer once"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, reason):
    file = tmp_path / "heads.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        ForcingKV(table=str(file), runs=2).build(RolloutInfo(Window(5, 1, 3), 1, (0,), network=SPEC))


def test_a_frame_has_a_token_for_each_run():
    with pytest.raises(ConfigError, match="runs = 3: must be at most 2, the tokens of a frame"):
        ForcingKV(runs=3).build(RolloutInfo(Window(5, 1, 3), 1, (0,), network=SPEC))


def test_statistics_of_another_network_are_refused(tmp_path):
    file = tmp_path / "statistics.safetensors"
    save_file({"q_mean_real": torch.zeros(3, 2, 6)}, file)
    with pytest.raises(ConfigError, match=r"q_mean_real is \(3, 2, 6\); the backbone needs \(2, 2, 6\)"):
        TriAttention(statistics=str(file)).build(RolloutInfo(Window(12, 1, 3), 1, (0,), network=SPEC))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (DummyForcing(window=24), "window = 24: must be at most 21"),
        (
            ForcingKV(sink=2),
            r"window = 5: must be 6, the sum of sink 2, 1 \(the larger of spatial_ and temporal_frames\)",
        ),
        (ForcingKV(temporal_frames=3), r"window = 5: must be 7, the sum of sink 1, 3 "),
        (TriAttention(budget_frames=2, sink=3), "budget_frames = 2, window = 12: .* must be from 3 "),
        (TriAttention(budget_frames=12), "budget_frames = 12, window = 12: .* to window - 1, and window at most 21"),
        (TriAttention(window=22), "budget_frames = 6, window = 22"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, reason):
    with pytest.raises(ConfigError, match=reason):
        config.check(config.window_in(Window()), (16, 4, 6))


@pytest.mark.parametrize(
    "config",
    [
        DummyForcing(),
        ForcingKV(runs=2),
        TriAttention(),
        TriAttention(shared_by_layers=True),
        TriAttention(shared_by_layers=True, normalize=False, aggregation="max"),
        TriAttention(budget_frames=10, keep_last=0),
        TriAttention(budget_frames=11, protect_sink=False, slot_places=True),
    ],
)
def test_a_batch_has_the_bits_of_takes_alone_where_the_prompt_changes(config):
    network = new_network()
    both = latents(start(network, config, (1, 2), switches={6: TextSwitch(OTHER.expand(2, -1, -1))}), 9)
    for row in range(2):
        alone = latents(start(network, config, (1 + row,), switches={6: TextSwitch(OTHER)}), 9)
        assert both[row].equal(alone[0])
    assert not both.equal(latents(start(network, config, (1, 2)), 9))


def anew(network, frames):
    """Keys and values [frames, 2, L, T, h, d] of frames in one pass under the new text, all of which see each other."""
    window = Window(frames.shape[1], 1, frames.shape[1])
    method = Native().build(RolloutInfo(window, 1, (0,)))
    rollout = Rollout(network, FlowSchedule(), method, OTHER, Noise((1,)), keep_evicted=False)
    rollout.block(0, frames)
    return torch.stack([rollout.cache.frame(f)[:, :, 0] for f in range(frames.shape[1])])


def until(network, config, block):
    """A rollout whose prompt changes at `block`, as it is before that block; and the latents so far."""
    rollout = start(network, config, switches={block: TextSwitch(OTHER)})
    made = torch.cat([rollout.block(index).latents for index in range(block)], dim=1)
    before = {frame: entry.clone() for frame, entry in rollout.cache.live.items()}
    return rollout, made, before, rollout.prepare(block).plan


@pytest.mark.parametrize(
    ("config", "block", "again"), [(DummyForcing(), 6, 6), (DummyForcing(), 3, 0), (TriAttention(), 3, 0)]
)
def test_frames_are_computed_again_among_themselves(config, block, again):
    """Keys before rotation do not depend on where the frames are, but for rounding: the least difference to the keys of
    the old text is 100 times larger."""
    network = new_network()
    rollout, made, before, _ = until(network, config, block)
    due = anew(network, made[:, again:])
    for frame in range(again, 3 * block):
        entry = rollout.cache.frame(frame)[:, :, 0]
        assert float((entry - due[frame - again]).abs().max()) < 1e-5
        if frame in before:
            assert float((before[frame][:, :, 0] - entry).abs().max()) > 1e-3


def test_the_first_frame_of_dummy_forcing_moves():
    rollout, _, _, plan = until(new_network(), DummyForcing(), 6)
    assert (plan.rows[0][0].frame, plan.rows[0][0].reason) == (6, "sink")
    later = [rollout.block(index).plan.rows[0] for index in (6, 7)]
    assert [row[0].frame for row in later] == [6, 6]


def test_triattention_chooses_from_the_window_that_was_computed_again():
    """W 12, S 1 at frame 18: frame 0 and 7..17; whole are 0 and 15..17, and two frames' worth of tokens of 7..14."""
    rollout, _, before, plan = until(new_network(), TriAttention(), 6)
    assert [f for f, entry in sorted(before.items()) if not entry.equal(rollout.cache.live[f])] == [*range(7, 18)]
    for group in plan.groups[0]:
        assert [at.frame for at in group.row] == [0, *range(15, 21)]
        assert group.tokens.frames.shape == (2, 2 * SPEC.frame_tokens)
        assert {*group.tokens.frames.ravel().tolist()} <= {*range(7, 15)}
    rollout.block(6)
