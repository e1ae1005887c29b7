"""`longtake bench engine`: which methods it times, what it reads off a run, and the arithmetic of its figures. No clock
is tested for how fast it ran."""

import csv

import numpy as np
import pytest
import torch

from longtake.jobs.bench import engine as job
from longtake.jobs.bench.engine import COLUMNS, csv_rows, report, timed
from longtake.jobs.bench.engine_cases import SMALL, SPEC, cases_of, random_network
from longtake.jobs.bench.engine_clock import (
    STEADY_FROM,
    Round,
    Timing,
    block_flops,
    late_over_early,
    middle,
    take_turns,
)
from longtake.jobs.bench.engine_memory import Memory, held_bytes, measure_memory
from longtake.jobs.commands.bench import engine
from longtake.jobs.console import console_for
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Window, methods

FRAME_BYTES = 2 * 2 * 8 * 32 * 4
"""Keys and values, 2 layers, 2 x 4 patches, dim 32, float32."""
FRAMES = 60


@pytest.fixture(scope="module")
def rounds():
    return list(take_turns(cases_of(), random_network(SMALL), FRAMES))


def case(name):
    return next(one for one in cases_of([name]) if one.label == name)


def test_every_method_that_needs_no_camera_is_timed():
    labels = [one.label for one in cases_of()]
    assert labels[0] == "native"
    assert {*labels} == {*methods.names(), "rag, bf16 bank", "rag, fp8 bank on disk"} - {"oracle-memory"}
    assert len(labels) == len({*labels})


def test_methods_are_chosen_by_name_and_native_is_always_there():
    assert [one.label for one in cases_of(["rag"])] == ["native", "rag", "rag, bf16 bank", "rag, fp8 bank on disk"]
    assert [one.label for one in cases_of(["native-relative", "native"])] == ["native", "native-relative"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["native", "rog"], "did you mean 'rag'"),
        (["oracle-memory"], "--methods oracle-memory: it needs a known camera"),
    ],
)
def test_methods_that_cannot_be_timed_are_an_error_of_one_line(names, reason):
    with pytest.raises(ConfigError, match=reason):
        cases_of(names)


def test_the_command_passes_the_names_on():
    with pytest.raises(ConfigError, match="unknown method 'rog'"):
        engine(60, "native, rog")


def test_only_full_attention_may_grow():
    assert [one.label for one in cases_of() if one.grows] == ["full-attention"]


def test_a_round_says_how_many_frames_each_method_attended(rounds):
    """Once contexts are full, what a method attends is what it declares, or less if that varies; and from STEADY_FROM
    on, nothing but full attention attends more than before."""
    assert len(rounds) == FRAMES // 3
    for one in cases_of():
        seen = [made.attended[one.label] for made in rounds]
        if one.grows:
            assert seen == list(range(3, FRAMES + 1, 3))
            continue
        declared = one.config.attended(one.config.window_in(Window()), SMALL)
        late = seen[STEADY_FROM:]
        if one.config.varies:
            assert sum(late) / len(late) <= declared + 1e-6
            assert max(late) <= max(seen[:STEADY_FROM]) + 1e-6
        else:
            assert late == pytest.approx([declared] * len(late))
    assert all(seconds > 0 for made in rounds for seconds in made.seconds.values())
    assert all(made.gemm > 0 for made in rounds)


def made_up(native, rag, attended=12.0, gemm=1e9):
    """Rounds whose first STEADY_FROM blocks took 100 s, which no figure may count."""
    spent = [*[(100.0, 100.0)] * STEADY_FROM, *zip(native, rag, strict=True)]
    return Timing(SPEC, [Round(gemm, {"native": n, "rag": r}, {"native": attended, "rag": attended}) for n, r in spent])


def test_a_tenth_of_the_values_is_left_out_at_either_end():
    assert middle([1.0, 9.0]) == 5.0  # alternating costs count by how often they occur
    assert middle([*[2.0] * 5, *[4.0] * 4, 1000.0]) == pytest.approx((4 * 2 + 4 * 4) / 8)


def test_methods_are_compared_with_the_same_block_of_native():
    run = made_up([1.0, 2.0, 4.0, 1.0], [1.1, 2.4, 4.4, 1.1])
    assert run.block_seconds("native") == 2.0
    assert run.ratio("rag") == pytest.approx((1.1 + 1.2 + 1.1 + 1.1) / 4)
    assert run.ratio("native") == 1.0


