"""Pyramid Forcing's tables by hand, its merged groups, its kinds of heads, and its rollouts."""

import numpy as np
import pytest
import torch

from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import TextSwitch
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.interface.hooks import Seen
from longtake.platform.methods.parts.heads.waves import ANCHOR, VEIL, WAVE, kinds_by_wave, read_kinds, wave_and_level
from longtake.platform.methods.parts.tokens.merged_tokens import MergedGroups, merged
from longtake.platform.methods.pyramid_forcing import PyramidForcing
from longtake.platform.models.rope import frame_rotation, rotate
from longtake.platform.models.spec import DiTSpec
from tests.platform.rollouts import SPEC, latents, new_network, start

OTHER = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(99))
GRID = DiTSpec(
    dim=24, ffn_dim=32, heads=2, layers=1, channels=3, latent_height=6, latent_width=10, text_len=4, text_dim=5
)
"""3 rows of 5 tokens."""


@pytest.fixture
def table(tmp_path):
    """Layer 0: a wave and an anchor. Layer 1: a veil and an anchor."""
    file = tmp_path / "heads.csv"
    file.write_text("-1,1\n2,1\n")
    return str(file)


def planned(table, block):
    """By kind, [(frame or name, time index)] beside the new frames."""
    config = PyramidForcing(table=table)
    plan = config.build(RolloutInfo(config.window_in(Window()), 1, (0,), network=SPEC)).plan(3 * block)
    assert plan.query_times == (3 * block, 3 * block + 1, 3 * block + 2)
    rows = {}
    for group in plan.groups[0]:
        assert [(at.frame, at.time) for at in group.row[-3:]] == [(3 * block + i, 3 * block + i) for i in range(3)]
        for head in group.heads:
            kind = {(0, 0): WAVE, (0, 1): ANCHOR, (1, 0): VEIL, (1, 1): ANCHOR}[group.layers[0], head]
            rows[kind] = [(at.entry or at.frame, at.time) for at in group.row[:-3]]
    return rows[WAVE], rows[ANCHOR], rows[VEIL]


def at(time, *frames):
    return [(frame, time) for frame in frames]


@pytest.mark.parametrize(
    ("block", "wave", "anchor", "veil"),
    [
        (0, [], [], []),
        # The newest four are 2 .. 5; 0, 1, 2 are the sink of anchors and veils, 0 that of waves.
        (1, [(0, 0), (2, 2)], at(0, 0, 1, 2), at(0, 0, 1, 2)),
        # Frame 7 asks, of phase 1: frame 1, which is older than 7 - 3. Group 0..3 has j = 0; 4..7 is not complete.
        (2, [*at(0, 0, 1), (5, 5)], [*at(0, 0, 1, 2), (5, 5)], [*at(0, 0, 1, 2), (5, 5)]),
        # Frame 13 asks: 7 and 1 are of its phase; 6 of phase 0. Group 8..11 does not end before 13 - 3.
        (4, [*at(0, 0, 1, 7), (11, 11)], [*at(0, 0, 1, 2, 6), (11, 11)], [*at(0, 0, 1, 2), ("4-7", 5), (11, 11)]),
        # Frame 19 asks: 13, 7, 1; 12, 6; groups that end before 16.
        (
            6,
            [*at(0, 0, 1, 7, 13), (17, 17)],
            [*at(0, 0, 1, 2, 6, 12), (17, 17)],
            [*at(0, 0, 1, 2), ("4-7", 5), ("8-11", 9), ("12-15", 13), (17, 17)],
        ),
        # Frame 61 asks, 61 - 21 = 40: 55, 49, 43, 37; 54, 48, 42, 36. Of the last four complete groups, up to 56..59,
        # that one does not end before 58.
        (
            20,
            [*at(40, 0, 37, 43, 49, 55), (59, 59)],
            [*at(40, 0, 1, 2, 36, 42, 48, 54), (59, 59)],
            [*at(40, 0, 1, 2), ("44-47", 45), ("48-51", 49), ("52-55", 53), (59, 59)],
        ),
    ],
)
def test_by_hand(table, block, wave, anchor, veil):
    assert planned(table, block) == (wave, anchor, veil)


