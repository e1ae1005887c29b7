"""Streams for copies beside the computing stream, and events that mark the progress of a stream.

A bank uses three streams of its device: `computing`, where the network runs; `out`, for copies away from it (evicted
entries); and `into`, for copies back (entries that the next block attends). Copies in the two directions overlap on a
GPU, which has an engine for each. Inside a block the launching thread waits for none of them; `Event.synchronize`
is for helper threads.

On a CPU the only stream is the calling thread: work is done when the call returns.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor


class Event(Protocol):
    """A point in the work of a stream."""

    def synchronize(self) -> None:
        """Block the calling thread until the stream has passed this point."""


class SideStream(Protocol):
    """A queue of work that runs in order."""

    def opened(self) -> AbstractContextManager[None]:
        """A context in which memory is allocated for this stream and kernels are launched on it."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copy `source` into `target`; neither may be freed or written before the stream has passed this point."""

    def record(self) -> Event:
        """An event after all work queued so far."""

    def wait(self, event: Event) -> None:
        """Work queued from now on begins after `event`."""

    def uses(self, tensor: Tensor) -> None:
        """Declare that work on this stream uses a tensor that was allocated for another stream."""


class Completed:
    """An event of work that is always complete."""

    def synchronize(self) -> None:
        pass


COMPLETED = Completed()


class HostStream:
    """The calling thread as a stream."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def copy(self, target: Tensor, source: Tensor) -> None:
        target.copy_(source)

    def record(self) -> Event:
        return COMPLETED

    def wait(self, event: Event) -> None:
        event.synchronize()

    def uses(self, tensor: Tensor) -> None:
        pass


class CudaStream:
    """A stream of a CUDA device; None: the stream that is current when it is used."""

    def __init__(self, device: torch.device, stream: torch.cuda.Stream | None = None):
        self.device, self.own = device, stream

    @property
    def stream(self) -> torch.cuda.Stream:
        return self.own or torch.cuda.current_stream(self.device)

    @contextmanager
    def opened(self) -> Iterator[None]:
        with torch.cuda.stream(self.stream):
            yield

    def copy(self, target: Tensor, source: Tensor) -> None:
        with torch.cuda.stream(self.stream):
            target.copy_(source, non_blocking=True)

    def record(self) -> Event:
        event = torch.cuda.Event(blocking=True)  # a waiting thread sleeps instead of polling
        event.record(self.stream)
        return event

    def wait(self, event: Event) -> None:
        assert isinstance(event, torch.cuda.Event)
        self.stream.wait_event(event)

    def uses(self, tensor: Tensor) -> None:
        tensor.record_stream(self.stream)


@dataclass(frozen=True)
class Streams:
    """The streams of one device, as a bank sees them."""

    computing: SideStream
    out: SideStream
    into: SideStream


@cache
def side_stream(device: torch.device, direction: str) -> torch.cuda.Stream:
    """One stream per device and direction for all banks: torch's allocator does not share memory between streams."""
    return torch.cuda.Stream(device)


def streams_of(device: torch.device) -> Streams:
    if device.type != "cuda":
        return Streams(HostStream(), HostStream(), HostStream())
    out, into = (CudaStream(device, side_stream(device, direction)) for direction in ("out", "into"))
    return Streams(CudaStream(device), out, into)
