"""Text that every encoding of Unicode can hold and a terminal shows as it is: what is no character is written out.

Python keeps a byte of a name or argument that is not UTF-8 as half of a surrogate pair, which no file or database
accepts. `printable` shows it as \\xHH. The name of a file on disk stays as it is; only its text in results changes.
"""

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters, such as the start of a terminal's commands, except tabs and line feeds."""


def printable(text: str) -> str:
    """`text` with \\xHH for a byte that is not UTF-8 and for a control character, and \\uHHHH for another half of a
    surrogate pair."""
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair that is not from a name, such as that of "\\ud800" in JSON
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def is_text(text: str) -> bool:
    """Whether every encoding of Unicode can hold the text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
