"""A bank under random calls, while copies lag and helper threads are late: every read is correct, bit for bit.

The reference is a dictionary of clones. Memory that a caller may overwrite is overwritten at once.
"""

import random
import threading
import time
import zlib

import pytest
import torch

from longtake.platform.generation.bank.bank import Bank
from longtake.platform.generation.bank.disk import DiskTier, StagedDiskTier
from longtake.platform.generation.bank.packing import pack, packed_bytes, unpack
from longtake.platform.generation.bank.pages import NoPinning
from longtake.platform.generation.bank.pinned import PinnedTier
from longtake.platform.generation.bank.streams import streams_of
from longtake.platform.generation.bank.tier import MemoryTier
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.methods.base import BANK_DTYPES
from tests.platform.generation.bank.lagging_stream import LaggingStream, lagging_streams, streams_beside_the_host

CPU = torch.device("cpu")
SHAPE = (2, 3, 5, 4, 8)
ROOMS = ("memory", "host", "host+disk", "disk", "all", "mapped")


def shelves_of(max_bytes, entry_bytes, folder):
    """Tiers as on a GPU machine, without the driver: `memory` is read in place, `host` and `disk` are copied."""
    few = 6.5 * entry_bytes
    memory = MemoryTier(CPU, few if max_bytes == "all" else 1e9)
    host = PinnedTier(CPU, 1e9 if max_bytes == "host" else few, NoPinning())
    disk = DiskTier(str(folder)) if max_bytes == "mapped" else StagedDiskTier(str(folder), CPU, NoPinning())
    wanted = {"memory": [memory], "host": [host], "host+disk": [host, disk], "disk": [disk], "mapped": [disk]}
    return wanted.get(max_bytes, [memory, host, disk])


def work():
    """A few milliseconds of computation."""
    zlib.compress(random.Random(0).randbytes(200_000), 9)


class Trial:
    """Random calls on a bank with `rows` rows and at most `budget` frames per row."""

    def __init__(self, bank, seed, rows, budget):
        self.bank, self.rows, self.budget = bank, rows, budget
        self.random, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.expected, self.frame = {}, 0
        self.free, self.put_now, self.moving = [], [], []
        self.failed, self.reads = [], 0

    @property
    def lags(self):
        return isinstance(self.bank.streams.computing, LaggingStream)

    def compute(self, work):
        """Run work on the computing stream."""
        self.bank.streams.computing.run(work) if self.lags else work()

    def put(self):
        value = torch.randn(*SHAPE[:2], self.rows, *SHAPE[2:], generator=self.generator).to(self.bank.compute)
        frame = self.free.pop() if self.free else torch.empty_like(value)
        self.compute(lambda: frame.copy_(value))
        for row in range(self.rows):
            self.bank.put((row, self.frame), frame[:, :, row])
            packed = pack(value[:, :, row].clone(), self.bank.dtype)
            self.expected[row, self.frame] = unpack(packed, self.bank.compute)
        self.put_now.append(frame)
        self.frame += 1

    def flush(self):
        self.bank.flush()
        self.moving += self.put_now
        self.put_now.clear()

    def join(self):
        """Join, then overwrite what was moved."""
        self.bank.join()
        for frame in self.moving:
            self.compute(lambda frame=frame: frame.fill_(-7))
        self.free += self.moving
        self.moving.clear()

    def entry(self, key):
        entry, expected = self.bank.entry(key), self.expected[key]
        self.reads += 1

        def check():
            if not torch.equal(entry, expected):
                self.failed.append(key)

        self.compute(check)

    def drop(self, key):
        self.bank.drop(key)
        del self.expected[key]

    def keep_threads_busy(self):
        for tier in self.bank.tiers:
            for name in ("writer", "reader"):
                if hasattr(tier, name) and self.random.random() < 0.2:
                    getattr(tier, name).submit(work)

    def step(self):
        known = list(self.expected)
        call = self.random.choice(["put", "flush", "join", "mark", "prefetch", "entry", "entry", "drop"])
        if call in ("put", "flush", "join"):
            getattr(self, call)()
        elif call == "mark":
            self.bank.mark()
        elif call == "prefetch":
            self.bank.prefetch([*self.random.sample(known, min(len(known), 6)), (0, -1)])
        elif known:
            getattr(self, call)(self.random.choice(known))
        while len(self.expected) > self.budget * self.rows:
            self.drop(next(iter(self.expected)))
        self.keep_threads_busy()

    def run(self, steps):
        for _ in range(steps):
            self.step()
        for key in list(self.expected):
            self.entry(key)
        assert len(self.bank) == len(self.expected)
        streams = self.bank.streams
        for stream in (streams.computing, streams.out, streams.into):
            stream.record().synchronize()
        return self.failed


