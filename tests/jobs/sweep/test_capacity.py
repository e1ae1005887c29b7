"""Where a bank will lie, by hand."""

import pytest

from longtake.jobs.sweep.capacity import Need, allocate, check_machine, free_bytes, memory, size
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import GIB, BankCapacity

HALF = GIB // 2


def test_memory_without_a_limit_takes_all() -> None:
    assert allocate(Need(6, HALF), BankCapacity(), on_gpu=False) == {"host": 3 * GIB}


def test_shelves_are_filled_in_order() -> None:
    capacity = BankCapacity(gpu_gib=8, host_gib=24, disk="d")
    need = Need(508, HALF)
    assert allocate(need, capacity, on_gpu=True) == {"gpu": 8 * GIB, "host": 24 * GIB, "disk": 222 * GIB}
    assert allocate(need, capacity, on_gpu=False) == {"host": 24 * GIB, "disk": 230 * GIB}
    assert allocate(Need(10, HALF), capacity, on_gpu=True) == {"gpu": 5 * GIB}


def test_a_shelf_takes_whole_entries() -> None:
    """1.2 GiB hold two entries of half a GiB, so that five of them need a third place."""
    assert allocate(Need(5, HALF), BankCapacity(gpu_gib=1.2, host_gib=1.7), on_gpu=True) == {
        "gpu": GIB,
        "host": 3 * HALF,
    }
    with pytest.raises(ConfigError, match=r"a bank of 3.0 GiB exceeds the available capacity by 512.0 MiB"):
        allocate(Need(6, HALF), BankCapacity(gpu_gib=1.2, host_gib=1.7), on_gpu=True)


def test_no_bank_needs_no_room() -> None:
    assert allocate(Need(0, HALF), BankCapacity(host_gib=0), on_gpu=False) == {}


def test_more_than_the_machine_has_is_refused() -> None:
    check_machine({"host": 10**6}, 2, None)
    with pytest.raises(ConfigError, match=r"the banks of 2 samplers need 2000000.0 GiB of host memory; "):
        check_machine({"host": 10**6 * GIB}, 2, None)


def test_more_than_the_disk_has_free_is_refused(tmp_path: pytest.TempPathFactory) -> None:
    folder = f"{tmp_path}/not/yet/there"
    check_machine({"disk": 10**6}, 1, folder)
    with pytest.raises(ConfigError, match=r"bank.disk: the banks of a sampler need 1000000.0 GiB; .*there has .* free"):
        check_machine({"disk": 10**6 * GIB}, 1, folder)
    assert free_bytes(None) == float("inf")


def test_too_little_room_says_how_much_and_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"254.0 GiB exceeds the available capacity by 230.0 GiB; set"):
        allocate(Need(508, HALF), BankCapacity(host_gib=24), on_gpu=False)


def test_a_limit_that_the_sweep_does_not_say_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"3.0 GiB exceeds the available capacity by 1.0 GiB \(host_gib: 2, half of it\); set"
    ):
        allocate(Need(6, HALF), BankCapacity(host_gib=2), on_gpu=False, host_limit="host_gib: 2, half of it")


def test_sizes_read_well() -> None:
    assert (size(0), size(999), size(1500), size(2.5e9)) == ("-", "999 B", "1.5 kB", "2.5 GB")
    assert (memory(0), memory(1536), memory(3 * GIB)) == ("-", "1.5 KiB", "3.0 GiB")
