"""A file with staging memory and two threads, as on a GPU machine: errors, back pressure, and cleanup."""

import gc
import os
import resource
import threading
from contextlib import contextmanager

import pytest
import torch

from longtake.platform.errors import StorageError
from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.disk import StagedDiskTier, transfer
from longtake.platform.generation.bank.pages import HUGE_PAGE, NoPinning
from longtake.platform.machine.resources import STAGING_ENTRIES, WRITING_SLOTS

CPU = torch.device("cpu")
SHAPE = (2, 3, 5, 4, 8)


def entry(frame):
    return torch.full(SHAPE, float(frame))


@pytest.fixture
def tier(tmp_path):
    return StagedDiskTier(str(tmp_path), CPU, NoPinning())


def bank_on(tier, frames=0):
    bank = Bank([tier], torch.float32, torch.float32, CPU)
    for frame in range(frames):
        bank.put((0, frame), entry(frame))
    bank.flush()
    return bank


def test_entries_pass_through_staging_allocated_once(tier):
    """More entries than slots are stored and fetched, twice."""
    for _ in range(2):
        bank = bank_on(tier, frames=20)
        bank.prefetch([(0, frame) for frame in range(20)])
        assert all(torch.equal(bank.entry((0, frame)), entry(frame)) for frame in range(20))
        bank.close()
    assert STAGING_ENTRIES < 20
    assert len(tier.staging.pieces) == 1
    assert tier.staging.num_bytes == HUGE_PAGE
    assert (tier.used, tier.held) == (0, 20 * 3840)


def test_larger_entries_get_larger_slots(tier):
    bank_on(tier, frames=3).close()
    bank = Bank([tier], torch.float32, torch.float32, CPU)
    large = torch.arange(2.0 * 960).view(2, 6, 5, 4, 8)
    bank.put((0, 0), large)
    bank.flush()
    assert torch.equal(bank.entry((0, 0)), large)
    assert tier.slot_bytes == large.nbytes


def test_staging_is_there_when_a_take_has_its_room(tier):
    bank = bank_on(tier)
    bank.reserve(5, SHAPE)
    assert (tier.slot_bytes, tier.reserved) == (3840, 5 * 3840)
    bank.close()
    assert tier.reserved == 0


def test_the_launching_thread_waits_for_a_slot_alone(tier):
    """While the disk is blocked, four entries get slots. The fifth waits, and the wait is counted."""
    bank, gate = bank_on(tier), threading.Event()
    tier.stage(3840)
    tier.writer.submit(gate.wait, 30)
    for frame in range(WRITING_SLOTS):
        bank.put((0, frame), entry(frame))
    bank.flush()
    assert tier.waited_seconds < 0.5
    threading.Timer(1.0, gate.set).start()
    bank.put((0, 9), entry(9))
    bank.flush()
    assert tier.waited_seconds > 0.5
    assert all(torch.equal(bank.entry((0, frame)), entry(frame)) for frame in (0, 1, 2, 3, 9))


@contextmanager
def small_files():
    """Limit the files of this process to 4 KiB, so that writes really fail. pytest's report may be such a file, so a
    test must not end inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_is_one_line_at_the_next_entry_once(tier):
    bank, gate = bank_on(tier, frames=2), threading.Event()
    tier.finish()
    tier.writer.submit(gate.wait, 30)
    bank.put((0, 2), entry(2))
    bank.flush()
    with small_files():
        gate.set()
        tier.writes[-1].exception()
    bank.put((0, 3), entry(3))
    with pytest.raises(StorageError) as raised:
        bank.flush()
    assert str(raised.value) == f"{tier.folder}: the bank cannot be written (File too large)"
    assert tier.used == 3 * 3840
    tier.take(3840)  # already has a place in the file: the error is not raised again
    assert torch.equal(bank.entry((0, 1)), entry(1))


def test_an_entry_that_was_not_written_cannot_be_read_and_the_next_take_can(tier):
    bank, gate = bank_on(tier, frames=2), threading.Event()
    tier.finish()
    tier.writer.submit(gate.wait, 30)
    bank.put((0, 2), entry(2))
    bank.flush()
    with small_files():
        gate.set()
        with pytest.raises(StorageError, match="the bank cannot be written"):
            bank.entry((0, 2))
    bank.close()
    assert tier.used == 0
    again = bank_on(tier, frames=3)
    assert all(torch.equal(again.entry((0, frame)), entry(frame)) for frame in range(3))


def test_a_file_that_is_shorter_than_its_bank_is_an_error(tier):
    bank = bank_on(tier, frames=2)
    tier.finish()
    os.ftruncate(tier.file.fileno(), 3840)
    with pytest.raises(StorageError, match=r"the bank cannot be read \(the file has ended\)"):
        bank.entry((0, 1))
    assert torch.equal(bank.entry((0, 0)), entry(0)), "the slot is free again"


def test_threads_file_and_staging_go_with_the_shelf(tmp_path):
    tier = StagedDiskTier(str(tmp_path), CPU, NoPinning())
    bank_on(tier, frames=9)
    helpers, before = [tier.writer.thread, tier.reader.thread], len(os.listdir("/proc/self/fd"))
    del tier
    gc.collect()
    for helper in helpers:
        if helper.ident is not None:
            helper.join(5)
    assert not any(helper.is_alive() for helper in helpers)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) < before


def test_a_call_that_moves_a_part_is_made_again():
    """Linux moves at most 2 GiB minus one page per call."""
    moved = []

    def by_three(_, buffers, offset):
        moved.append((offset, bytes(buffers[0][:3])))
        return min(3, len(buffers[0]))

    transfer(by_three, 0, torch.arange(8, dtype=torch.uint8), 100)
    assert moved == [(100, b"\x00\x01\x02"), (103, b"\x03\x04\x05"), (106, b"\x06\x07")]
