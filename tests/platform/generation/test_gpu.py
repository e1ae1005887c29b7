"""What only a GPU can show: copies beside the computing stream change no bit, the host never waits inside a block."""

import gc
import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.disk import StagedDiskTier
from longtake.platform.generation.bank.pages import CudaPinning
from longtake.platform.generation.bank.pinned import PinnedTier
from longtake.platform.generation.bank.streams import streams_of
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.process import compute_exactly
from longtake.platform.machine.resources import GIB, BankCapacity
from longtake.platform.methods.base import BANK_DTYPES, Window
from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.random_memory import RandomMemory
from longtake.platform.models import attention
from longtake.platform.models.embedder import LatentAutoencoder
from longtake.platform.models.spec import EmbedderSpec
from tests.platform.rollouts import ENTRY_VALUES, SPEC, latents, new_network, start

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True, scope="module")
def float32_is_not_tf32():
    """TF32 is off, as in every process that makes takes."""
    compute_exactly()


@pytest.fixture(scope="module")
def network():
    return on_gpu(new_network())


def on_gpu(network, dtype=torch.float32):
    """Place a network on the GPU as a backbone does."""
    return network.to(CUDA, dtype).lay_out()


@pytest.fixture
def rooms(tmp_path):
    """All on the device, all in pinned memory, all in a file, and 5 entries of float32 each before the file."""
    few = 5.5 * 4 * ENTRY_VALUES / GIB
    return [
        BankCapacity(gpu_gib=1),
        BankCapacity(),
        BankCapacity(host_gib=0, disk=str(tmp_path)),
        BankCapacity(few, few, str(tmp_path)),
    ]


@pytest.mark.parametrize("name", BANK_DTYPES)
@pytest.mark.parametrize("config", [Rag(), RandomMemory(bank_frames=11)], ids=["all", "11"])
def test_where_the_bank_lies_changes_no_bit(network, rooms, name, config):
    """A budget frees buffers while copies are under way. Tiers are kept for a second take, whose buffers are used."""
    made = []
    for capacity in rooms:
        tiers = build_tiers(capacity, CUDA)
        for _ in range(2):
            rollout = start(network, config, seeds=(1, 2), bank_dtype=torch_dtype(name), tiers=tiers)
            made.append(latents(rollout, 24).cpu())
            rollout.close()
        assert not any(tier.used for tier in tiers)
    assert all(torch.equal(made[0], other) for other in made[1:])


def test_prefetching_changes_no_bit(network, monkeypatch):
    """Against entries that are fetched, and waited for, when the block begins."""
    plain = start(network, RandomMemory())
    monkeypatch.setattr(plain.cache, "prefetch", lambda keys: None)
    assert torch.equal(latents(plain, 24), latents(start(network, RandomMemory()), 24))


def take_while_waiting_is_an_error(network, config, tiers, warm):
    """Make twenty blocks. After the first take, torch raises at any call that waits for the device."""
    rollout = start(network, config, tiers=tiers)
    rollout.cache.reserve(60)
    for index in range(20):
        rollout.prepared[index] = rollout.prepare(index)
        if warm and index > 8:
            torch.cuda.set_sync_debug_mode("error")
        try:
            rollout.block(index)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    rollout.close()


@pytest.mark.parametrize("config", [Native(), Rag(), RandomMemory(), Rag(bank_frames=11)])
@pytest.mark.parametrize(
    "capacity", [BankCapacity(gpu_gib=1, host_gib=0), BankCapacity(host_gib=1)], ids=["gpu", "host"]
)
def test_the_host_never_waits_inside_a_block(network, config, capacity):
    """Holds for the second take, which has all buffers. On these tiers the host waits for no helper thread either."""
    tiers = build_tiers(capacity, CUDA)
    for warm in (False, True):
        waited = sum(tier.waited_seconds for tier in tiers)
        take_while_waiting_is_an_error(network, config, tiers, warm)
    assert sum(tier.waited_seconds for tier in tiers) == waited


