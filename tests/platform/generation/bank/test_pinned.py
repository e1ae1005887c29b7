"""Memory is pinned in advance: how much, when, and how errors are raised. Only the driver is missing here."""

import gc
import mmap
import threading

import pytest
import torch

from longtake.platform.errors import StorageError
from longtake.platform.generation.bank import pages
from longtake.platform.generation.bank.disk import StagedDiskShelf
from longtake.platform.generation.bank.pages import HUGE_PAGE, NoPinning, PinnedPages, present_pages
from longtake.platform.generation.bank.pinned import READY_ENTRIES, PinnedShelf, cut
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
    return PinnedShelf(CPU, entries * ENTRY, ledger or Ledger())


def idle(shelf):
    """Wait until the helper is idle."""
    if shelf.growing is not None:
        shelf.growing.exception()
    return shelf


def pinned_entries(shelf):
    return idle(shelf).charged // ENTRY


def test_buffers_are_disjoint_aligned_and_all_of_the_room():
    shelf = shelf_of(30)
    buffers = [shelf.take(ENTRY) for _ in range(30)]
    assert shelf.take(ENTRY) is None
    assert len({buffer.data_ptr() // ENTRY for buffer in buffers}) == 30
    assert all(buffer.data_ptr() % 64 == 0 and buffer.nbytes == ENTRY for buffer in buffers)
    assert (shelf.used, shelf.held, pinned_entries(shelf)) == (30 * ENTRY, 30 * ENTRY, 30)


def test_a_few_entries_are_pinned_ahead_by_the_helper_alone():
    """Entry by entry until 8 are ready: 8 at first, 11 once three are taken."""
    ledger = Ledger()
    shelf = shelf_of(100, ledger)
    shelf.reserve(90, ENTRY)
    assert pinned_entries(shelf) == READY_ENTRIES
    for _ in range(3):
        shelf.take(ENTRY)
    assert pinned_entries(shelf) == READY_ENTRIES + 3
    assert ledger.threads == {"bank-pinning"}


def test_all_that_is_reserved_can_be_pinned_before_the_first_block():
    ledger = Ledger()
    shelf = shelf_of(100, ledger)
    shelf.reserve(30, ENTRY)
    shelf.fill(ENTRY)
    assert pinned_entries(shelf) == 30
    pieces = len(ledger.known)
    for _ in range(30):
        shelf.take(ENTRY)
    assert (pinned_entries(shelf), len(ledger.known)) == (30, pieces)
    assert ledger.threads == {"bank-pinning"}


def test_no_more_is_pinned_than_the_take_needs():
    shelf = shelf_of(100)
    shelf.reserve(10, ENTRY)
    for _ in range(10):
        shelf.take(ENTRY)
    assert pinned_entries(shelf) == 10


def test_taking_waits_only_while_the_helper_is_behind():
    ledger = Ledger()
    shelf = shelf_of(100, ledger)
    shelf.reserve(50, ENTRY)
    idle(shelf)
    ledger.gate.clear()
    for _ in range(READY_ENTRIES):
        shelf.take(ENTRY)
    assert shelf.waited_seconds < 0.5
    threading.Timer(1.0, ledger.gate.set).start()
    assert shelf.take(ENTRY) is not None
    assert shelf.waited_seconds > 0.5


def test_what_cannot_be_pinned_is_one_line_at_the_next_take_and_then_forgotten():
    ledger = Ledger()
    shelf = shelf_of(100, ledger)
    first = shelf.take(ENTRY)
    idle(shelf)
    ledger.code = 2
    while len(shelf.ready[ENTRY]) >= READY_ENTRIES:
        shelf.take(ENTRY)  # the last one starts pinning, which fails
    idle(shelf)
    used = shelf.used
    with pytest.raises(StorageError) as raised:
        shelf.take(ENTRY)
    assert str(raised.value) == (
        "bank: 2.1 MB of host memory after 0.0 GiB cannot be pinned (CUDA error 2); lower workers.bank.host_gib"
    )
    assert shelf.used == used, "no buffer was handed out"
    ledger.code = 0
    assert shelf.take(ENTRY) is not None
    shelf.give_back(first)


def test_what_could_not_be_pinned_ahead_of_a_take_that_has_ended_is_forgotten():
    ledger = Ledger()
    shelf = shelf_of(100, ledger)
    ledger.code = 2
    shelf.reserve(20, ENTRY)
    idle(shelf)
    shelf.finish()
    shelf.reserve(-20, ENTRY)
    ledger.code = 0
    shelf.reserve(20, ENTRY)
    assert shelf.take(ENTRY) is not None


def test_the_very_first_entry_fails_as_plainly():
    ledger = Ledger()
    ledger.code = 2
    shelf = shelf_of(100, ledger)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"cannot be pinned \(CUDA error 2\)"):
            shelf.take(ENTRY)
    assert (shelf.used, shelf.held, shelf.pages.num_bytes) == (0, 0, 0)


def test_more_than_the_address_space_is_one_line():
    with pytest.raises(
        StorageError, match=r"MB of host memory after 0.0 GiB cannot be allocated \(.*\); lower workers.bank"
    ):
        PinnedPages(NoPinning()).allocate(2**46)


def test_pinned_pieces_serve_entries_of_another_size():
    """Twelve entries become 24 halves, and back. Nothing is pinned again."""
    ledger = Ledger()
    shelf = shelf_of(12, ledger)
    for size, count in ((ENTRY, 12), (ENTRY // 2, 24), (ENTRY, 12)):
        shelf.reserve(count, size)
        buffers = [shelf.take(size) for _ in range(count)]
        assert len({buffer.data_ptr() for buffer in buffers}) == count
        assert shelf.take(size) is None
        known = set(ledger.known)
        for buffer in buffers:
            shelf.give_back(buffer)
        shelf.reserve(-count, size)
        assert len(known) == 12
    assert ledger.known == known


def test_entries_of_two_sizes_at_once_and_then_of_one():
    """Each size has half of the room. When all buffers are returned, one size gets all of it."""
    shelf = shelf_of(8)
    buffers = [shelf.take(size) for size in [ENTRY, ENTRY // 2, ENTRY // 2] * 4]
    assert len({buffer.data_ptr() for buffer in buffers}) == 12
    assert shelf.take(ENTRY) is None
    for buffer in buffers:
        shelf.give_back(buffer)
    assert [shelf.take(ENTRY) is None for _ in range(9)] == [False] * 8 + [True]


def test_a_promise_that_a_shelf_cannot_prepare_for_is_no_promise(tmp_path):
    """Staging memory cannot be pinned."""
    ledger = Ledger()
    host, disk = shelf_of(2), StagedDiskShelf(str(tmp_path), CPU, ledger)
    ledger.code = 2
    with pytest.raises(StorageError, match="cannot be pinned"):
        reserve([host, disk], 5, ENTRY)
    assert (host.reserved, disk.reserved) == (0, 0)
    assert len(reserve([host, disk], 2, ENTRY)) == 2


def test_pieces_that_would_cost_the_take_its_room_are_unpinned():
    """A piece of one unit holds no entry of three. Room for 4 entries needs new pieces."""
    ledger = Ledger()
    shelf = shelf_of(12, ledger)
    for buffer in [shelf.take(ENTRY) for _ in range(12)]:
        shelf.give_back(buffer)
    before = set(ledger.known)
    large = 3 * ENTRY
    assert [shelf.take(large) is None for _ in range(5)] == [False] * 4 + [True]
    assert idle(shelf).charged == 4 * large <= shelf.room
    assert len(ledger.known) == len(shelf.pages.pieces) < len(before)


def test_pages_are_let_go_with_the_shelf():
    ledger = Ledger()
    shelf = shelf_of(20, ledger)
    buffer = shelf.take(ENTRY)
    assert ledger.known
    thread = shelf.thread.thread
    idle(shelf)
    del shelf, buffer
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert not ledger.known


def test_a_shelf_that_goes_while_it_pins_leaves_nothing_pinned():
    ledger = Ledger()
    shelf = shelf_of(20, ledger)
    ledger.gate.clear()
    shelf.reserve(20, ENTRY)
    thread = shelf.thread.thread
    del shelf
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
