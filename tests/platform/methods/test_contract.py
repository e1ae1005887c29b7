"""What every registered method owes the engine, and the published layouts by hand."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from longtake.jobs.certify.methods import METHOD_CHECKS, MethodSubject
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import FrameSize, RolloutInfo, Window, methods
from longtake.platform.methods.coverage import Coverage
from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.oracle import Oracle
from longtake.platform.methods.parts.descriptors import DescriptorTable, most_redundant, unit_length
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.random_memory import RandomMemory
from longtake.platform.settings.config import build

BLOCKS = 40
CAMERA = np.stack([np.arange(3 * BLOCKS), -np.arange(3 * BLOCKS)])


def latents_of(row, first):
    return torch.randn(1, 3, 5, 1, 8, generator=torch.Generator().manual_seed(1000 * row + first))


def run(config, rows=2, window=None, only=None, forgotten=None):
    """Plans of a rollout over random latents; what each block forgets is added to `forgotten`."""
    window = window or config.window_in(Window())
    chosen = range(rows) if only is None else [only]
    seeds, camera = tuple(11 + row for row in chosen), CAMERA[list(chosen)]
    method = config.build(RolloutInfo(window, len(seeds), seeds, camera, 8, (96,) * len(seeds)))
    plans = []
    for first in range(0, 3 * BLOCKS, 3):
        plans.append(method.plan(first))
        assert method.plan(first) == plans[-1], "planning twice gives the same plan"
        gone = method.forget(first)
        if forgotten is not None:
            forgotten.append(gone)
        method.observe(first, torch.cat([latents_of(row, first) for row in chosen]))
    return plans


def frames_and_times(row):
    return [(at.frame, at.time, at.reason) for at in row]


@cache
def subject(name):
    return MethodSubject(name)


@pytest.mark.slow
@pytest.mark.parametrize("check", METHOD_CHECKS)
@pytest.mark.parametrize("name", methods.names())
def test_every_method_passes_what_certify_checks(name, check):
    assert METHOD_CHECKS[check](subject(name))


@pytest.mark.parametrize(
    "config", [Rag(), Rag(select="neighbours", duplicate=0.9), Coverage(), RandomMemory(), Oracle()]
)
class TestEveryMemory:
    def test_dead_zone_and_budget(self, config):
        """W 12, S 1, K 6, R 5: block 6 has 1 candidate, block 7 has 4, block 8 has 7 and so a full memory."""
        plans = run(config)
        retrieved = [[at.frame for at in plan.rows[0] if at.reason == "retrieved"] for plan in plans]
        assert [len(frames) for frames in retrieved[:10]] == [0, 0, 0, 0, 0, 0, 1, 4, 6, 6]
        for k, frames in enumerate(retrieved):
            assert all(1 <= frame <= 3 * k - 17 for frame in frames)

    def test_layout(self, config):
        """Sink at 0, memory all at 0, two past and three new frames at slots 7 to 11."""
        row = run(config)[20].rows[0]
        assert [at.time for at in row] == [0, *[0] * 6, 7, 8, 9, 10, 11]
        assert [at.frame for at in row[-5:]] == [58, 59, 60, 61, 62]

    def test_without_memory_it_is_the_relative_window(self, config):
        plans = run(replace(config, top_k=0))
        assert [p.rows for p in plans] == [p.rows for p in run(NativeRelative())]

    def test_too_large_a_memory_is_refused(self, config):
        with pytest.raises(ConfigError, match="top_k = 9: must be at most 8"):
            replace(config, top_k=9).check(Window(), (5, 1, 8))


@pytest.mark.parametrize(
    "config",
    [Rag(bank_frames=20), Coverage(bank_frames=12), RandomMemory(bank_frames=11), Oracle(bank_frames=14)],
)
class TestEveryMemoryWithABudget:
    def test_the_bank_holds_no_more_and_nothing_forgotten_comes_back(self, config):
        forgotten = []
        plans = run(config, forgotten=forgotten)
        for row in range(2):
            held = set()
            for k, plan in enumerate(plans):
                retrieved = {at.frame for at in plan.rows[row] if at.reason == "retrieved"}
                assert retrieved <= held, "what the bank held when the block began"
                assert len(retrieved) == min(6, max(0, len(Window().evicted(3 * k)) - 5)), "a full memory all the same"
                held |= set(Window().evicted(3 * k + 3)) - set(Window().evicted(3 * k))
                assert held >= set(forgotten[k][row]), "nothing is forgotten twice, and never a sink or live frame"
                held -= set(forgotten[k][row])
                assert len(held) == min(len(Window().evicted(3 * k + 3)), config.bank_frames)

    def test_rows_do_not_depend_on_the_batch(self, config):
        together, alone = [], []
        plans, one = run(config, forgotten=together), run(config, only=1, forgotten=alone)
        assert [gone[1] for gone in together] == [gone[0] for gone in alone]
        assert [frames_and_times(p.rows[1]) for p in plans] == [frames_and_times(p.rows[0]) for p in one]

    def test_without_a_budget_nothing_is_forgotten(self, config):
        forgotten = []
        run(replace(config, bank_frames=None), forgotten=forgotten)
        assert forgotten == [[[], []]] * BLOCKS


def test_which_frame_is_forgotten_by_hand():
    """W 5, S 1: while the block of frames 6, 7, 8 is made, frames 1..4 have left the window; 3 may stay.

    Mean similarity to the neighbours: of a a b a (frames 1..4) 1, .5, 0, 0, so 1 goes. Then of a b a a c c (2..7)
    0, 0, .5, .5, .5, 1, so 7 goes; of a b a a c 0, 0, .5, .5, 0, so 4, the older of equals; of a b a c all are 0, so 2.
    """
    colours = dict(enumerate("xaabaaccxxxx"))
    method = Rag(top_k=1, recency_guard=0, bank_frames=3).build(RolloutInfo(Window(5, 1, 3), 1, (0,)))
    gone = []
    for first in range(0, 12, 3):
        gone.append(method.forget(first))
        frames = torch.stack([torch.eye(4)["abcx".index(colours[f])] for f in range(first, first + 3)])
        method.observe(first, frames[None, :, :, None, None])
    assert gone == [[[]], [[]], [[1]], [[7, 4, 2]]]
    assert method.eligible(0, 12) == [3, 5, 6]


@pytest.mark.parametrize(
    ("vectors", "index"),
    [([[1, 0], [1, 0]], 0), ([[1, 0], [0, 1], [0, 2]], 2), ([[0, 0], [1, 0], [3, 0], [0, 1]], 1), ([[1, 0]] * 3, 0)],
)
def test_most_redundant(vectors, index):
    """Both of two are equals; at an end the only neighbour counts, and nothing is similar to zero."""
    assert most_redundant(unit_length(torch.tensor(vectors, dtype=torch.float32))) == index


@pytest.mark.parametrize(
    ("dtype", "compute_bytes", "frames"),
    [(None, 2, 37), ("bf16", 2, 37), ("fp8", 2, 74), ("float32", 2, 18), (None, 4, 18)],
)
def test_a_budget_in_gib(dtype, compute_bytes, frames):
    """Wan 1.3B: 2 x 30 layers x 1560 tokens x 1536 = 143,769,600 numbers a frame; 10 GiB hold 74.7 of them in bytes."""
    assert Rag(bank_gib=10, bank_dtype=dtype).budget(FrameSize(143_769_600, compute_bytes, 720)) == frames


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"bank_frames": 10}, r"bank_frames = 10: holds 10 frames, needs at least 11 \(top_k 6 \+ recency_guard 5\)"),
        ({"bank_frames": 0, "top_k": 0, "recency_guard": 0}, "bank_frames = 0: holds 0 frames, needs at least 1 "),
        ({"bank_frames": -1}, "bank_frames = -1"),
        ({"bank_frames": 2.5}, "bank_frames"),
        ({"bank_frames": 100, "bank_gib": 1.0}, "bank_frames and bank_gib are both set"),
        ({"bank_gib": 0.0}, "bank_gib = 0.0: must be"),
        ({"bank_gib": -1.0}, "bank_gib = -1.0: must be"),
        ({"bank_gib": float("nan")}, "bank_gib: nan is not a finite number"),
        ({"bank_gib": float("inf")}, "bank_gib: inf is not a finite number"),
        ({"bank_dtype": "fp16"}, "bank_dtype = 'fp16': must be float32, bf16, fp8"),
        ({"bank_dtype": ""}, "bank_dtype = '': must be float32, bf16, fp8"),
    ],
)
@pytest.mark.parametrize("name", ["rag", "random-memory", "oracle-memory"])
def test_a_bank_that_cannot_be_is_refused(name, parameters, reason):
    with pytest.raises(ConfigError, match=reason):
        build(methods.get(name), parameters, f"method {name}")


def test_a_budget_in_gib_that_holds_too_little_is_refused():
    with pytest.raises(ConfigError, match=r"bank_gib = 1: holds 3 frames, needs at least 11"):
        Rag(bank_gib=1).budget(FrameSize(143_769_600, 2))


def test_native_has_no_bank_to_bound():
    with pytest.raises(ConfigError, match="bank_frames"):
        build(Native, {"bank_frames": 20}, "method native")


def test_native_by_hand():
    """Block 5 (frames 15, 16, 17): sink 0 and the last 11 frames 7..17, at their own indices."""
    row = run(Native())[5].rows[0]
    assert [at.frame for at in row] == [0, *range(7, 18)] == [at.time for at in row]


def test_native_goes_on_past_frame_1024():
    method = Native().build(RolloutInfo(Window(), 1, (0,)))
    assert method.plan(1500).query_times == (1500, 1501, 1502)


def test_window_that_is_no_multiple_of_the_block():
    """W 10, S 2: with 12 frames made, frames 2 and 3 are gone; 0, 1 and the last 8 are live."""
    window = Window(10, 2, 3)
    assert window.live(12) == [0, 1, *range(4, 12)]
    assert list(window.evicted(12)) == [2, 3]


def test_rag_takes_the_most_similar_first_and_the_older_of_equals():
    """Latents are one-hot 'colours' a, b, c by frame: the query (frame 26) is a; a-frames come first, oldest first."""
    colours = torch.eye(3)
    method = Rag(top_k=4, recency_guard=0).build(RolloutInfo(Window(), 1, (0,)))
    which = [(f // 3) % 3 for f in range(27)]
    which[26] = 0
    for first in range(0, 27, 3):
        frames = torch.stack([colours[which[f]] for f in range(first, first + 3)])
        method.observe(first, frames[None, :, :, None, None])
    chosen = [at for at in method.plan(27).rows[0] if at.reason == "retrieved"]
    assert [at.frame for at in chosen] == [1, 2, 9, 10]
    assert [at.similarity for at in chosen] == pytest.approx([1, 1, 1, 1])


def test_a_table_keeps_descriptors_as_they_are_and_at_length_1():
    """In parts of any size, also when the table grows; zeros stay zeros."""
    vectors, table = torch.randn(2, 50, 7), DescriptorTable()
    vectors[1, 20] = 0
    for part in vectors.split([1, 3, 3, 20, 23], dim=1):
        table.append(part)
    assert torch.equal(table.all, vectors)
    assert torch.equal(table.unit, unit_length(vectors))
    assert table.unit[1, 20].tolist() == [0.0] * 7


def test_random_memory_depends_on_seed_and_block_alone():
    first, second = (run(RandomMemory(), rows=2)[30].rows for _ in range(2))
    assert first == second
    assert {at.frame for at in first[0]} != {at.frame for at in first[1]}


def test_oracle_covers_what_comes_next():
    """The camera pans right to column 29 and back; block 48 (camera 10, 9, 8) shows columns 8..17."""
    camera = np.concatenate([np.arange(30), np.arange(28, -34, -1)])[None]
    method = Oracle().build(RolloutInfo(Window(), 1, (0,), camera, 8, (96,)))
    first = 48  # camera columns 10, 9, 8: the block shows columns 8..17
    chosen = [at.frame for at in method.plan(first).rows[0] if at.reason == "retrieved"]
    shown = set().union(*(range(camera[0, f], camera[0, f] + 8) for f in chosen))
    assert set(range(8, 18)) <= shown
    assert chosen[0] == 8, "frame 8 shows columns 8..15, the most of any; the earliest of equals"


def test_oracle_leaves_out_what_looks_otherwise_now():
    """The camera looks at column 0 alone, which is place 0 in frames 0 to 11 and place 1 since then."""
    camera = np.zeros((1, 60), dtype=np.int64)
    places = np.where(np.arange(60) < 12, 0, 1)[None, :, None]
    method = Oracle(recency_guard=0).build(RolloutInfo(Window(), 1, (0,), camera, 1, (96,), places=places))
    for first in range(0, 36, 3):
        method.observe(first, torch.zeros(1, 3, 1, 1, 1))
    retrieved = [at.frame for at in method.plan(36).rows[0] if at.reason == "retrieved"]
    assert retrieved == [12, 13, 14, 15, 16, 17]
    assert "retrieved" not in {at.reason for at in method.plan(18).rows[0]}


def test_oracle_needs_a_camera():
    with pytest.raises(ConfigError, match="known camera"):
        Oracle().build(RolloutInfo(Window(), 1, (0,)))


def test_negative_numbers_are_refused():
    with pytest.raises(ConfigError, match="recency_guard = -1"):
        Rag(recency_guard=-1)
