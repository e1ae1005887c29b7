"""`longtake bench sampler`: what a stand-in is, what is read off a run, and the arithmetic of its figures. No clock is
tested for how fast it ran."""

import dataclasses

import pytest
import torch

from longtake.jobs.bench.clocks import Reading, Turns, latent_frames, take_turns
from longtake.jobs.bench.figures import Figures, Spread, as_csv, method_table, stage_table
from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.bench.sampler import check, title
from longtake.jobs.bench.stand_in import stand_in, text_seconds, text_spec, vae_config
from longtake.jobs.bench.whole_video import film
from longtake.platform.backbones.base import backbones
from longtake.platform.errors import ConfigError
from longtake.platform.models.umt5 import UMT5_XXL

from . import tiny  # noqa: F401 (registers the backbone)

TINY = BenchOptions(backbone="tiny", seconds=9, methods=("native", "rag"), device="cpu")


@pytest.fixture(scope="module")
def turns():
    return take_turns(TINY, lambda done, total: None)


def test_a_stand_in_of_shrink_1_has_the_published_sizes():
    assert stand_in(BenchOptions()).spec.network == backbones.get("longlive").spec.network


def test_a_shrunk_stand_in_divides_everything_but_the_size_of_a_head():
    spec = stand_in(BenchOptions(shrink=4, device="cpu")).spec
    net = spec.network
    assert (net.dim, net.ffn_dim, net.heads, net.layers, net.head_dim) == (3 * 128, 2240, 3, 7, 128)
    assert (net.latent_height, net.latent_width) == (14, 26)  # 60 / 4 = 15 is no whole number of patches of 2
    assert (spec.height, spec.width) == (8 * 14, 8 * 26)
    assert (net.text_len, net.text_dim) == (128, 1024)
    assert (net.channels, net.patch, spec.window) == (16, (2, 2), backbones.get("longlive").spec.window)
    assert vae_config(spec)["base_dim"] == 24
    assert (text_spec(spec).num_layers, text_spec(spec).num_heads) == (6, 16)


def test_the_text_encoder_of_shrink_1_is_the_published_one():
    assert text_spec(stand_in(BenchOptions()).spec) == UMT5_XXL


def test_a_stand_in_computes_in_float32_on_a_cpu_unless_told():
    assert stand_in(BenchOptions(device="cpu")).spec.dtype == torch.float32
    assert stand_in(BenchOptions(device="cpu", dtype="bf16")).spec.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="'int8' is not float32 or bf16"):
        stand_in(BenchOptions(dtype="int8"))


def test_options_say_the_command_that_gives_them():
    options = BenchOptions(shrink=6, methods=("native", "rag"), compile=True, bank_dtype="fp8", host_gib=0)
    expected = "longtake bench sampler --methods native,rag --shrink 6 --compile --bank-dtype fp8 --host-gib 0"
    assert options.as_command == expected
    assert BenchOptions().as_command == "longtake bench sampler"


def test_every_method_has_a_reading_a_block(turns):
    assert latent_frames(TINY) == 36
    assert {(r.method, r.block) for r in turns.readings} == {(m, b) for m in TINY.methods for b in range(12)}
    assert len(turns.gemm) == 12
    assert min(turns.gemm) > 0
    assert len(turns.decode) == len(turns.encode) == 10
    assert all(r.wall_seconds > 0 and r.cpu_seconds > 0 for r in turns.readings)


def test_readings_tell_what_was_attended_and_what_the_bank_held(turns):
    """tiny: window 12, sink 1; rag lacks memory until frames 1 .. have left the window and are past the guard of 5."""
    by = {(r.method, r.block): r for r in turns.readings}
    assert [by["native", block].attended for block in range(5)] == [3, 6, 9, 12, 12]
    assert [by["rag", block].attended for block in (3, 4)] == [6, 6]
    assert by["rag", 11].attended == 12
    assert by["native", 11].bank_bytes == 0
    frame_bytes = 2 * 8 * 32 * 4  # keys and values, 8 tokens, dim 32, float32, one layer
    assert by["rag", 11].bank_bytes == (36 - 12) * frame_bytes


def test_a_batch_makes_rows_at_once():
    made = take_turns(dataclasses.replace(TINY, batch=2, seconds=6, bank_dtype="bf16"), lambda done, total: None)
    assert max(r.bank_bytes for r in made.readings) == 2 * (24 - 12) * 2 * 8 * 32 * 2