def test_block_21_attends_four_groups(table):
    """Frame 64 asks; the newest four are 62 .. 65, and 60 is older than 64 - 3."""
    wave, anchor, veil = planned(table, 21)
    assert wave == [*at(43, 0, 40, 46, 52, 58), (62, 62)]
    assert anchor == [*at(43, 0, 1, 2, 42, 48, 54, 60), (62, 62)]
    assert veil[3:] == [("44-47", 45), ("48-51", 49), ("52-55", 53), ("56-59", 57), (62, 62)]


def test_what_is_attended():
    """Waves 1 + 4 + 4 frames, anchors 3 + 4 + 4, veils 3 + 4 and on average 3.5 groups, of T/4 tokens (30 x 52): 7.875.
    156, 172 and 32 of 360 heads; of 4 heads, 2, 2 and 0."""
    wan = DiTSpec(
        dim=1536,
        ffn_dim=8960,
        heads=12,
        layers=30,
        channels=16,
        latent_height=60,
        latent_width=104,
        text_len=512,
        text_dim=4096,
    )
    window = PyramidForcing().window_in(Window())
    assert PyramidForcing().attended(window, wan) == pytest.approx((156 * 9 + 172 * 11 + 32 * 7.875) / 360)
    assert PyramidForcing().attended(window, SPEC) == pytest.approx((2 * 9 + 2 * 11) / 4)


def test_what_a_table_attends(table):
    """Here a frame is one row, so a group is half of it: veils attend 3 + 4 + 3.5 / 2."""
    window = PyramidForcing().window_in(Window())
    assert PyramidForcing(table=table).attended(window, SPEC) == pytest.approx((9 + 2 * 11 + 8.75) / 4)


def test_a_merged_token_is_the_mean_of_its_square_at_its_first_place():
    """3 rows of 5 tokens: 2 x 3 squares, those at the right and lower edge cut. Rotated to the first six places of a
    frame at some time index and column, as the engine does, the keys are the means rotated to rows 0, 2 and columns
    0, 2, 4."""
    draw = torch.Generator().manual_seed(0)
    frames = [torch.randn(2, 1, 2, 15, 2, 12, generator=draw) for _ in range(4)]
    entry = merged(frames, GRID, 2)
    assert entry.shape == (2, 1, 2, 6, 2, 12)
    mean = torch.stack(frames).mean(0).unflatten(3, (3, 5))
    squares = [mean[:, :, :, r : r + 2, c : c + 2].mean(dim=(3, 4)) for r in (0, 2) for c in (0, 2, 4)]
    due = torch.stack(squares, dim=3)
    assert torch.allclose(entry[1], due[1], atol=1e-6)
    turn = frame_rotation(9, 3, 5, 7, GRID.split, GRID.rope_theta)
    first_places = turn.unflatten(0, (3, 5))[::2, ::2].flatten(0, 1)
    assert torch.allclose(rotate(entry[0], turn[:6]), rotate(due[0], first_places), atol=1e-5)
    assert not torch.allclose(entry[0], due[0], atol=0.1)
    assert all(merged([f[:, :, b : b + 1] for f in frames], GRID, 2).equal(entry[:, :, b : b + 1]) for b in range(2))


def test_a_group_of_one_row_is_half_a_frame():
    entry = MergedGroups(SPEC, 2, 4).entry(8)
    assert (entry.entry, entry.frame, entry.time, entry.part) == ("8-11", 9, 9, 0.5)
    assert MergedGroups(GRID, 2, 4).entry(8).part == 6 / 15


def test_waves_by_hand():
    """Of 15 frames the newest 4 do not count, and of the others the oldest 5, for whole periods of 6. Logits, heads of
    d = 1: cos(2 pi g / 6) + 1 is all wave, at 1; a sign that alternates has no wave of 6, at 0; half of the power of
    both together is in the wave. Each frame has two tokens, whose keys differ by what their mean does not show."""
    g = torch.arange(15.0)
    wave, sign = torch.cos(2 * np.pi * g / 6), (-1.0) ** g
    keys = torch.stack([wave + 1, sign, wave / wave[3:9].std() + sign / sign[3:9].std() - 2])
    keys = torch.stack([keys + 5, keys - 5], dim=2).flatten(1)[..., None]
    query = torch.tensor([9.0, 9, 0, 2, 9, 9])[None, :, None].expand(3, -1, -1)
    seen = Seen(12, range(12, 15), 0, 0, (0, 1, 2), frozenset(), query, query, keys, keys, keys, (), None, None, None)
    assert wave_and_level(seen, 2, 4, 6) == pytest.approx(np.array([[1, 1], [0, 0], [0.5, -2]]), abs=1e-5)


