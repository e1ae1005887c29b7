"""Memory is pinned in advance: how much, when, and how errors are raised. Only the driver is missing here."""

import gc
import mmap
import threading

import pytest
import torch

from longtake.platform.errors import StorageError
from longtake.platform.generation.bank import pages
from longtake.platform.generation.bank.disk import StagedDiskTier
from longtake.platform.generation.bank.pages import HUGE_PAGE, NoPinning, PinnedPages, present_pages
from longtake.platform.generation.bank.pinned import READY_ENTRIES, PinnedTier, cut
from longtake.platform.generation.bank.tiers import reserve

CPU = torch.device("cpu")
ENTRY = HUGE_PAGE
"""Large enough that a piece has exactly PIECE_ENTRIES = 1 of them and rounding adds none."""


class Ledger(NoPinning):
    """Registers like a driver, no page twice; fails while `code` is an error and blocks while `gate` is closed."""

    def __init__(self):
        self.known, self.code, self.gate = set(), 0, threading.Event()
        self.gate.set()
        self.threads = set()

    def register(self, pages):
        self.gate.wait(30)
        self.threads.add(threading.current_thread().name)
        assert pages.data_ptr() not in self.known
        if not self.code:
            self.known.add(pages.data_ptr())
        return self.code

    def unregister(self, pages):
        for piece in pages:
            self.known.remove(piece.data_ptr())


def shelf_of(entries, ledger=None):
    return PinnedTier(CPU, entries * ENTRY, ledger or Ledger())


def idle(tier):
    """Wait until the helper is idle."""
    if tier.growing is not None:
        tier.growing.exception()
    return tier


def pinned_entries(tier):
    return idle(tier).charged // ENTRY


