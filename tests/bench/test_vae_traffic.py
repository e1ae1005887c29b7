"""The decoder's memory traffic, counted from shapes, stays as low as it is."""

import pytest
import torch

from tests.bench.vae_traffic import Traffic, compare


def test_a_counter_by_hand():
    x = torch.zeros(1, 2, 3, 4, 5)  # 120 values, 480 bytes
    with Traffic() as traffic, torch.no_grad():
        x.transpose(1, 2)[0]  # views
        x + x.expand(7, 2, 3, 4, 5)  # x read once, 7 times as much written
        x.copy_(x.bfloat16())  # 480 read and 240 written, then back
    assert traffic.bytes == {"add": 480 + 480 + 7 * 480, "_to_copy": 480 + 240, "copy_": 240 + 480}


@pytest.mark.slow
def test_a_latent_frame_moves_a_quarter_of_what_it_moves_in_diffusers():
    """126 and 27 GB at 480x832 in bfloat16. Input and output of the convolutions alone are 10 GB."""
    counted = {name: sum(traffic.values()) for name, traffic in compare(480, 832, torch.bfloat16).items()}
    assert counted["ours"] < 28e9
    assert counted["ours"] < counted["diffusers"] / 4
