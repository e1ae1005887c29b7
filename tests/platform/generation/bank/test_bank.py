"""The bank's entries: readable at every moment, counted, given back."""

import pytest
import torch

from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.packing import FP8, pack, unpack
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.base import BANK_DTYPES

CPU = torch.device("cpu")
SHAPE = (2, 3, 5, 4, 8)


def entry(frame):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(frame))


def bank_of(dtype=torch.float32, compute=torch.float32, tiers=None):
    return Bank(build_tiers(BankCapacity(), CPU) if tiers is None else tiers, dtype, compute, CPU)


def filled(frames, **kwargs):
    bank = bank_of(**kwargs)
    for frame in range(frames):
        bank.put((0, frame), entry(frame))
    bank.flush()
    return bank


@pytest.mark.parametrize("dtype", map(torch_dtype, BANK_DTYPES), ids=BANK_DTYPES)
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_an_entry_is_the_same_on_its_way_and_on_its_shelf(dtype, compute):
    bank, given = bank_of(dtype, compute), entry(1).to(compute)
    bank.put((0, 1), given.clone())
    on_its_way = bank.entry((0, 1)).clone()
    bank.flush()
    assert (on_its_way.dtype, on_its_way.shape) == (compute, SHAPE)
    assert torch.equal(on_its_way, unpack(pack(given, dtype), compute))
    assert torch.equal(on_its_way, bank.entry((0, 1)))


def test_what_was_put_may_be_overwritten_once_it_is_settled():
    bank, given = bank_of(), entry(1)
    bank.put((0, 1), given)
    bank.flush()
    given.zero_()
    assert torch.equal(bank.entry((0, 1)), entry(1))


def test_a_row_of_a_batch_is_an_entry():
    """What the cache puts is a view into a tensor of all rows, with the other rows between its numbers."""
    bank, rows = bank_of(), torch.stack([entry(1), entry(2)], dim=2)
    for row in range(2):
        bank.put((row, 7), rows[:, :, row])
    bank.flush()
    assert torch.equal(bank.entry((1, 7)), entry(2))


def test_dropped_entries_are_gone_wherever_they_are():
    bank = filled(3)
    bank.put((0, 3), entry(3))
    for frame in (1, 3):
        bank.drop((0, frame))
        assert (0, frame) not in bank
        with pytest.raises(KeyError):
            bank.drop((0, frame))
        with pytest.raises(KeyError):
            bank.entry((0, frame))
    bank.flush()
    assert len(bank) == 2
    assert [torch.equal(bank.entry((0, frame)), entry(frame)) for frame in (0, 2)] == [True, True]


def test_its_bytes_are_counted():
    """960 numbers and 24 scales of 4 bytes an entry."""
    bank = filled(4, dtype=FP8)
    assert bank.num_bytes == bank.peak_bytes == 4 * (960 + 96)
    bank.drop((0, 0))
    bank.put((0, 9), entry(9))
    assert (bank.num_bytes, bank.peak_bytes, len(bank)) == (3 * 1056, 4 * 1056, 4)


def test_a_dropped_entry_makes_room_for_the_next():
    bank = filled(4)
    bank.drop((0, 2))
    bank.put((0, 4), entry(4))
    bank.flush()
    assert bank.tiers[0].held == 4 * 3840
    assert all(torch.equal(bank.entry((0, frame)), entry(frame)) for frame in (0, 1, 3, 4))


def test_close_gives_everything_back_and_the_next_bank_uses_it(tmp_path):
    tiers = build_tiers(BankCapacity(host_gib=0, disk=str(tmp_path)), CPU)
    bank = filled(4, tiers=tiers)
    places = {stored.buffer.data_ptr() for stored in bank.stored.values()}
    bank.close()
    assert (tiers[1].used, bank.num_bytes, len(bank)) == (0, 0, 0)
    again = filled(4, tiers=tiers)
    assert {stored.buffer.data_ptr() for stored in again.stored.values()} == places


def test_a_bank_in_8_bits_follows_one_of_16_on_the_same_shelf():
    """Room for 4 entries of 1,920 bytes, or 8 of 960 with 24 scales: the first take's are not in the second's way."""
    tiers = build_tiers(BankCapacity(host_gib=8 * (960 + 24 * 4) / 2**30), CPU)
    filled(4, dtype=torch.bfloat16, tiers=tiers).close()
    assert len(filled(8, dtype=FP8, tiers=tiers)) == 8
