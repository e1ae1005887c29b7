"""Attention shares: known masses, the order of the plan, and not a bit of the latents."""

import math

import pytest
import torch

from longtake.jobs.cli import execute
from longtake.platform.generation import attention_share
from longtake.platform.generation.attention_share import AttentionShares
from longtake.platform.generation.sampler import trace_row
from longtake.platform.methods.native import NativeRelative
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.random_memory import RandomMemory
from longtake.platform.models import rope
from longtake.platform.store.sweep import SweepStore
from tests.jobs import tiny
from tests.platform.rollouts import latents, new_network, start


@pytest.fixture(scope="module")
def network():
    return new_network()


def shares(query, keys, tokens, slots):
    measured = AttentionShares(tokens)
    measured.add(query, keys)
    return measured.in_order(slots)


def test_equal_keys_share_equally():
    found = shares(torch.randn(2, 3, 5, 4), torch.ones(2, 3, 4 * 6, 4), 6, [[0, 1, 2, 3], [3, 1, 0, 2]])
    assert torch.allclose(found, torch.full((2, 4), 0.25), atol=1e-6)


def test_known_mass_in_the_order_of_the_slots():
    """Two frames of two tokens, d = 4: scores are q.k / 2. Query (2 ln 3, 0, 0, 0), keys of frame 0 at 0, of frame 1
    at 1: exp(score) is 1, 1 and 3, 3, so frame 1 has 6/8. The second head's keys are all equal: 1/2. Mean 5/8."""
    query = torch.tensor([2 * math.log(3), 0, 0, 0]).expand(1, 2, 1, 4)
    keys = torch.zeros(1, 2, 4, 4)
    keys[0, 0, 2:, 0] = 1
    assert shares(query, keys, 2, [[0, 1]])[0].tolist() == pytest.approx([3 / 8, 5 / 8])
    assert shares(query, keys, 2, [[1, 0]])[0].tolist() == pytest.approx([5 / 8, 3 / 8])


def test_layers_are_averaged():
    measured = AttentionShares(1)
    for key in (0.0, math.log(3)):
        measured.add(torch.ones(1, 1, 1, 1), torch.tensor([0.0, key]).view(1, 1, 2, 1))
    assert measured.in_order([[0, 1]])[0].tolist() == pytest.approx([(1 / 2 + 1 / 4) / 2, (1 / 2 + 3 / 4) / 2])


def test_a_few_queries_at_a_time_give_the_same(monkeypatch):
    query, keys = torch.randn(1, 2, 7, 4), torch.randn(1, 2, 6, 4)
    whole = shares(query, keys, 2, [[0, 1, 2]])
    monkeypatch.setattr(attention_share, "SCORES", 2 * 6 * 3)
    assert torch.allclose(shares(query, keys, 2, [[0, 1, 2]]), whole, atol=1e-6)


class Recorder:
    """Every query and key that one rollout's attention is given, before rotation, pass by pass."""

    def __init__(self, rollout):
        self.attend, self.rollout = rollout.context.attend, rollout
        self.passes, self.committed = [], {}
        rollout.context.attend = self

    def __call__(self, layer, query, key, value):
        if layer == 0:
            self.passes.append([])
        self.passes[-1].append((query, key))
        return self.attend(layer, query, key, value)

    def finish(self, block):
        """The block's passes; what its commit pass, the last one, wrote is kept."""
        passes, self.passes = self.passes, []
        for layer, (_, key) in enumerate(passes[-1]):
            for i, frame in enumerate(key.split(self.rollout.context.tokens, dim=1)):
                self.committed[layer, block.first + i] = frame
        return passes


