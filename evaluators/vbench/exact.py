"""The protocol `exact`: every clip is encoded and decoded once more, as VBench-Long's official splitting does.

The encoder settings are those of `torchvision.io.write_video` with PyAV >= 14: H.264, yuv420p, default CRF 23, integer
frame rate. Two settings that it leaves to the machine are fixed, so that equal frames give equal pixels
(`platform/video/x264.py`). Writes nothing to disk.
Shapes: frames uint8 [n, H, W, 3].
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

import av
import numpy as np

from longtake.evaluators.base import Unscorable
from longtake.evaluators.views import ClipView, Frames
from longtake.platform.video.x264 import reproducible_params


class Encoder:
    """Encodes frames as H.264 in memory; `decoded` finishes the video."""

    def __init__(self, fps: int):
        self.fps = fps
        self.file = io.BytesIO()
        self.container: Any = None
        self.stream: Any = None

    def add(self, frame_HWC: Frames) -> None:
        """Raises Unscorable for odd sizes, which yuv420p does not support."""
        if self.container is None:
            self._open(*frame_HWC.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
        self.container.mux(self.stream.encode(frame))

    def _open(self, height: int, width: int) -> None:
        if height % 2 or width % 2:
            raise Unscorable(f"the video is {width}x{height} px; the exact protocol's second encode needs even sides")
        self.container = av.open(self.file, "w", format="mp4")
        self.stream = self.container.add_stream("libx264", rate=self.fps)
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        self.stream.options = {"x264-params": reproducible_params()}

    def decoded(self, batch: int) -> Iterator[Frames]:
        """Yield the decoded frames, at most `batch` at a time."""
        self.container.mux(self.stream.encode(None))
        self.container.close()
        self.file.seek(0)
        with av.open(self.file, "r", format="mp4") as container:
            frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            while part := list(islice(frames, batch)):
                yield np.stack(part)


def encoded_again(view: ClipView) -> ClipView:
    """The clip after a second encode. It shares no pixels with other clips, and its frame rate is an integer."""
    encoder = Encoder(int(view.fps))
    for frame in view.frames:
        encoder.add(frame)
    frames = next(encoder.decoded(len(view)))
    if len(frames) != len(view):
        raise Unscorable(f"the second encode of {len(view)} frames gave {len(frames)} frames")
    frames.flags.writeable = False
    return ClipView(frames, view.start_frame, float(int(view.fps)), view.overlaps)
