"""An HTTP protocol under which connections that send no request never shut others out.

A connection is idle from its start, or the end of its latest response, to the end of the headers of its next request.
It may be idle for IDLE_SECONDS. If more than `limit` are idle, the one that has been so for longest is closed, so that
a new connection is served however many others are held half open. Imports uvicorn; loaded when the server starts.
"""

import asyncio
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS = 10.0
MAX_IDLE = 256
MAX_ACCEPTED = 64
"""Connections that the event loop accepts before it handles them."""


def idle_limit() -> int:
    """At most MAX_IDLE, and a quarter of the files that this process may open."""
    return max(1, min(MAX_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


class IdleLimit(H11Protocol):
    """One connection. `idle`: the idle connections of this process, the longest idle first."""

    limit: ClassVar[int] = idle_limit()
    idle: ClassVar[dict["IdleLimit", asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.update()
        while len(self.idle) > self.limit:
            next(iter(self.idle)).drop()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.update()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.update()

    def connection_lost(self, exc: Exception | None) -> None:
        self.set_busy()
        super().connection_lost(exc)

    def update(self) -> None:
        """Start the clock of an idle connection; more bytes of its headers do not start it again."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.set_busy()
        elif self not in self.idle and not self.transport.is_closing():
            self.idle[self] = self.loop.call_later(IDLE_SECONDS, self.drop)

    def set_busy(self) -> None:
        timer: Any = self.idle.pop(self, None)
        if timer is not None:
            timer.cancel()

    def drop(self) -> None:
        self.set_busy()
        self.transport.abort()
