"""One clip of a video and the intermediate results that metrics share.

A view borrows its frames and caches products that it computes on demand (small frames, grey, thumbnails, optical flow),
so that several metrics share one computation. It never outlives its clip and stores no other data of full size. Frames
are only ever shrunk, by area averaging.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
P = TypeVar("P")

FLOW_SHORT_SIDE_PX = 256
THUMB_PX = 128


def set_one_thread() -> None:
    """Disable OpenCV's thread pool in this process, so that scores do not depend on the number of cores."""
    cv2.setNumThreads(1)


def shrink(frame: Frames, width: int, height: int) -> Frames:
    """The frame resized to width x height by area averaging, or the frame itself if it has that size."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def size_within(width: int, height: int, *, short_px: int = 0, long_px: int = 0) -> tuple[int, int]:
    """(width, height) scaled down to the given shorter or longer side; never up."""
    scale = min(
        1.0, short_px / min(width, height) if short_px else 1.0, long_px / max(width, height) if long_px else 1.0
    )
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(eq=False)
class ClipView:
    """`frames`: uint8 [n, H, W, 3] RGB, read-only and borrowed; `overlaps`: whether it is a last clip that overlaps the
    clip before; `shared`: number of first frames that are pixel-identical to the last ones of the view before."""

    frames: Frames
    start_frame: int
    fps: float
    overlaps: bool = False
    shared: int = 0
    products: dict[str, Any] = field(default_factory=dict)

    def product(self, name: str, make: Callable[[], P]) -> P:
        """The result of `make`, computed once for all metrics that use this name and freed with the view."""
        if name not in self.products:
            self.products[name] = make()
        return self.products[name]

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def small_NHWC(self) -> Frames:
        """uint8 [n, h, w, 3] with shorter side <= 256 px, for optical flow and histograms."""
        height, width = self.frames.shape[1:3]
        size = size_within(width, height, short_px=FLOW_SHORT_SIDE_PX)
        return np.stack([shrink(f, *size) for f in self.frames])

    @cached_property
    def small_grey_NHW(self) -> Frames:
        return np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in self.small_NHWC])

    @cached_property
    def thumbs_NHWC(self) -> Frames:
        """uint8 [n, 128, 128, 3], aspect ratio not kept, for the descriptors."""
        return np.stack([self._thumb(f) for f in self.small_NHWC])

    @staticmethod
    def _thumb(frame: Frames) -> Frames:
        grows = frame.shape[0] < THUMB_PX or frame.shape[1] < THUMB_PX
        how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
        return np.asarray(cv2.resize(frame, (THUMB_PX, THUMB_PX), interpolation=how), dtype=np.uint8)

    @cached_property
    def _flows(self) -> dict[tuple[int, int], NDArray[np.float32]]:
        return {}

    @cached_property
    def _dis(self) -> Any:
        return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(self, i: int, j: int) -> NDArray[np.float32]:
        """Dense flow [h, w, 2] in small pixels, from frame i to frame j (DIS, preset medium); cached."""
        if (i, j) not in self._flows:
            self._flows[i, j] = self._dis.calc(self.small_grey_NHW[i], self.small_grey_NHW[j], None)
        return self._flows[i, j]
