"""`longtake bench sampler`: what a stand-in is, what is read off a run, and the arithmetic of its figures. No clock is
tested for how fast it ran."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import typer

from longtake.jobs.bench.clocks import Reading, Turns, latent_frames, take_turns
from longtake.jobs.bench.figures import Figures, Spread
from longtake.jobs.bench.natural_frames import FRAMES, natural_frames
from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.bench.sampler import check, title
from longtake.jobs.bench.stand_in import stand_in, text_seconds, text_spec, vae_config
from longtake.jobs.bench.tables import as_csv, method_table, stage_table, video_lines, video_table
from longtake.jobs.bench.whole_video import WholeVideo, whole_video
from longtake.jobs.commands.bench import sampler as bench_sampler
from longtake.jobs.commands.options import from_words
from longtake.platform.backbones.base import backbones
from longtake.platform.errors import ConfigError
from longtake.platform.generation.sampler import Sampler
from longtake.platform.models.text.umt5 import UMT5_XXL
from longtake.platform.video.reading import read_frames
from longtake.platform.video.writing import VideoWriter
from tests.jobs import tiny  # noqa: F401 (registers the backbone)

MANY = BenchOptions(
    shrink=6,
    methods=("native", "rag"),
    compile=True,
    bank_dtype="fp8",
    bank_frames=30,
    gpu_gib=1.5,
    host_gib=0.0,
    disk="there",
)
SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "videos"
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
    assert stand_in(BenchOptions(device="cpu")).spec.dtype == "float32"
    assert stand_in(BenchOptions(device="cpu", dtype="bf16")).spec.dtype == "bf16"
    with pytest.raises(ConfigError, match="'int8' is not float32 or bf16"):
        stand_in(BenchOptions(dtype="int8"))


def test_options_say_the_command_that_gives_them():
    expected = "longtake bench sampler --methods native,rag --shrink 6 --compile --bank-dtype fp8 --bank-frames 30"
    assert MANY.as_command == f"{expected} --gpu-gib 1.5 --host-gib 0.0 --disk there"
    assert BenchOptions().as_command == "longtake bench sampler"


@pytest.mark.parametrize("options", [BenchOptions(), MANY, BenchOptions(batch=2, device="cpu", dtype="bf16", window=9)])
def test_that_command_gives_the_options_again(options):
    app = typer.Typer()
    app.command()(bench_sampler)
    words = options.as_command.split()[3:]
    given = typer.main.get_command(app).make_context("sampler", words).params
    assert (given.pop("end_to_end"), given.pop("out")) == (True, None)
    assert from_words(BenchOptions, given) == options


def test_the_bank_gets_its_options_and_a_method_without_one_does_not():
    assert MANY.take("rag", 3).method.params == {"bank_dtype": "fp8", "bank_frames": 30}
    assert MANY.take("native", 3).method.params == {}
    bank = MANY.resources.bank
    assert (bank.gpu_gib, bank.host_gib, bank.disk) == (1.5, 0.0, "there")


@pytest.mark.slow
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
    made = whole_video(TINY, "rag")
    assert made.frames == 1 + 4 * 35
    assert 0 < made.first_frame_seconds < made.wall_seconds
    assert 0 <= made.waiting_seconds < made.wall_seconds
    assert set(made.stage_seconds) == {"generate", "decode", "encode"}
    assert all(0 < seconds < made.wall_seconds for seconds in made.stage_seconds.values())
    assert made.device_bytes == 0
    assert made.resident_bytes > 2**20
    assert made.bank_bytes == (36 - 12) * 2 * 8 * 32 * 4


@pytest.mark.slow
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
    # 24 tokens against 96 keys and 2 rows of text, dim 32, ffn 32, one layer, one step and the commit. The step:
    # linears 24 * (6 * 32 * 32 + 2 * 32 * 32) = 196,608; mixing 2 * 24 * 32 * 98 = 150,528. The commit pass ends with
    # queries, keys and values of its last layer, here the only one: 24 * 3 * 32 * 32 = 73,728. Times 2 a multiply-add
    assert run.flops(run.turns.readings[0]) == 2 * (196_608 + 150_528 + 73_728)
    assert run.denoise_fps("native") == 12 / 2.0
    assert run.of_ceiling("rag") == pytest.approx(841_728 / 4.0 / 1e9)


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


def test_early_and_late_are_the_steady_blocks_nearest_to_5_s():
    """Blocks of 3 latent frames at 4 a second: the middle of block b is at (b + 0.5) * 0.75 s, so 5 s is in block 6."""
    run = figures([float(block) for block in range(30)], [1.0] * 30)
    assert run.middle(6) == 4.875
    assert run.near(5.0) == [4, 5, 6, 7, 8]
    assert run.seconds_at("native", [4, 5, 6, 7, 8]) == 6.0
    assert figures([1.0] * 3, [1.0] * 3).near(5.0) == [0, 1, 2]


def test_flatness_compares_the_last_blocks_with_those_around_the_twentieth():
    spent = [9.0] * 17 + [2.0] * 5 + [9.0] * 8 + [3.0] * 5
    assert figures(spent, spent).last_over_twentieth("native") == 1.5
    assert figures([1.0] * 23, [1.0] * 23).last_over_twentieth("native") is None


def test_the_report_names_what_ran(turns):
    run = Figures(stand_in(TINY).spec, turns, 12, 1, wall=False)
    assert method_table(run).row_count == 6  # 4 steady blocks: the early ones are the late ones
    assert method_table(figures([1.0] * 30, [1.0] * 30)).row_count == 7
    assert stage_table(run, 0.1).row_count == 5
    assert as_csv(turns).splitlines()[1].startswith("native,0,3,")
    assert len(as_csv(turns).splitlines()) == 25
    small = BenchOptions(shrink=8, device="cpu")
    told = title(small, stand_in(small).spec, check(small))
    assert "SHRUNK by 8, not its own sizes" in told
    assert "dim 128, ffn 1120, 1 heads, 3 layers, latents 16x6x12" in told
    own = BenchOptions(device="cpu")
    assert "SHRUNK" not in title(own, stand_in(own).spec, check(own))
    assert "workers.bank: gpu_gib 0, host_gib null, disk null" in title(own, stand_in(own).spec, check(own))
    assert "bank fp8, 30 frames; workers.bank: gpu_gib 1.5, host_gib 0, disk there" in title(
        dataclasses.replace(MANY, device="cpu"), stand_in(MANY).spec, check(MANY)
    )


def test_whole_videos_say_what_bounds_them():
    seconds = {"generate": 4.0, "decode": 5.0, "encode": 1.0}
    videos = {"rag": WholeVideo(57, 6.0, 1.5, seconds, 0.5, 0, 2**30, 2**20)}
    assert video_table(videos).row_count == 10
    assert video_lines(videos) == [
        "whole video, rag: end to end fps 9.5, wall s 6, generate s 4, decode s 5, encode s 1, "
        "generation held back s 0.5, busiest stage decode, first frame s 1.5, peak GPU GiB -, peak RSS GiB 1"
    ]


def test_a_stand_in_decodes_and_gives_natural_frames_in_place_of_the_noise():
    stand_in(TINY)
    sampler = Sampler(TINY.name, TINY.resources)
    take = TINY.take("native", 18)
    decoder, backbone = sampler.decoder(take), backbones.get("tiny")(TINY.resources)
    noise = backbone.decoder(take.prompt, take.latent_frames)
    latents = [block.latents for block in sampler.generate(take)]
    given = [decoder.push(block).copy() for block in latents]
    assert [len(frames) for frames in given] == [len(noise.push(block)) for block in latents] == [9, *[12] * 5]
    frames = natural_frames(128, 128)
    assert np.array_equal(np.concatenate(given), frames[np.arange(69) % FRAMES])  # 69: past the end of the loop, 48


def test_natural_frames_are_the_same_again_and_their_loop_has_no_cut():
    frames = natural_frames(64, 96)
    assert (frames.dtype, frames.shape) == (np.uint8, (48, 64, 96, 3))
    assert np.array_equal(frames, natural_frames(64, 96))
    steps = np.abs(np.diff(frames.astype(int), axis=0, append=frames[:1].astype(int))).mean(axis=(1, 2, 3))
    assert 0 < steps[-1] <= steps.max() < 1.5 * np.median(steps)


def bytes_a_frame(frames, path):
    _, height, width, _ = frames.shape
    with VideoWriter(path, width=width, height=height) as video:
        video.write(frames)
        return video.close().bytes / len(frames)


@pytest.mark.slow
def test_natural_frames_take_the_bytes_of_real_video_and_noise_takes_many_more(tmp_path):
    """Compares bytes instead of times, which tests must not depend on. tests/bench/encoder_cost.py measures times."""
    if not SHARED.is_dir():
        pytest.skip("shared folder absent")
    natural = bytes_a_frame(natural_frames(480, 832), tmp_path / "v.mp4")
    real = [
        bytes_a_frame(next(read_frames(SHARED / name, 48)), tmp_path / "v.mp4") for name in ("native.mp4", "rag.mp4")
    ]
    noise = bytes_a_frame(np.random.default_rng(0).integers(0, 256, (8, 480, 832, 3), np.uint8), tmp_path / "v.mp4")
    assert 0.7 * min(real) < natural < 1.5 * max(real)
    assert noise > 10 * natural


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (BenchOptions(backbone="longlove"), "did you mean 'longlive'"),
        (BenchOptions(methods=("rog",)), "unknown method 'rog'"),
        (BenchOptions(methods=("rag", "rag")), "a method is given twice"),
        (BenchOptions(window=5), "window = 5"),
    ],
)
def test_options_that_do_not_fit_fail_before_anything_runs(options, reason):
    with pytest.raises(ConfigError, match=reason):
        check(options)
