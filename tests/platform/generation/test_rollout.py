"""The engine against golden cases, and the laws that hold for any network."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from longtake.jobs.golden.case import case_files
from longtake.jobs.golden.engine import build_rollout
from longtake.jobs.verify import verify, verify_case
from longtake.platform.checkpoints.files import load_safetensors, read_json
from longtake.platform.errors import ConfigError
from longtake.platform.generation.bank.disk import StagedDiskTier
from longtake.platform.generation.bank.pages import NoPinning
from longtake.platform.generation.bank.pinned import PinnedTier
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.context import ContextBuffer
from longtake.platform.generation.rollout import TextSwitch
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import GIB, BankCapacity
from longtake.platform.methods.base import Window, methods
from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.random_memory import RandomMemory
from tests.platform.generation.bank.lagging_stream import streams_beside_the_host
from tests.platform.rollouts import ENTRY_VALUES, SPEC, latents, new_network, start

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def network():
    return new_network()


@pytest.mark.parametrize("case", [*case_files(GOLDEN), *case_files(GOLDEN / "derived")], ids=lambda path: path.stem)
def test_golden(case):
    verdict = verify_case(case)
    assert verdict.passed, verdict


def test_golden_rows_run_alone():
    """Case 4 is two takes in one batch; each alone gives its row and chooses its frames."""
    path = GOLDEN / "case4_latentmem_batch2.json"
    facts, tensors = read_json(path), load_safetensors(path.with_suffix(".safetensors"))
    for row in range(2):
        one = slice(row, row + 1)
        alone = {**tensors, "noise": tensors["noise"][one], "renoise": tensors["renoise"][:, :, one]}
        alone["prompt_embeds"] = tensors["prompt_embeds"][one]
        rollout = build_rollout(path, {**facts, "batch": 1}, alone)
        blocks = list(rollout.blocks(len(facts["blocks"])))
        out = torch.cat([block.latents for block in blocks], dim=1)
        assert (out - tensors["output"][one]).abs().max() < 5e-5
        for block, golden in zip(blocks, facts["blocks"], strict=True):
            assert [[at.frame, at.time] for at in block.plan.rows[0]] == golden["attended"][row]


def config_of(name):
    """A frame of this network has two tokens, which are the most runs that forcing-kv can cut it into."""
    return methods.get(name)(**({"runs": SPEC.frame_tokens} if name == "forcing-kv" else {}))


@pytest.mark.parametrize("name", [n for n in methods.names() if n != "oracle-memory"])
def test_batch_changes_nothing(network, name):
    together = latents(start(network, config_of(name), seeds=(1, 2, 3)), 10)
    for row, seed in enumerate((1, 2, 3)):
        alone = latents(start(network, config_of(name), seeds=(seed,)), 10)
        assert (together[row] - alone[0]).abs().max() < 1e-5


@pytest.mark.parametrize("name", [n for n in methods.names() if n != "oracle-memory"])
def test_same_inputs_same_bits(network, name):
    assert torch.equal(*(latents(start(network, config_of(name)), 8) for _ in range(2)))


@pytest.mark.parametrize("name", [n for n in methods.names() if n != "oracle-memory"])
def test_a_prompt_that_changes_at_block_0_is_the_prompt(network, name):
    """No method computes anything again: there are no frames."""
    other = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(99))
    rollout = start(network, config_of(name))
    with torch.inference_mode():
        rollout.text = network.text_kv(other)
    switched = start(network, config_of(name), switches={0: TextSwitch(other, cut=True)})
    assert torch.equal(latents(switched, 3), latents(rollout, 3))


def test_longer_begins_like_shorter(network):
    assert torch.equal(latents(start(network, Rag()), 12)[:, :21], latents(start(network, Rag()), 7))


def test_given_start_is_kept_and_goes_on_the_same(network):
    """A rollout given its own first blocks makes the very same next ones: given K/V are committed alike."""
    whole = latents(start(network, Rag()), 12)
    again = latents(start(network, Rag()), 12, prefix=whole[:, :15])
    assert torch.equal(whole[:, :15], again[:, :15])
    assert torch.equal(whole, again)


def test_given_start_changes_what_follows(network):
    whole, other = latents(start(network, Native()), 6), torch.zeros(1, 6, 3, 2, 4)
    assert (latents(start(network, Native()), 6, prefix=other)[:, 6:] - whole[:, 6:]).abs().max() > 1e-3


def test_absolute_and_relative_agree_until_the_window_slides(network):
    native, relative = (latents(start(network, config), 6) for config in (Native(), NativeRelative()))
    assert torch.equal(native[:, :12], relative[:, :12])
    assert (native[:, 12:] - relative[:, 12:]).abs().max() > 1e-5


def test_window_that_never_fills_is_full_attention(network):
    wide = Window(60, 1, 3)
    full = latents(start(network, Native(), window=wide), 5)
    assert torch.equal(full, latents(start(network, NativeRelative(), window=wide), 5))
    assert torch.equal(full, latents(start(network, Rag(window=60), window=wide), 5))


class CountingBuffer(ContextBuffer):
    writes = 0

    def write(self, *args):
        CountingBuffer.writes += 1
        super().write(*args)


def rotations_per_block(network, config, monkeypatch):
    monkeypatch.setattr("longtake.platform.generation.rollout.ContextBuffer", CountingBuffer)
    rollout, counts = start(network, config), []
    for index in range(14):
        CountingBuffer.writes = 0
        rollout.block(index)
        counts.append(CountingBuffer.writes)
    return counts


def test_a_key_is_rotated_once_per_position(network, monkeypatch):
    """Absolute positions never change; of a relative window all but the sink move at every block (8 frames)."""
    assert rotations_per_block(network, Native(), monkeypatch) == [0] * 14
    assert rotations_per_block(network, NativeRelative(), monkeypatch)[4:] == [8] * 10
    assert max(rotations_per_block(network, Rag(), monkeypatch)) <= 2 + 6


@pytest.mark.parametrize(("name", "entry_bytes"), [("float32", 4 * ENTRY_VALUES), ("bf16", 2 * ENTRY_VALUES)])
def test_only_the_bank_grows(network, name, entry_bytes):
    rollout = start(network, Rag(), bank_dtype=torch_dtype(name))
    for index in range(30):
        rollout.block(index)
    assert rollout.cache.bank.num_bytes == (90 - 12) * entry_bytes
    assert len(rollout.cache.live) == 12


def test_native_keeps_no_bank(network):
    rollout = start(network, Native())
    pointers = set()
    for index in range(30):
        rollout.block(index)
        pointers |= {entry.data_ptr() for entry in rollout.cache.live.values()}
    assert rollout.cache.bank is None
    assert len(pointers) <= 12 + 3, "evicted entries are used again"


@pytest.mark.parametrize(("name", "limit"), [("bf16", 0.05), ("fp8", 0.5)])
def test_a_rounded_bank_stays_close(network, name, limit):
    """Numbers of order 1: bf16 keeps 8 bits of them, fp8 4; how far that is amplified depends on the network."""
    exact, rounded = (latents(start(network, Rag(), bank_dtype=torch_dtype(d)), 12) for d in ("float32", name))
    assert 0 < (exact - rounded).abs().max() < limit


@pytest.mark.parametrize(
    ("name", "config"), [("float32", Rag()), ("bf16", RandomMemory(bank_frames=12)), ("fp8", Rag(bank_frames=11))]
)
def test_where_the_bank_lies_changes_no_bit(network, tmp_path, name, config):
    """20 blocks of two takes evict 48 frames each: they lie in memory, in a file, or 7 in memory and the rest there."""
    scales = 2 * SPEC.layers * SPEC.heads * 4 if name == "fp8" else 0
    entry, held = ENTRY_VALUES * torch_dtype(name).itemsize + scales, 2 * (config.bank_frames or 48)
    made = []
    for host_entries in (held, 0, 7):
        tiers = build_tiers(capacity(host_entries, entry, tmp_path), network.device)
        rollout = start(network, config, seeds=(1, 2), bank_dtype=torch_dtype(name), tiers=tiers)
        made.append(latents(rollout, 20))
        assert len(rollout.cache.bank) == held
        assert [tier.used for tier in tiers] == [host_entries * entry, (held - host_entries) * entry]
        rollout.close()
        assert [tier.used for tier in tiers] == [0, 0]
        assert list(tmp_path.iterdir()) == []
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def capacity(host_entries, entry, folder):
    """Room for so many entries in memory, and a file for the others."""
    return BankCapacity(host_gib=(host_entries + 0.5) * entry / GIB, disk=str(folder))


def test_a_second_take_uses_the_same_buffers(network, tmp_path):
    """Whatever its budget was: 11 of the first take's 48 buffers serve the second, whose bank is smaller."""
    tiers = build_tiers(capacity(20, 4 * ENTRY_VALUES, tmp_path), network.device)
    for frames in (None, 11):
        rollout = start(network, Rag(bank_frames=frames), tiers=tiers)
        latents(rollout, 20)
        rollout.close()
        assert [tier.held // (4 * ENTRY_VALUES) for tier in tiers] == [20, 28]


def test_a_budget_bounds_the_bank_from_block_to_block(network):
    rollout = start(network, Rag(bank_frames=11))
    for block in rollout.blocks(24):
        evicted = len(Window().evicted(3 * block.index + 3))
        assert len(rollout.cache.bank) == min(evicted, 11)
    assert rollout.cache.bank.num_bytes == rollout.cache.bank.peak_bytes == 11 * 4 * ENTRY_VALUES


def test_a_budget_that_is_never_reached_changes_nothing(network):
    assert torch.equal(latents(start(network, Rag()), 12), latents(start(network, Rag(bank_frames=24)), 12))


@pytest.mark.parametrize(("name", "config"), [("float32", Rag()), ("fp8", RandomMemory(bank_frames=12))])
def test_shelves_as_beside_a_gpu_change_no_bit(network, tmp_path, name, config):
    """Pinned memory and a staged file, with lagging copies and helper threads. Two takes, against a CPU's shelf."""
    kwargs = {"seeds": (1, 2), "bank_dtype": torch_dtype(name)}
    expected = latents(start(network, config, **kwargs), 20)
    few = 5.5 * ENTRY_VALUES * torch_dtype(name).itemsize
    device = torch.device("cpu")
    tiers = [PinnedTier(device, few, NoPinning()), StagedDiskTier(str(tmp_path), device, NoPinning())]
    for _ in range(2):
        rollout = start(network, config, tiers=tiers, **kwargs)
        rollout.cache.reserve(48)
        rollout.cache.bank.streams = streams_beside_the_host()
        assert torch.equal(latents(rollout, 20), expected)
        assert all(tier.used for tier in tiers)
        rollout.close()
        assert not any(tier.used or tier.reserved for tier in tiers)


def test_full_shelves_end_the_take_in_one_line_and_are_free_for_the_next(network):
    """Room for 10 entries: block 7 evicts frames 10 to 12."""
    tiers = build_tiers(BankCapacity(host_gib=10 * 4 * ENTRY_VALUES / GIB), network.device)
    rollout = start(network, Rag(), tiers=tiers)
    for index in range(7):
        rollout.block(index)
    with pytest.raises(ConfigError) as raised:
        rollout.block(7)
    assert str(raised.value) == (
        "bank: no space for 0.0 MB more (host 0.0 of 0.0 GiB); raise workers.bank.host_gib, "
        "set workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"
    )
    rollout.close()
    assert tiers[0].used == 0


def test_verify_says_no(tmp_path, capsys):
    """A case whose recorded output was changed by a thousandth fails, and the command's exit code says so."""
    from safetensors.torch import load_file, save_file

    for name in ("case1_native.json", "weights_A.safetensors"):
        shutil.copy(GOLDEN / name, tmp_path)
    tensors = load_file(GOLDEN / "case1_native.safetensors")
    save_file({**tensors, "output": tensors["output"] + 1e-3}, tmp_path / "case1_native.safetensors")
    assert verify(tmp_path) == 1
    assert "FAIL" in capsys.readouterr().out


def broken_weights(facts):
    facts["weights"] = "nowhere.safetensors"


def unknown_descriptor(facts):
    facts["config"] |= {"use_latentmem": True, "memory_size": 2, "compression_method": "average"}


def window_too_small(facts):
    facts["config"]["local_attn_size"] = 3


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (broken_weights, "nowhere.safetensors"),
        (unknown_descriptor, "compression_method = 'average'"),
        (window_too_small, "window = 3"),
    ],
)
def test_a_case_that_cannot_run_fails_and_hides_no_other(tmp_path, capsys, breaks, reason):
    for path in GOLDEN.glob("derived/onestep*"):
        shutil.copy(path, tmp_path)
    facts = read_json(tmp_path / "onestep.json")
    shutil.copy(GOLDEN / "derived" / facts["weights"], tmp_path)
    shutil.copy(tmp_path / "onestep.safetensors", tmp_path / "broken.safetensors")
    breaks(facts)
    (tmp_path / "broken.json").write_text(json.dumps(facts))
    (tmp_path / "notes.json").write_text("{ not json")
    assert verify(tmp_path) == 1
    out = capsys.readouterr().out
    assert "pass" in out
    assert "FAIL" in out
    assert reason in out


def test_a_prefix_is_whole_blocks(network):
    with pytest.raises(ValueError, match="4 frames is not a whole number of blocks of 3"):
        latents(start(network, Native()), 3, prefix=torch.zeros(1, 4, 3, 2, 4))


def test_verify_without_cases_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="contains no golden case"):
        verify(tmp_path)
    with pytest.raises(ConfigError, match="not a folder"):
        verify(tmp_path / "none")


@pytest.mark.parametrize("config", [Native(), Rag()], ids=["native", "rag"])
def test_a_commit_pass_that_keeps_no_flow_leaves_the_same_bits(network, config):
    """Latents, keys and values are equal. Only the flow needs the rest of the last layer, which does not run."""
    short, whole = start(network, config), start(network, config, keep_flow=True)
    for ours, theirs in zip(short.blocks(8), whole.blocks(8), strict=True):
        assert torch.equal(ours.latents, theirs.latents)
        assert ours.commit_flow is None
        assert theirs.commit_flow.shape == theirs.latents.shape
    for frame, entry in whole.cache.live.items():
        assert torch.equal(short.cache.live[frame], entry)