def test_with_the_bank_on_disk_the_host_waits_for_helper_threads_alone(network, tmp_path):
    """The host may wait for a slot or for a late entry, never for the device: helper threads do that."""
    tiers = build_tiers(BankCapacity(host_gib=0, disk=str(tmp_path)), CUDA)
    for warm in (False, True):
        take_while_waiting_is_an_error(network, Rag(), tiers, warm)
    assert isinstance(tiers[-1], StagedDiskTier)
    assert tiers[-1].held == (60 - 12) * 4 * ENTRY_VALUES


def test_entries_come_back_whole_while_both_directions_are_busy():
    """Copies of 32 MB take long enough to overlap: out, back, and out again into the same buffers."""
    shape, generator = (2, 2, 1024, 16, 128), torch.Generator(CUDA).manual_seed(0)
    streams, tier = streams_of(CUDA), PinnedTier(CUDA, GIB, CudaPinning(CUDA))
    bank = Bank([tier], torch.float32, torch.float32, CUDA, streams)
    live = [torch.empty(shape, device=CUDA) for _ in range(3)]
    expected, wrong = {}, torch.zeros((), device=CUDA)
    for block in range(12):
        bank.join()
        keys = [(0, 3 * block + i) for i in range(3)]
        for key, frame in zip(keys, live, strict=True):
            expected[key] = frame.normal_(generator=generator).sum(dtype=torch.float64)
            bank.put(key, frame)
        for key in list(expected)[:-3][-6:]:
            wrong += (bank.entry(key).sum(dtype=torch.float64) != expected[key]).float()
        for key in list(expected)[:-9]:
            bank.drop(key)
            del expected[key]
        bank.mark()
        bank.flush()
        bank.prefetch(list(expected)[-6:])
    assert tier.held == 9 * live[0].nbytes
    bank.close()
    assert wrong.item() == 0


def test_the_helper_pins_on_the_device_of_the_shelf():
    """Memory is pinned in advance, torch sees it as pinned, and the launching thread registers nothing."""
    tier = build_tiers(BankCapacity(host_gib=1), CUDA)[1]
    assert isinstance(tier, PinnedTier)
    tier.reserve(20, 2**22)
    assert tier.growing is not None
    tier.growing.result()
    assert len(tier.ready[2**22]) == 8
    buffer = tier.take(2**22)
    assert buffer is not None
    assert buffer.is_pinned()
    assert tier.waited_seconds < 0.05


def test_float32_agrees_with_the_cpu(network):
    """Rounding errors of 1e-7 become 5e-7 of a latent and do not grow over 8 blocks (measured on a CPU by perturbing
    the weights). TF32, with rounding errors of 5e-4, would give 2e-3."""
    ours, theirs = (latents(start(net, Rag(), seeds=(1, 2)), 8) for net in (network, new_network()))
    assert (ours.cpu() - theirs).abs().max() < 1e-4


def test_a_trained_descriptor_computes_where_the_latents_are(network, tmp_path):
    torch.manual_seed(0)
    sizes = EmbedderSpec(in_channels=3, spatial_h=2, spatial_w=4, latent_dim=8, hidden_dims=(4,))
    save_file(LatentAutoencoder(sizes).state_dict(), tmp_path / "embedder.safetensors")
    (tmp_path / "embedder.json").write_text(json.dumps({"config": asdict(sizes)}))
    config = Rag(descriptor=str(tmp_path))
    ours, theirs = (latents(start(net, config), 8) for net in (network, new_network()))
    assert (ours.cpu() - theirs).abs().max() < 1e-4


def test_bf16_stays_near_the_cpu():
    """Two blocks; bf16 on a CPU differs by 0.009 at most and 0.002 on average from float32, of latents of 0.76."""
    half = on_gpu(new_network(), torch.bfloat16)
    ours, theirs = (latents(start(net, Native()), 2) for net in (half, new_network()))
    assert (ours.cpu() - theirs).abs().max() < 0.05
    assert (ours.cpu() - theirs).abs().mean() < 0.01