def end(bank):
    bank.close()
    assert not any(tier.used for tier in bank.tiers)
    for stream in (bank.streams.computing, bank.streams.out, bank.streams.into):
        if isinstance(stream, LaggingStream):
            stream.end()


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", ROOMS)
@pytest.mark.parametrize("seed", range(2))
def test_every_read_is_right_while_all_streams_lag(max_bytes, seed, tmp_path):
    tiers = shelves_of(max_bytes, 4 * 960, tmp_path)
    for take in range(2):  # the second take reuses the buffers of the first
        bank = Bank(tiers, torch.float32, torch.float32, CPU, lagging_streams())
        trial = Trial(bank, 10 * seed + take, rows=1 + seed, budget=12)
        assert trial.run(160) == []
        assert trial.reads > 20
        end(bank)


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", ROOMS)
@pytest.mark.parametrize("name", BANK_DTYPES)
def test_every_read_is_right_in_every_dtype(max_bytes, name, tmp_path):
    """Packing and unpacking run in the calling thread, so only copies lag. Takes with two dtypes share the shelves."""
    dtype = torch_dtype(name)
    tiers = shelves_of(max_bytes, packed_bytes(SHAPE, torch.bfloat16, dtype), tmp_path)
    for take, stored in enumerate((dtype, torch.float32)):
        bank = Bank(tiers, stored, torch.bfloat16, CPU, streams_beside_the_host())
        assert Trial(bank, take, rows=2, budget=12).run(80) == []
        end(bank)


@pytest.mark.parametrize("max_bytes", ROOMS)
def test_every_read_is_right_as_a_cpu_runs_it(max_bytes, tmp_path):
    bank = Bank(shelves_of(max_bytes, 4 * 960, tmp_path), torch.float32, torch.float32, CPU, streams_of(CPU))
    assert Trial(bank, 5, rows=2, budget=9).run(200) == []
    end(bank)


@pytest.mark.parametrize(
    ("deaf", "max_bytes"), [("computing", "host"), ("out", "memory"), ("out", "host"), ("into", "host")]
)
def test_a_stream_that_does_not_wait_is_noticed(deaf, max_bytes, tmp_path):
    """Every wait is needed: without those of one stream, reads are wrong."""
    bank = Bank(
        shelves_of(max_bytes, 4 * 960, tmp_path), torch.float32, torch.float32, CPU, lagging_streams(deaf=[deaf])
    )
    assert Trial(bank, 0, rows=1, budget=8).run(300)
    end(bank)


def held(stream):
    """Block a stream, or a thread of a tier, until the event is set."""
    gate = threading.Event()
    (stream.run if isinstance(stream, LaggingStream) else stream.submit)(lambda: gate.wait(30))
    return gate


def bank_with_an_entry(tier):
    bank = Bank([tier], torch.float32, torch.float32, CPU, lagging_streams())
    bank.put((0, 0), torch.full(SHAPE, 1.0))
    bank.flush()
    bank.join()
    return bank


def test_a_buffer_is_not_written_while_it_is_read_in_place():
    """The read is queued after the mark, and the next entry gets the same buffer."""
    bank = bank_with_an_entry(MemoryTier(CPU, 1e9))
    bank.put((0, 1), torch.full(SHAPE, 2.0))
    bank.mark()
    gate, seen = held(bank.streams.computing), []
    entry = bank.entry((0, 0))
    bank.streams.computing.run(lambda: seen.append(entry.clone()))
    bank.drop((0, 0))
    bank.flush()
    time.sleep(0.05)
    gate.set()
    end(bank)
    assert torch.equal(seen[0], torch.full(SHAPE, 1.0))


def test_a_buffer_is_not_written_while_it_is_fetched():
    bank = bank_with_an_entry(PinnedTier(CPU, 1e9, NoPinning()))
    gate = held(bank.streams.into)
    bank.prefetch([(0, 0)])
    fetched = bank.staged[0, 0]
    bank.drop((0, 0))
    bank.put((0, 1), torch.full(SHAPE, 2.0))
    bank.flush()
    assert bank.tiers[0].held == 4 * 960, "the second entry reuses the buffer of the first"
    time.sleep(0.05)
    gate.set()
    end(bank)
    assert torch.equal(fetched.packed.data, torch.full(SHAPE, 1.0))


def test_a_place_in_the_file_is_not_given_back_while_it_is_read(tmp_path):
    """The reading thread waits for the write of the entry, which is blocked."""
    tier = StagedDiskTier(str(tmp_path), CPU, NoPinning())
    gate = held(tier.writer)
    bank = bank_with_an_entry(tier)
    bank.prefetch([(0, 0)])
    while not bank.staged[0, 0].launched.running():
        time.sleep(0.001)
    dropping = threading.Thread(target=bank.drop, args=[(0, 0)])
    dropping.start()
    dropping.join(0.05)
    assert dropping.is_alive()
    assert tier.used == 4 * 960
    gate.set()
    dropping.join(30)
    assert tier.used == 0
    end(bank)


def test_an_entry_on_its_way_to_the_file_is_read_right(tmp_path):
    tier = StagedDiskTier(str(tmp_path), CPU, NoPinning())
    gate = held(tier.writer)
    bank = bank_with_an_entry(tier)
    threading.Timer(0.5, gate.set).start()
    entry = bank.entry((0, 0))
    bank.streams.computing.record().synchronize()
    assert torch.equal(entry, torch.full(SHAPE, 1.0))
    assert tier.waited_seconds > 0.1
    end(bank)
