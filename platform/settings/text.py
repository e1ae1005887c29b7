"""Reads text files of users line by line. The only place that decides where a line ends."""

from __future__ import annotations

import re
from pathlib import Path

BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without their ends. Raises OSError and UnicodeDecodeError.

    Lines end at LF, CR LF or CR. Other line breaks of Unicode (VT, FF, NEL, U+2028, U+2029) are text: prompts that were
    copied from a word processor have them. A byte-order mark at the start of a line is dropped; files from Windows, and
    several of them joined, have it.
    """
    text = path.read_bytes().decode("utf-8")
    return [line.lstrip(BYTE_ORDER_MARK) for line in _LINE_END.split(text)]