def test_bf16_stays_near_the_cpu_with_heads_that_fast_kernels_take():
    """Heads of 64. Errors are as above: a product over 128 instead of 24 numbers averages more of them."""
    spec = replace(SPEC, dim=128, heads=2)
    half = on_gpu(new_network(spec), torch.bfloat16)
    ours, theirs = (latents(start(net, Native()), 2) for net in (half, new_network(spec)))
    assert attention.backend(CUDA, torch.bfloat16, 64) != "torch"
    assert (ours.cpu() - theirs).abs().max() < 0.05
    assert (ours.cpu() - theirs).abs().mean() < 0.01


@pytest.mark.parametrize("kernel", attention.candidates((9, 0)), ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("shape", [(1, 12, 4680, 128), (2, 12, 1560, 128)])
def test_attention_in_half_precision(kernel, shape):
    """Every kernel that runs here against float32, with keys in a slice of a longer buffer, queries as in the network.

    Means over 7000 values are about .03, rounded to 2 ** -9 of that: 1e-4. 2e-3 leaves a margin.
    """
    if not attention.runs(kernel, CUDA, torch.bfloat16, 128):
        pytest.skip(f"needs a CUDA device that runs {kernel.name}")
    generator = torch.Generator(CUDA).manual_seed(0)
    rows, heads, tokens, dim = shape
    query = torch.randn(rows, tokens, heads, dim, device=CUDA, generator=generator).bfloat16().transpose(1, 2)
    keys, values = (torch.randn(rows, heads, 9000, dim, device=CUDA, generator=generator).bfloat16() for _ in range(2))
    keys, values = keys[:, :, :7000], values[:, :, :7000]
    ours = kernel.call(query, keys, values)
    theirs = torch.nn.functional.scaled_dot_product_attention(query.float(), keys.float(), values.float())
    assert ours.shape == theirs.shape
    assert ours.transpose(1, 2).is_contiguous()  # the next operator reads it row by row
    assert (ours.float() - theirs).abs().max() < 2e-3


def test_the_kernel_on_record_is_the_one_that_runs():
    query = torch.randn(1, 2, 64, 128, device=CUDA, dtype=torch.bfloat16)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        attention.attention(query, query, query)
    operators = {
        "cudnn": "aten::_scaled_dot_product_cudnn_attention",
        "flash": "aten::_scaled_dot_product_flash_attention",
        "flash-attn": "flash_attn::_flash_attn_forward",
    }
    assert operators[attention.backend(CUDA, torch.bfloat16)] in {event.name for event in profile.events()}


def test_pinned_memory_is_pinned_and_released(network):
    """Memory freed while it is pinned makes pinning the same addresses fail later: 20 takes with their own tiers."""
    for _ in range(20):
        rollout = start(network, Rag())
        latents(rollout, 10)
        stored = next(iter(rollout.cache.bank.stored.values()))
        assert stored.packed.data.is_pinned()
        del rollout, stored
        gc.collect()


def test_compiled_agrees_and_is_compiled_once():
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    compiled = on_gpu(new_network()).compile_parts()
    for config in (Native(), Rag()):
        ours, theirs = (latents(start(net, config), 8) for net in (compiled, on_gpu(new_network())))
        assert (ours - theirs).abs().max() < 1e-2
    assert counters["stats"]["unique_graphs"] == 3


def test_the_window_alone_costs_device_memory(network):
    """With the bank in pinned memory, the device holds as much after 100 blocks as after 40, when the cache of
    rotations is full, except for up to 6 entries on their way to the next block. 180 more frames would be 138 kB."""
    rollout = start(network, Rag())
    held = [torch.cuda.memory_allocated(CUDA) for _block in rollout.blocks(100)]
    assert len(rollout.cache.bank) == len(Window().evicted(300))
    assert max(held[40:]) < max(held[30:40]) + 20_000
