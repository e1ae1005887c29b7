"""Weights stored as int8 rows: the numbers by hand, and what they cost."""

import torch

from longtake.platform.checkpoints.int8_rows import pack, unpack


def test_rows_by_hand():
    """A row of largest size 1.27 has steps of .01, one of 254 has steps of 2; zeros stay zeros."""
    weights = {
        "w": torch.tensor([[1.27, -0.504, 0.006], [-254.0, 3.1, 2.9], [0.0, 0.0, 0.0]]),
        "b": torch.tensor([0.1]),
    }
    stored = pack(weights)
    assert stored["w"].dtype == torch.int8
    assert stored["w"].tolist() == [[127, -50, 1], [-127, 2, 1], [0, 0, 0]]
    torch.testing.assert_close(unpack(stored)["w"], torch.tensor([[1.27, -0.5, 0.01], [-254.0, 4.0, 2.0], [0.0] * 3]))
    assert set(stored) == {"w", "w.scale", "b"}
    assert stored["b"].dtype == torch.float16
    assert set(unpack(stored)) == {"w", "b"}


def test_tensors_of_more_dimensions_have_a_scale_per_first_index():
    weights = {"conv": torch.randn(4, 3, 2, 2), "modulation": torch.randn(1, 6, 8)}
    stored = pack(weights)
    assert stored["conv.scale"].shape == (4,)
    assert stored["modulation"].dtype == torch.float16
    error = (unpack(stored)["conv"] - weights["conv"]).abs().flatten(1).amax(1)
    assert (error <= weights["conv"].abs().flatten(1).amax(1) / 254 * 1.001).all()


def test_weights_that_were_never_packed_are_only_cast():
    assert torch.equal(unpack({"w": torch.ones(2, 2).half()})["w"], torch.ones(2, 2))
