"""What tells that a video is damaged although it decodes: rules of the bit stream, and checksums inside it.

Owns two signs. H.264 and HEVC, as MP4 and Matroska hold them, put NAL units into a packet, each behind its length; the
lengths fill the packet, and no unit holds the bytes that an encoder must escape (ITU-T H.264 and H.265, 7.4.1). And of
what carries checksums (the slices of FFV1, the picture hashes of HEVC) the decoder says in its log when one is wrong. A
changed bit that breaks neither still decodes: only a checksum of the whole file finds it.
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
    """Bytes of the length before each NAL unit in a packet; 0 for other codecs, and for units between start codes."""
    if codec == "h264" and len(extradata) >= 7 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) >= 23 and (extradata[0], extradata[1], extradata[2]) != (0, 0, 0):
        return (extradata[21] & 3) + 1
    return 0


def is_damaged(packet: bytes, length_size: int) -> bool:
    """Whether a packet breaks the rules of NAL units; zeros behind a unit are padding that some programs leave."""
    at = 0
    while at < len(packet):
        start = at + length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at > len(packet) or FORBIDDEN.search(packet[start:at].rstrip(b"\0")):
            return True
    return False


@contextmanager
def wrong_checksums() -> Iterator[list[str]]:
    """What the decoder says inside of checksums that do not match; filled when the block ends."""
    found: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as logs:  # decoders have threads of their own
            yield found
        found += [" ".join(text.split()) for _, _, text in logs if WRONG_CHECKSUM.search(text)]
    finally:
        av.logging.set_level(level)
