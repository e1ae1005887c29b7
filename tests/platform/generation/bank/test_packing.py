"""How entries are stored, and what 8 bits cost: e4m3 has 3 bits of mantissa and normal numbers from 2^-6 to 448."""

import pytest
import torch

from longtake.platform.generation.bank.packing import FP8, pack, unpack
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.methods.base import BANK_DTYPES

SHAPE = (2, 3, 5, 4, 8)


def entry():
    """Normal numbers; head by head from 1e-6 to 1e6, further apart than those of a network."""
    numbers = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return numbers * torch.logspace(-6, 6, 2 * 3 * 4).view(2, 3, 1, 4, 1)


def test_what_needs_no_change_is_not_copied():
    given = entry()
    assert unpack(pack(given, torch.float32), torch.float32) is given


def test_bf16_rounds_once():
    given = entry()
    assert torch.equal(unpack(pack(given, torch.bfloat16), torch.float32), given.bfloat16().float())


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_fp8_error_is_that_of_its_mantissa(compute):
    """Half a step of 2^-3 relative, so 2^-4, for normals; half of 2^-9, so 2^-10, of the scale for smaller numbers.
    Giving it back in bf16 rounds by 2^-9 once more; division and product in float32 by 2^-24 each."""
    given = entry().to(compute)
    packed = pack(given, FP8)
    error = (unpack(packed, compute).double() - given.double()).abs()
    relative = 2**-4 + (2**-9 if compute == torch.bfloat16 else 2**-22)
    assert (error <= torch.maximum(relative * given.double().abs(), 2**-10 * packed.scale.double())).all()
    assert error.max() > 0


def test_fp8_by_hand():
    """The largest number, 448, makes the scale 1. Steps are 1/8 from 1 to 2, and 32 from 256 to 448; ties go to the
    even one: 1.0625 lies between 8 and 9 times 1/8, 432 between 13 and 14 times 32."""
    given = torch.tensor([448.0, -432.0, 1.0, 1.05, 1.0625, 1.1, 2.0**-9, 2.0**-11]).view(1, 1, 1, 1, 8)
    packed = pack(given, FP8)
    assert packed.scale.item() == 1
    assert unpack(packed, torch.float32).flatten().tolist() == [448, -448, 1, 1, 1, 1.125, 2**-9, 0]


def test_a_head_of_zeros_stays_zeros_and_no_number_is_lost():
    given = torch.zeros(SHAPE)
    given[0, 0, 0, 0, 0], given[1, 2, 4, 3, 7] = 3e38, 1e-45
    out = unpack(pack(given, FP8), torch.float32)
    assert out.isfinite().all()
    assert out[0, 0, 0, 0, 0] == pytest.approx(3e38)
    assert (out[0, 0, 0, 1:] == 0).all()


def test_num_bytes():
    """960 numbers; in 8 bits with a float32 scale for each of 2 x 3 x 4 heads."""
    sizes = {name: pack(entry(), torch_dtype(name)).num_bytes for name in BANK_DTYPES}
    assert sizes == {"float32": 3840, "bf16": 1920, "fp8": 960 + 4 * 24}
