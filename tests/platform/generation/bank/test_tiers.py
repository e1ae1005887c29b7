"""Room and reuse of the bank's buffers, and the file without a name."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.generation.bank.disk import DiskTier
from longtake.platform.generation.bank.tier import MemoryTier
from longtake.platform.generation.bank.tiers import build_tiers, place, reserve
from longtake.platform.machine.resources import GIB, BankCapacity

CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "disk"])
def tier(request, tmp_path):
    return MemoryTier(CPU, 10_000) if request.param == "memory" else DiskTier(str(tmp_path))


def fill(buffer, value):
    buffer.fill_(value)
    return buffer


def test_a_buffer_given_back_is_handed_out_again(tier):
    one, two = tier.take(1000), tier.take(1000)
    assert (tier.used, tier.held) == (2000, 2000)
    tier.give_back(one)
    assert tier.take(1000).data_ptr() == one.data_ptr() != two.data_ptr()
    assert (tier.used, tier.held) == (2000, 2000)


def test_buffers_of_another_size_are_let_go(tier):
    """Ten buffers fill the memory tier; when all are back it has room for one of their sum."""
    for buffer in [tier.take(1000) for _ in range(10)]:
        tier.give_back(buffer)
    assert tier.take(10_000) is not None
    assert (tier.used, tier.held) == (10_000, 10_000)


def test_what_is_in_a_buffer_stays(tier):
    """Pieces of 1,000 bytes share pages, and letting go of one's pages is not to change the other's."""
    buffers = [fill(tier.take(1000), value) for value in range(10)]
    for buffer in buffers:
        tier.release_pages(buffer)
    assert all((buffer == value).all() for value, buffer in enumerate(buffers))


def test_a_full_shelf_gives_nothing():
    tier = MemoryTier(CPU, 2500)
    assert [tier.take(1000) is None for _ in range(3)] == [False, False, True]
    assert MemoryTier(CPU, 0).take(1) is None


def test_shelves_are_filled_in_order(tmp_path):
    tiers = build_tiers(BankCapacity(host_gib=2500 / GIB, disk=str(tmp_path)), CPU)
    assert [place(tiers, 1000)[0].name for _ in range(4)] == ["host", "host", "disk", "disk"]


def test_when_all_are_full_one_line_says_what_to_do():
    tiers = build_tiers(BankCapacity(host_gib=1.5), CPU)
    place(tiers, GIB)
    with pytest.raises(ConfigError) as raised:
        place(tiers, GIB)
    assert str(raised.value) == (
        "bank: no space for 1073.7 MB more (host 1.0 of 1.5 GiB); raise workers.bank.host_gib, "
        "set workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"
    )


def test_a_take_is_promised_its_room_on_the_shelves_in_their_order(tmp_path):
    """2,500 bytes hold two entries of 1,000, and the disk takes three. After the take the room is free again."""
    tiers = build_tiers(BankCapacity(host_gib=2500 / GIB, disk=str(tmp_path)), CPU)
    promised = reserve(tiers, 5, 1000)
    assert [(tier.name, count, tier.reserved) for tier, count in promised] == [("host", 2, 2000), ("disk", 3, 3000)]
    assert tiers[0].fits(1000) == 0
    for tier, count in promised:
        tier.reserve(-count, 1000)
    assert tiers[0].fits(1000) == 2


def test_a_take_that_will_not_fit_is_refused_before_it_begins():
    tiers = build_tiers(BankCapacity(host_gib=1.5), CPU)
    reserve(tiers, 1, GIB // 2)
    with pytest.raises(ConfigError) as raised:
        reserve(tiers, 5, GIB // 2)
    assert str(raised.value) == (
        "bank: this take needs 2.5 GiB for 5 frames of 536.9 MB, but there is space for host 1.0 GiB; raise "
        "workers.bank.host_gib, set workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"
    )
    assert tiers[0].fits(GIB // 2) == 2, "a refused take reserves nothing"


def test_a_full_disk_is_known_when_a_take_begins(tmp_path):
    tier = DiskTier(str(tmp_path))
    free = shutil.disk_usage(tmp_path).free
    assert tier.fits(2**30) == pytest.approx(free // 2**30, abs=1)
    with pytest.raises(ConfigError, match=r"there is space for disk \d+"):
        reserve([tier], free // 2**30 + 2, 2**30)


def open_files():
    return os.listdir("/proc/self/fd")


def test_the_file_has_no_name_takes_what_it_holds_and_one_place_among_open_files(tmp_path):
    tier = DiskTier(str(tmp_path / "made" / "here"))
    before = len(open_files())
    buffers = [fill(tier.take(1000), 1) for _ in range(2000)]
    assert len(open_files()) == before
    assert list((tmp_path / "made" / "here").iterdir()) == []
    assert 2_000_000 <= os.fstat(tier.file.fileno()).st_blocks * 512 < 2_100_000
    del tier, buffers
    assert len(open_files()) < before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file: cannot hold the bank \(File exists\); set another bank.disk"):
        DiskTier(str(tmp_path / "file"))


def test_a_disk_without_room_is_named(tmp_path):
    """The end of what any file may hold stands in for the end of a disk: the same call fails, with another reason."""
    tier = DiskTier(str(tmp_path))
    tier.held = 2**63 - 4096
    with pytest.raises(StorageError, match=r"needs 1.0 MB more after .* GiB \(File too large\); free some space"):
        tier.make(1_000_000)


RESIDENT = """
import psutil, sys, torch
from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.machine.resources import BankCapacity

cpu, entry = torch.device("cpu"), torch.empty(2, 1, 1024, 8, 256)
bank = Bank(build_tiers(BankCapacity(host_gib=0, disk=sys.argv[1]), cpu), torch.float32, torch.float32, cpu)
resident = []
for frame in range(24):
    bank.put((0, frame), entry.fill_(frame))
    bank.flush()
    assert (bank.entry((0, frame // 2)) == frame // 2).all()
    resident.append(psutil.Process().memory_info().rss)
print(bank.num_bytes, resident[-1] - resident[3])
"""


@pytest.mark.slow
def test_a_bank_on_disk_costs_no_memory(tmp_path):
    """24 entries of 16.8 MB are 403 MB; what is resident grows by less than one of them and what a block touches."""
    ran = subprocess.run([sys.executable, "-c", RESIDENT, str(tmp_path)], capture_output=True, text=True, check=True)
    num_bytes, growth = map(int, ran.stdout.split())
    assert num_bytes == 24 * 16_777_216
    assert growth < 2 * 16_777_216
