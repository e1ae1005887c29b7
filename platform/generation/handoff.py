"""Hands latents from the stream that makes them to the thread that decodes them; on a CPU there is nothing to do.

On a GPU the decode threads share one stream per device, kept for the life of the process (memory freed on a
stream is used again on that one only). The stream waits for an event behind the block and the generating thread waits
for nothing. Bringing latents to a second device is the decoder's affair.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentHandoff:
    """Latents [n, C, H, W], and the event behind which they are there; None where they are there already."""

    latents: Tensor
    ready: torch.cuda.Event | None = None


def send(latents: Tensor) -> LatentHandoff:
    """To be called on the stream that computes the latents; does not wait for them."""
    if latents.device.type != "cuda":
        return LatentHandoff(latents)
    ready = torch.cuda.Event()
    ready.record(torch.cuda.current_stream(latents.device))
    return LatentHandoff(latents, ready)


def wait(sent: LatentHandoff) -> None:
    """Until the latents are there: the decode thread has nothing to do before, and its clock should not run."""
    if sent.ready is not None:
        sent.ready.synchronize()


@contextmanager
def received(sent: LatentHandoff) -> Iterator[Tensor]:
    """The latents, inside a block in which the caller's work goes to the decode stream, behind the event."""
    if sent.ready is None:
        yield sent.latents
        return
    stream = decode_stream(sent.latents.device)
    with torch.cuda.stream(stream):
        stream.wait_event(sent.ready)
        with torch.inference_mode():  # outside of it, tensors made inside may not be marked
            sent.latents.record_stream(stream)
        yield sent.latents


@cache
def decode_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