def test_growth_compares_the_last_quarter_with_the_first():
    assert late_over_early([1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 2.0, 4.0]) == 3.0
    busy = made_up([1.0, 1.0, 1.0, 3.0], [1.0, 1.0, 1.0, 3.3])
    assert busy.growth("rag") == pytest.approx(3.3)
    assert busy.growth_beside_reference("rag") == pytest.approx(1.1)  # the rest befell native too


def test_the_share_of_the_limit_counts_the_frames_attended():
    # 4 denoising passes and a commit of 72 tokens: linears 72 * (6 * 384^2 + 2 * 384 * 1536) = 148,635,648 and
    # 2 * 72 * 384 = 55,296 for each key of 24 a frame and of the text's 64. Times 2 a multiply-add, times 6 layers; the
    # commit ends with the last layer's queries, keys and values, 72 * 3 * 384^2 = 31,850,496
    layer = 148_635_648 + 55_296 * (64 + 24 * 12)
    assert block_flops(SPEC, 12) == 2 * (5 * 6 * layer - layer + 31_850_496)
    assert block_flops(SPEC, 12.5) == pytest.approx((block_flops(SPEC, 12) + block_flops(SPEC, 13)) / 2)
    run = made_up([2.0] * 4, [4.0] * 4, gemm=block_flops(SPEC, 12))
    assert run.of_limit("native") == pytest.approx(0.5)
    assert run.of_limit("rag") == pytest.approx(0.25)


def test_memory_of_a_window_and_of_a_bank():
    native, rag = (measure_memory(case(name), FRAMES, SMALL) for name in ("native", "rag"))
    # 12 frames in the cache, 12 rotated in the context's buffer, and the rotations of 3 new frames, less than a frame
    assert 24 * FRAME_BYTES <= native.state < 25 * FRAME_BYTES
    assert native.bank_per_frame == 0
    assert rag.bank_per_frame == FRAME_BYTES
    half = measure_memory(cases_of(["rag"])[2], FRAMES, SMALL)
    assert half.bank_per_frame == FRAME_BYTES / 2


def test_held_bytes_count_a_storage_once_and_enter_no_network():
    tensor, array = torch.zeros(100), np.zeros(50)
    held = {
        "one": [tensor, tensor[10:]],
        "two": (array, array[5:]),
        "network": torch.nn.Linear(1000, 1000),
        3: held_bytes,
    }
    assert held_bytes([held]) == 400 + 400


def test_every_block_is_in_the_file_as_soon_as_it_is_made(tmp_path):
    path, lines = tmp_path / "blocks.csv", []

    class Watch(job.Progress):
        def update(self, what):
            lines.append((what, len(path.read_text().splitlines())))

    chosen = cases_of(["native-relative"])
    made = timed(chosen, SMALL, FRAMES, path, Watch(console_for()))
    assert [count for _, count in lines] == list(range(3, 2 * 20 + 2, 2))
    assert lines[4][0].startswith("block 5/20, CPU-s: native ")
    rows = list(csv.reader(path.open()))
    assert tuple(rows[0]) == COLUMNS
    assert [row[:2] for row in rows[1:3]] == [["native", "0"], ["native-relative", "0"]]
    assert rows[-1][3] == "12"
    assert len(made.rounds) == 20


def test_a_label_with_a_comma_is_one_field():
    (row,) = csv_rows(7, Round(1e9, {"rag, bf16 bank": 0.25}, {"rag, bf16 bank": 12.0}))
    assert row == ("rag, bf16 bank", 7, "0.250000", "12", "1000000000")


def test_the_report_has_a_row_per_case_and_marks_what_must_grow(rounds):
    cases = cases_of()
    memory = {one.label: Memory(0.0, 0.0, 2**20 * (2 if one.label == "rag" else 1)) for one in cases}
    table = report(cases, Timing(SMALL, rounds), memory, FRAMES)
    columns = [list(column.cells) for column in table.columns]
    at = [one.label for one in cases].index
    assert columns[0] == [one.label for one in cases]
    assert columns[1][at("native")] == "12.0"
    assert [label for label, cell in zip(columns[0], columns[5], strict=True) if "by design" in cell] == [
        "full-attention"
    ]
    assert columns[9][at("native")] == "+0.0"
    assert columns[9][at("rag")] == "+1.0"