def test_buffers_are_disjoint_aligned_and_all_of_the_room():
    tier = shelf_of(30)
    buffers = [tier.take(ENTRY) for _ in range(30)]
    assert tier.take(ENTRY) is None
    assert len({buffer.data_ptr() // ENTRY for buffer in buffers}) == 30
    assert all(buffer.data_ptr() % 64 == 0 and buffer.nbytes == ENTRY for buffer in buffers)
    assert (tier.used, tier.held, pinned_entries(tier)) == (30 * ENTRY, 30 * ENTRY, 30)


def test_a_few_entries_are_pinned_ahead_by_the_helper_alone():
    """Entry by entry until 8 are ready: 8 at first, 11 once three are taken."""
    ledger = Ledger()
    tier = shelf_of(100, ledger)
    tier.reserve(90, ENTRY)
    assert pinned_entries(tier) == READY_ENTRIES
    for _ in range(3):
        tier.take(ENTRY)
    assert pinned_entries(tier) == READY_ENTRIES + 3
    assert ledger.threads == {"bank-pinning"}


def test_all_that_is_reserved_can_be_pinned_before_the_first_block():
    ledger = Ledger()
    tier = shelf_of(100, ledger)
    tier.reserve(30, ENTRY)
    tier.fill(ENTRY)
    assert pinned_entries(tier) == 30
    pieces = len(ledger.known)
    for _ in range(30):
        tier.take(ENTRY)
    assert (pinned_entries(tier), len(ledger.known)) == (30, pieces)
    assert ledger.threads == {"bank-pinning"}


def test_no_more_is_pinned_than_the_take_needs():
    tier = shelf_of(100)
    tier.reserve(10, ENTRY)
    for _ in range(10):
        tier.take(ENTRY)
    assert pinned_entries(tier) == 10


def test_taking_waits_only_while_the_helper_is_behind():
    ledger = Ledger()
    tier = shelf_of(100, ledger)
    tier.reserve(50, ENTRY)
    idle(tier)
    ledger.gate.clear()
    for _ in range(READY_ENTRIES):
        tier.take(ENTRY)
    assert tier.waited_seconds < 0.5
    threading.Timer(1.0, ledger.gate.set).start()
    assert tier.take(ENTRY) is not None
    assert tier.waited_seconds > 0.5


def test_what_cannot_be_pinned_is_one_line_at_the_next_take_and_then_forgotten():
    ledger = Ledger()
    tier = shelf_of(100, ledger)
    first = tier.take(ENTRY)
    idle(tier)
    ledger.code = 2
    while len(tier.ready[ENTRY]) >= READY_ENTRIES:
        tier.take(ENTRY)  # the last one starts pinning, which fails
    idle(tier)
    used = tier.used
    with pytest.raises(StorageError) as raised:
        tier.take(ENTRY)
    assert str(raised.value) == (
        "bank: 2.1 MB of host memory after 0.0 GiB cannot be pinned (CUDA error 2); lower workers.bank.host_gib"
    )
    assert tier.used == used, "no buffer was handed out"
    ledger.code = 0
    assert tier.take(ENTRY) is not None
    tier.give_back(first)


def test_what_could_not_be_pinned_ahead_of_a_take_that_has_ended_is_forgotten():
    ledger = Ledger()
    tier = shelf_of(100, ledger)
    ledger.code = 2
    tier.reserve(20, ENTRY)
    idle(tier)
    tier.finish()
    tier.reserve(-20, ENTRY)
    ledger.code = 0
    tier.reserve(20, ENTRY)
    assert tier.take(ENTRY) is not None


def test_the_very_first_entry_fails_as_plainly():
    ledger = Ledger()
    ledger.code = 2
    tier = shelf_of(100, ledger)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"cannot be pinned \(CUDA error 2\)"):
            tier.take(ENTRY)
    assert (tier.used, tier.held, tier.pages.num_bytes) == (0, 0, 0)


def test_more_than_the_address_space_is_one_line():
    with pytest.raises(
        StorageError, match=r"MB of host memory after 0.0 GiB cannot be allocated \(.*\); lower workers.bank"
    ):
        PinnedPages(NoPinning()).allocate(2**46)


def test_pinned_pieces_serve_entries_of_another_size():
    """Twelve entries become 24 halves, and back. Nothing is pinned again."""
    ledger = Ledger()
    tier = shelf_of(12, ledger)
    for size, count in ((ENTRY, 12), (ENTRY // 2, 24), (ENTRY, 12)):
        tier.reserve(count, size)
        buffers = [tier.take(size) for _ in range(count)]
        assert len({buffer.data_ptr() for buffer in buffers}) == count
        assert tier.take(size) is None
        known = set(ledger.known)
        for buffer in buffers:
            tier.give_back(buffer)
        tier.reserve(-count, size)
        assert len(known) == 12
    assert ledger.known == known


def test_entries_of_two_sizes_at_once_and_then_of_one():
    """Each size has half of the room. When all buffers are returned, one size gets all of it."""
    tier = shelf_of(8)
    buffers = [tier.take(size) for size in [ENTRY, ENTRY // 2, ENTRY // 2] * 4]
    assert len({buffer.data_ptr() for buffer in buffers}) == 12
    assert tier.take(ENTRY) is None
    for buffer in buffers:
        tier.give_back(buffer)
    assert [tier.take(ENTRY) is None for _ in range(9)] == [False] * 8 + [True]


def test_a_promise_that_a_shelf_cannot_prepare_for_is_no_promise(tmp_path):
    """Staging memory cannot be pinned."""
    ledger = Ledger()
    host, disk = shelf_of(2), StagedDiskTier(str(tmp_path), CPU, ledger)
    ledger.code = 2
    with pytest.raises(StorageError, match="cannot be pinned"):
        reserve([host, disk], 5, ENTRY)
    assert (host.reserved, disk.reserved) == (0, 0)
    assert len(reserve([host, disk], 2, ENTRY)) == 2


def test_pieces_that_would_cost_the_take_its_room_are_unpinned():
    """A piece of one unit holds no entry of three. Room for 4 entries needs new pieces."""
    ledger = Ledger()
    tier = shelf_of(12, ledger)
    for buffer in [tier.take(ENTRY) for _ in range(12)]:
        tier.give_back(buffer)
    before = set(ledger.known)
    large = 3 * ENTRY
    assert [tier.take(large) is None for _ in range(5)] == [False] * 4 + [True]
    assert idle(tier).charged == 4 * large <= tier.max_bytes
    assert len(ledger.known) == len(tier.pages.pieces) < len(before)


def test_pages_are_let_go_with_the_shelf():
    ledger = Ledger()
    tier = shelf_of(20, ledger)
    buffer = tier.take(ENTRY)
    assert ledger.known
    thread = tier.thread.thread
    idle(tier)
    del tier, buffer
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert not ledger.known


def test_a_shelf_that_goes_while_it_pins_leaves_nothing_pinned():
    ledger = Ledger()
    tier = shelf_of(20, ledger)
    ledger.gate.clear()
    tier.reserve(20, ENTRY)
    thread = tier.thread.thread
    del tier
    gc.collect()
    ledger.gate.set()
    thread.join(5)
    assert not thread.is_alive()
    assert not ledger.known


def huge_kilobytes():
    with open("/proc/self/smaps") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages"))


def huge_pages_are_there():
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            return "[never]" not in file.read()
    except OSError:
        return False


@pytest.mark.skipif(not huge_pages_are_there(), reason="needs transparent huge pages")
def test_memory_comes_in_huge_pages():
    before = huge_kilobytes()
    present = present_pages(32 * HUGE_PAGE)
    assert huge_kilobytes() - before >= 30 * HUGE_PAGE // 1024, "only the pages at the ends may be small"
    assert not present.any()


def test_small_pages_do_where_there_are_no_huge_ones(monkeypatch):
    """A kernel without huge pages refuses the advice with an error."""
    monkeypatch.setattr(pages, "MADV_HUGEPAGE", 12345)
    assert present_pages(mmap.PAGESIZE * 4).nbytes == 4 * mmap.PAGESIZE


def test_a_piece_is_cut_into_as_many_buffers_as_it_holds():
    piece = torch.arange(256, dtype=torch.uint8)
    assert [buffer[0].item() for buffer in cut(piece, 60)] == [0, 64, 128, 192]
    assert [len(cut(piece, size)) for size in (256, 193, 128, 65)] == [1, 1, 2, 2]
