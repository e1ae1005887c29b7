"""Turns frames as players show them. Cameras and editors store a video as it was recorded, with a matrix that turns it.

The matrix maps a stored pixel (x, y), y down, to a shown one: x' = a x + c y, y' = b x + d y, up to an offset
(ISO/IEC 14496-12, 8.3.2; the same order as in FFmpeg's libavutil/display.h). Only its directions count, not its scale.
Shapes: frame_HWC is uint8 RGB [height, width, 3].
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longtake.platform.errors import VideoError

MAX_DEGREES = 1.0
"""A matrix within this angle of a multiple of 90 degrees turns by that multiple, as in FFmpeg."""


@dataclass(frozen=True)
class Orientation:
    """How to show a stored frame: first exchange rows and columns, then mirror left to right and top to bottom."""

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def __str__(self) -> str:
        """Empty for a frame that is shown as it is stored."""
        return _NAMES[self.transposed, self.mirrored, self.upside_down]

    def shown_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown, of a stored frame of that width and height."""
        return (height, width) if self.transposed else (width, height)

    def shown(self, frame_HWC: np.ndarray) -> np.ndarray:
        """The frame as shown, a view of the stored one."""
        frame_HWC = frame_HWC.swapaxes(0, 1) if self.transposed else frame_HWC
        return frame_HWC[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


UPRIGHT = Orientation()
_NAMES = {
    (False, False, False): "",
    (True, True, False): "rotated 90 degrees clockwise",
    (False, True, True): "rotated 180 degrees",
    (True, False, True): "rotated 90 degrees counterclockwise",
    (False, True, False): "mirrored left to right",
    (False, False, True): "mirrored top to bottom",
    (True, False, False): "mirrored along the diagonal from the top left",
    (True, True, True): "mirrored along the diagonal from the top right",
}


def orientation_of(frame: Any, path: Path) -> Orientation:
    """The orientation of a decoded frame of PyAV, from its display matrix. Raises VideoError for another angle than
    multiples of 90 degrees."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if matrix is None else from_matrix(path, *struct.unpack("=9i", bytes(matrix)))


def from_matrix(path: Path, a: int, b: int, u: int, c: int, d: int, *rest: int) -> Orientation:
    if not (a or b) or not (c or d):
        return UPRIGHT  # players ignore a matrix that shows nothing
    small = math.tan(math.radians(MAX_DEGREES))
    if abs(b) <= small * abs(a) and abs(c) <= small * abs(d):
        return Orientation(False, a < 0, d < 0)
    if abs(a) <= small * abs(b) and abs(d) <= small * abs(c):
        return Orientation(True, c < 0, b < 0)
    angle = math.degrees(math.atan2(b, a))
    raise VideoError(
        f"{path}: its display matrix turns it by {angle:.0f} degrees; only multiples of 90 are read; encode it again"
    )
