"""Where a bank will lie, by hand."""

import pytest

from longtake.jobs.room import check_memory, spread
from longtake.platform.errors import ConfigError
from longtake.platform.resources import GIB, BankRoom


def test_memory_without_a_limit_takes_all() -> None:
    assert spread(3 * GIB, BankRoom(), on_gpu=False) == {"host": 3 * GIB}


def test_shelves_are_filled_in_order() -> None:
    room = BankRoom(gpu_gib=8, host_gib=24, disk="d")
    assert spread(254 * GIB, room, on_gpu=True) == {"gpu": 8 * GIB, "host": 24 * GIB, "disk": 222 * GIB}
    assert spread(254 * GIB, room, on_gpu=False) == {"host": 24 * GIB, "disk": 230 * GIB}
    assert spread(5 * GIB, room, on_gpu=True) == {"gpu": 5 * GIB}


def test_no_bank_needs_no_room() -> None:
    assert spread(0, BankRoom(host_gib=0), on_gpu=False) == {}


def test_more_than_the_machine_has_is_refused() -> None:
    check_memory({"host": 1e6, "disk": 1e15})
    with pytest.raises(
        ConfigError, match=r"takes 1000000.0 GiB of host memory, this machine has [0-9.]+; name workers"
    ):
        check_memory({"host": 1e6 * GIB})


def test_too_little_room_says_how_much_and_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"254.0 GiB does not fit, 230.0 GiB are left over; name workers.bank.disk"):
        spread(254 * GIB, BankRoom(host_gib=24), on_gpu=False)
