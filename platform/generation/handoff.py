"""Passes latents from the stream that computes them to the thread that decodes them. Does nothing on a CPU.

On a GPU, decode threads share one stream per device for the life of the process, because memory that is freed on a
stream is reused on that stream only. The decode stream waits for an event after the block; the generating thread does
not wait. The decoder itself moves latents to a second device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentHandoff:
    """Latents [n, C, H, W], and the event after which they can be read; None if they can be read now."""

    latents: Tensor
    ready: torch.cuda.Event | None = None


def send(latents: Tensor) -> LatentHandoff:
    """Call this on the stream that computes the latents. Does not wait for them."""
    if latents.device.type != "cuda":
        return LatentHandoff(latents)
    ready = torch.cuda.Event()
    ready.record(torch.cuda.current_stream(latents.device))
    return LatentHandoff(latents, ready)


def wait(sent: LatentHandoff) -> None:
    """Wait until the latents are computed. Called before the decode thread starts its clock."""
    if sent.ready is not None:
        sent.ready.synchronize()


@contextmanager
def received(sent: LatentHandoff) -> Iterator[Tensor]:
    """Yield the latents in a context in which the caller's work runs on the decode stream, after the event."""
    if sent.ready is None:
        yield sent.latents
        return
    stream = decode_stream(sent.latents.device)
    with torch.cuda.stream(stream):
        stream.wait_event(sent.ready)
        with torch.inference_mode():  # inference tensors can be recorded only in inference mode
            sent.latents.record_stream(stream)
        yield sent.latents


@cache
def decode_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
