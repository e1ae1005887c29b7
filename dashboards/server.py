"""The HTTP server of the dashboard; the only importer of uvicorn. Connections that send no request shut nobody out.

A connection is idle from its start, or the end of its latest response, to the end of the headers of its next request.
It may be idle for IDLE_SECONDS. If too many are idle, the one that has been so for longest is closed, so that a new
connection is served however many others are held half open.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from types import FrameType
from typing import Any

from longtake.dashboards.guard import App

IDLE_SECONDS = 10.0
MAX_IDLE = 256
MAX_ACCEPTED = 64
"""Connections that the event loop accepts before it handles them."""


def serve(application: App, sock: socket.socket, ending: threading.Event) -> None:
    """Serve on an open socket until SIGINT or SIGTERM, which uvicorn re-raises as KeyboardInterrupt. Sets `ending`
    first, because a server waits for its streams."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            ending.set()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        application,
        http=protocol_of(IdleConnections(idle_limit())),
        backlog=MAX_ACCEPTED,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    Server(config).run(sockets=[sock])


def idle_limit() -> int:
    """At most MAX_IDLE, and a quarter of the files that this process may open."""
    return max(1, min(MAX_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


class IdleConnections:
    """The idle connections, the longest idle first, each with the timer that closes it."""

    def __init__(self, limit: int, seconds: float = IDLE_SECONDS) -> None:
        self.limit, self.seconds = limit, seconds
        self.timers: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Start the clock of a connection, unless it runs; close the longest idle one if there are too many."""
        if transport not in self.timers and not transport.is_closing():
            self.timers[transport] = asyncio.get_running_loop().call_later(self.seconds, self.close, transport)
        while len(self.timers) > self.limit:
            self.close(next(iter(self.timers)))

    def remove(self, transport: asyncio.Transport) -> None:
        timer = self.timers.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def close(self, transport: asyncio.Transport) -> None:
        self.remove(transport)
        transport.abort()


def protocol_of(idle: IdleConnections) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, which keeps `idle` up to date."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class IdleLimit(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.update()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.update()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.update()

        def connection_lost(self, exc: Exception | None) -> None:
            idle.remove(self.transport)
            super().connection_lost(exc)

        def update(self) -> None:
            """More bytes of headers do not start the clock again."""
            is_busy = self.cycle is not None and not self.cycle.response_complete
            idle.remove(self.transport) if is_busy else idle.add(self.transport)

    return IdleLimit