def test_a_whole_video_is_made_and_measured():
    made = film(TINY, "rag")
    assert made.frames == 1 + 4 * 35
    assert 0 < made.first_frame_seconds < made.wall_seconds
    assert 0 <= made.waiting_seconds < made.wall_seconds
    assert made.device_bytes == 0
    assert made.resident_bytes > 2**20
    assert made.bank_bytes == (36 - 12) * 2 * 8 * 32 * 4


def test_the_wan_family_runs_without_weights():
    options = BenchOptions(shrink=12, seconds=3, methods=("native",), device="cpu")
    made = take_turns(options, lambda done, total: None)
    assert [r.attended for r in made.readings] == [3, 6, 9, 12]
    assert text_seconds(options) > 0


def figures(native, rag, gemm=(1e9,), attended=12):
    """Blocks of `tiny` that took so many seconds, all at a full window."""
    readings = [
        Reading(method, block, attended, seconds, seconds, 0)
        for method, spent in (("native", native), ("rag", rag))
        for block, seconds in enumerate(spent)
    ]
    turns = Turns(readings, list(gemm) * len(native), [0.5], [0.25])
    return Figures(stand_in(TINY).spec, turns, 12, 1, wall=False)


def test_frames_a_second_and_the_share_of_the_ceiling():
    run = figures([2.0] * 3, [4.0] * 3)
    # 24 tokens against 96 keys and 2 rows of text, dim 32, ffn 32, one layer, 2 passes (one step and the commit):
    # linears 24 * (6 * 32 * 32 + 2 * 32 * 32) = 196,608; mixing 2 * 24 * 32 * 98 = 150,528; times 2 a multiply-add
    assert run.flops(run.turns.readings[0]) == 2 * 2 * (196_608 + 150_528)
    assert run.denoise_fps("native") == 12 / 2.0
    assert run.of_ceiling("rag") == pytest.approx(1_388_544 / 4.0 / 1e9)


def test_methods_are_compared_block_by_block():
    run = figures([1.0, 2.0, 4.0, 1.0], [1.1, 2.4, 4.4, 1.1])
    assert run.against("rag", "native").middle == pytest.approx(1.1)
    assert run.against("rag", "native").high == pytest.approx(1.125)  # of 1.1 1.1 1.1 1.2, a quarter into the last gap
    assert str(Spread.of([2.0])) == "2.000 [2.000, 2.000]"


def test_only_blocks_with_a_full_window_everywhere_count(turns):
    run = Figures(stand_in(TINY).spec, turns, 12, 1, wall=False)
    # rag's sixth eligible frame is the 11th evicted: frame 11 has left when 1 + 11 + 11 = 23 frames exist; whole
    # blocks before it end at 24, so block 8 is the first with a full window
    assert run.steady == [8, 9, 10, 11]


def test_flatness_compares_the_last_blocks_with_those_around_the_twentieth():
    spent = [9.0] * 17 + [2.0] * 5 + [9.0] * 8 + [3.0] * 5
    assert figures(spent, spent).last_over_twentieth("native") == 1.5
    assert figures([1.0] * 23, [1.0] * 23).last_over_twentieth("native") is None


def test_the_report_names_what_ran(turns):
    run = Figures(stand_in(TINY).spec, turns, 12, 1, wall=False)
    assert method_table(run, {}).row_count == 10
    assert stage_table(run, 0.1).row_count == 5
    assert as_csv(turns).splitlines()[1].startswith("native,0,3,")
    assert len(as_csv(turns).splitlines()) == 25
    small = BenchOptions(shrink=8, device="cpu")
    told = title(small, stand_in(small).spec, check(small))
    assert "SHRUNK by 8, not its own sizes" in told
    assert "dim 128, ffn 1120, 1 heads, 3 layers, latents 16x6x12" in told
    own = BenchOptions(device="cpu")
    assert "SHRUNK" not in title(own, stand_in(own).spec, check(own))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (BenchOptions(backbone="longlove"), "did you mean 'longlive'"),
        (BenchOptions(methods=("rog",)), "unknown method 'rog'"),
        (BenchOptions(methods=("rag", "rag")), "one is named twice"),
        (BenchOptions(window=5), "window = 5"),
    ],
)
def test_options_that_do_not_fit_fail_before_anything_runs(options, reason):
    with pytest.raises(ConfigError, match=reason):
        check(options)
