"""Detects damage in a video that still decodes, from the rules of the bit stream and from embedded checksums.

In MP4 and Matroska, a packet of H.264 or HEVC is a sequence of NAL units, each after its length. The lengths fill the
packet, and no unit contains the bytes that an encoder must escape (ITU-T H.264 and H.265, 7.4.1). For streams with
checksums (the slices of FFV1, the picture hashes of HEVC), the decoder logs a mismatch. Only a checksum of the whole
file detects a changed bit that breaks neither rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import av

FORBIDDEN = re.compile(rb"\x00\x00(?:[\x00-\x02]|\x03[^\x00-\x03])", re.DOTALL)
WRONG_CHECKSUM = re.compile(r"\b(?:crc|md5|checksum)\b", re.IGNORECASE)
CHECK_OPTIONS = {"err_detect": "crccheck"}
STOP_OPTIONS = {"err_detect": "explode"}  # raise an error instead of concealing what cannot be decoded


def length_bytes(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit in a packet; 0 for other codecs and for units between start codes."""
    if codec == "h264" and len(extradata) >= 7 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) >= 23 and (extradata[0], extradata[1], extradata[2]) != (0, 0, 0):
        return (extradata[21] & 3) + 1
    return 0


def is_damaged(packet: bytes, length_size: int) -> bool:
    """Whether a packet breaks the rules of NAL units. Zeros after a unit are padding that some programs write."""
    at = 0
    while at < len(packet):
        start = at + length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at > len(packet) or FORBIDDEN.search(packet[start:at].rstrip(b"\0")):
            return True
    return False


@contextmanager
def wrong_checksums() -> Iterator[list[str]]:
    """The decoder's log lines about wrong checksums; the list is filled when the `with` block ends."""
    mismatches: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as logs:  # decoders have threads of their own
            yield mismatches
        mismatches += [" ".join(text.split()) for _, _, text in logs if WRONG_CHECKSUM.search(text)]
    finally:
        av.logging.set_level(level)
