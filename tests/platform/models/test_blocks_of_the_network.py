"""Rotary positions, time sinusoids and the noise schedule, against recorded tables and by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longtake.platform.models.causal_dit import time_sinusoid
from longtake.platform.models.layers import GELU
from longtake.platform.models.rope import frame_rotation, rotate
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import wan_split

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def units():
    return load_file(GOLDEN / "units.safetensors")


@pytest.fixture(scope="module")
def tables():
    return load_file(GOLDEN / "scheduler.safetensors")


@pytest.mark.parametrize("head_dim", [24, 32, 128])
def test_rotation(units, head_dim):
    turns = [frame_rotation(t, 2, 3, 0, wan_split(head_dim), 10_000.0) for t in units["rope.positions"].tolist()]
    out = rotate(units[f"rope.hd{head_dim}.x"], torch.cat(turns))
    assert (out - units[f"rope.hd{head_dim}.out"]).abs().max() < 1e-6


def test_split_of_128_is_22_21_21():
    assert wan_split(128) == (22, 21, 21)


def test_left_edge_shifts_columns():
    """Column 2 of a frame whose left edge is 5 is column 0 of one whose left edge is 7."""
    at_5, at_7 = (frame_rotation(3, 1, 4, left, (4, 0, 4), 10_000.0) for left in (5, 7))
    assert torch.equal(at_5[2], at_7[0])


@pytest.mark.parametrize("dim", [64, 256])
def test_time_sinusoid(units, dim):
    out = time_sinusoid(units["time_sinusoid.t"], dim)
    assert (out - units[f"time_sinusoid.dim{dim}"]).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [5, 8])
def test_schedule_tables(tables, shift):
    schedule = FlowSchedule(shift=float(shift))
    assert (schedule.sigmas - tables[f"shift{shift}.sigmas"]).abs().max() < 1e-6
    assert (schedule.table - tables[f"shift{shift}.timesteps"]).abs().max() < 1e-3
    for steps in ((1000, 750, 500, 250), (1000, 500), (999, 1, 0)):
        warped = FlowSchedule(steps, float(shift)).timesteps
        golden = tables[f"shift{shift}.warped_" + "_".join(map(str, steps))]
        assert (warped - golden).abs().max() < 1e-3


@pytest.mark.parametrize("shift", [5, 8])
def test_noising_and_back(tables, shift):
    schedule = FlowSchedule(shift=float(shift))
    clean, noise, t = (tables[f"shift{shift}.add_noise_{name}"] for name in ("clean", "noise", "t"))
    sigma = schedule.sigma(t).reshape(-1, 1, 1, 1)
    assert torch.equal(schedule.sigma(t), tables[f"shift{shift}.sigmas"][tables[f"shift{shift}.add_noise_sigma_index"]])
    assert (schedule.noised(clean, noise, sigma) - tables[f"shift{shift}.add_noise_out"]).abs().max() < 1e-6
    assert (schedule.clean(clean, noise, sigma) - tables[f"shift{shift}.flow_to_x0_out"]).abs().max() < 1e-6


def test_shift_5_warps_the_four_steps():
    assert FlowSchedule().timesteps.tolist() == pytest.approx([1000, 937.5, 833.333, 625], abs=1e-3)


def test_sigma_of_zero_is_the_last_entry():
    """shift 5, s = 1/1000: 5 * .001 / (1 + 4 * .001) = .00498"""
    assert float(FlowSchedule().sigma(torch.tensor(0.0))) == pytest.approx(0.00498, abs=1e-5)


def test_fast_gelu_is_gelu():
    x = torch.linspace(-12, 12, 10_001)
    with torch.inference_mode():
        assert (GELU()(x) - torch.nn.functional.gelu(x, approximate="tanh")).abs().max() < 2e-6
