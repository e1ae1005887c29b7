"""Hands latents from the stream that makes them to the thread that decodes them; on a CPU there is nothing to do.

On a GPU the decoding thread has one stream of its own per device, kept for the life of the process (memory freed on a
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
class Parcel:
    """Latents [n, C, H, W], and the event behind which they are there; None where they are there already."""

    latents: Tensor
    ready: torch.cuda.Event | None = None


def send(latents: Tensor) -> Parcel:
    """To be called on the stream that computes the latents; does not wait for them."""
    if latents.device.type != "cuda":
        return Parcel(latents)
    ready = torch.cuda.Event()
    ready.record(torch.cuda.current_stream(latents.device))
    return Parcel(latents, ready)


def wait(parcel: Parcel) -> None:
    """Until the latents are there: the decoding thread has nothing to do before, and its clock should not run."""
    if parcel.ready is not None:
        parcel.ready.synchronize()


@contextmanager
def received(parcel: Parcel) -> Iterator[Tensor]:
    """The latents, inside a block in which the caller's work goes to the decoding stream, behind the event."""
    if parcel.ready is None:
        yield parcel.latents
        return
    stream = decoding_stream(parcel.latents.device)
    with torch.cuda.stream(stream):
        stream.wait_event(parcel.ready)
        with torch.inference_mode():  # outside of it, tensors made inside may not be marked
            parcel.latents.record_stream(stream)
        yield parcel.latents


@cache
def decoding_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