def by_hand(recorder, block, one_pass):
    """The shares of a block, from its plan: every entry's keys rotated anew and laid out in the order of the plan."""
    context, size, masses = recorder.rollout.context, len(block.plan.query_times), []
    for layer, (query, key) in enumerate(one_pass):
        for b, row in enumerate(block.plan.rows):
            own = key[b].split(context.tokens)
            frames = [recorder.committed[layer, at.frame][b] for at in row[:-size]] + list(own)
            turns = [context.rotation_at(at.time, 0) for at in row]
            keys = torch.cat([rope.rotate(k, turn) for k, turn in zip(frames, turns, strict=True)]).double()
            turned = rope.rotate(query[b], torch.cat(turns[-size:])).double()
            scores = torch.einsum("nhd,mhd->hnm", turned, keys) / turned.shape[-1] ** 0.5
            masses.append(scores.softmax(-1).mean((0, 1)).unflatten(0, (len(row), -1)).sum(1))
    return torch.stack(masses).unflatten(0, (len(one_pass), -1)).mean(0)


def test_shares_are_those_of_the_plan_in_its_order(network):
    """Two rows that retrieve different frames, after a given start. The pass: of given blocks the commit pass, which is
    the last one, else the one before it. 1e-5: float32 against float64."""
    prefix = latents(start(network, Rag(), seeds=(1, 2)), 2)
    rollout = start(network, Rag(), seeds=(1, 2), attention_shares=True, keep_flow=True)
    recorder = Recorder(rollout)
    for block in rollout.blocks(12, prefix):
        passes = recorder.finish(block)
        assert len(passes) == (1 if block.given else len(rollout.passes) + 1)
        expected = by_hand(recorder, block, passes[-1] if block.given else passes[-2])
        assert (block.attention - expected).abs().max() < 1e-5
        assert trace_row(block, 1)["attention"] == block.attention[1].tolist()
    assert [at.frame for at in block.plan.rows[0]] != [at.frame for at in block.plan.rows[1]]
    slots = rollout.context.slots()
    assert slots[0] != sorted(slots[0]), "the buffer's order is another, or this test shows nothing"


@pytest.mark.parametrize(
    "config", [Rag(), NativeRelative(), RandomMemory(bank_frames=11)], ids=lambda c: type(c).__name__
)
def test_no_bit_changes_and_shares_sum_to_one(network, config):
    measured = start(network, config, seeds=(1, 2), attention_shares=True)
    blocks = list(measured.blocks(12))
    assert torch.equal(torch.cat([b.latents for b in blocks], 1), latents(start(network, config, seeds=(1, 2)), 12))
    for block in blocks:
        assert block.attention.shape == (2, len(block.plan.rows[0]))
        assert (block.attention.sum(1) - 1).abs().max() < 1e-5


def test_rows_equal_single_takes(network):
    together = list(start(network, Rag(), seeds=(1, 2), attention_shares=True).blocks(10))
    for row, seed in enumerate((1, 2)):
        for block, alone in zip(
            together, start(network, Rag(), seeds=(seed,), attention_shares=True).blocks(10), strict=True
        ):
            assert torch.equal(block.attention[row], alone.attention[0])


def test_off_is_none_and_has_no_key(network):
    block = next(start(network, Rag()).blocks(1))
    assert block.attention is None
    assert "attention" not in trace_row(block)


@pytest.mark.slow
def test_a_sweep_writes_them_and_makes_the_same_videos(tmp_path):
    made = []
    for told in ("false", "true"):
        (tmp_path / told).mkdir()
        file = tiny.write_sweep(tmp_path / told)
        assert execute(["run", str(file), "lengths_s=[6]", "prefix_s=0.5", f"workers.attention_shares={told}"]) == 0
        made.append(SweepStore(tmp_path / told / "runs", "small"))
    plain, measured = made
    for take in measured.plan():
        assert measured.result(take.id).video_sha256 == plain.result(take.id).video_sha256
        rows = measured.trace(take.id)
        assert [{k: v for k, v in row.items() if k != "attention"} for row in rows] == plain.trace(take.id)
        assert any(row["given"] for row in rows)
        for row in rows:
            assert len(row["attention"]) == len(row["attended"])
            assert sum(row["attention"]) == pytest.approx(1, abs=1e-5)
