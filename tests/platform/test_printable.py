"""Names with bytes that are not UTF-8 become text that every file can hold, and other text stays as it is."""

import os

import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.printable import is_text, printable
from longtake.platform.store.durable import json_bytes


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"b\xe9.mp4"), "b\\xe9.mp4"),  # é in Latin-1
        (os.fsdecode("bé.mp4".encode()), "bé.mp4"),
        ("\udcc3\udca9", "é"),  # é in UTF-8, as Python reads a name under LC_ALL=C without UTF-8 mode
        ("\ud800a", "\\ud800a"),  # half of a pair from JSON
        ("\U0001f600", "\U0001f600"),
        ("a\x1b[31m\x00\x9b", "a\\x1b[31m\\x00\\x9b"),  # commands to a terminal
    ],
)
def test_what_is_no_character_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert is_text(printable(name))
    assert is_text(name) == ("\\ud" not in ascii(name))


def test_every_error_is_printable() -> None:
    assert str(ConfigError("a\udce9: no such file")) == "a\\xe9: no such file"


def test_json_holds_half_of_a_pair_as_its_own_escape() -> None:
    assert json_bytes(["é\udce9"]) == '[\n  "é\\udce9"\n]\n'.encode()