def test_kinds_by_hand():
    """Of 12 heads, 5.2 are waves, those with the most wave; 1.07 a veil, the lowest of the others."""
    measured = np.stack([np.linspace(0, 1, 12), [3, 1, -2, 4, 5, 0, 7, -9, -9, -9, -9, -9]], axis=1).reshape(3, 4, 2)
    assert kinds_by_wave(measured).tolist() == [[1, 1, 2, 1], [1, 1, 1, -1], [-1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1,1\n2", "has 2 lines of 1 or 2 numbers; the backbone has 2 layers of 2 heads"),
        ("-1,1\n", "has 1 lines of 2 numbers"),
        ("", "has 0 lines of 0 numbers"),
        ("-1,1\n2,3\n", r"holds 3; must be -1 \(wave\), 1 \(anchor\) or 2 \(veil\)"),
        ("wave,1\n2,1\n", "is not a CSV of -1, 1 and 2"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, reason):
    file = tmp_path / "heads.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_kinds(str(file), SPEC)


def test_a_table_is_part_of_a_take(table):
    assert set(PyramidForcing(table=table).fingerprint()) == {"method.table"}
    assert PyramidForcing().fingerprint() == {}
    with pytest.raises(ConfigError, match="name a CSV file of heads, or set measured"):
        PyramidForcing(table="nowhere.csv").fingerprint()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PyramidForcing(window=24), "window = 24: must be from 6 to 21"),
        (PyramidForcing(wave_sink=4), "wave_sink = 4: must be from 1 to 3"),
        (PyramidForcing(measure_block=4), "measure_block = 4: must be 5 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, reason):
    with pytest.raises(ConfigError, match=reason):
        config.check(config.window_in(Window()), (16, 4, 6))


def test_heads_are_measured_once_and_then_attend_by_kind():
    """4 heads: 2 waves, 2 anchors, no veil. To block 6 every frame; then 9 and 11 frames of cached ones."""
    rollout = start(new_network(), PyramidForcing())
    for block in range(12):
        plan = rollout.block(block).plan
        rows = [[entry.frame for entry in group.row] for group in plan.groups[0]]
        assert (rows == [[*range(3 * block + 3)]] * 2) == (block <= 6)
    (kinds,) = rollout.method.kinds.of
    assert sorted(kinds.ravel().tolist()) == [WAVE, WAVE, ANCHOR, ANCHOR]
    assert sorted({len(row) for row in rows}) == [9, 11]
    assert sorted(name for name, _ in rollout.cache.made) == ["20-23", "24-27", "28-31", "32-35"]


@pytest.mark.parametrize("given", [True, False])
def test_a_batch_has_the_bits_of_takes_alone_where_the_prompt_changes(table, given):
    """A change of the prompt computes nothing again; with veils from a table, and measured."""
    config, network = PyramidForcing(table=table) if given else PyramidForcing(), new_network()
    both = latents(start(network, config, (1, 2), switches={8: TextSwitch(OTHER.expand(2, -1, -1))}), 11)
    for row in range(2):
        alone = latents(start(network, config, (1 + row,), switches={8: TextSwitch(OTHER)}), 11)
        assert both[row].equal(alone[0])
    plain = latents(start(network, config, (1, 2)), 11)
    assert both[:, :24].equal(plain[:, :24])
    assert not both.equal(plain)


def test_veils_attend_the_merged_keys(table):
    """The engine holds for a veil the key and value of the group, as derived."""
    rollout = start(new_network(), PyramidForcing(table=table))
    for block in range(5):
        rollout.block(block)
    frames = [rollout.cache.frame(frame) for frame in (9, 10, 11)]
    assert len(frames) == 3, "the frames of a group stay until it is complete"
    (veil,) = [state for state in rollout.context.states[0][1] if state.group.heads == (0,)]
    assert veil.keys[0, veil.spans["4-7", 5]].equal(rollout.cache.derived(("4-7", 5))[0, 1, 0, :, 0])
