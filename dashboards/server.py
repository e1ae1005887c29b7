"""The HTTP server of the dashboard; the only importer of uvicorn. Connections that send no request shut nobody out.

A connection is idle from its start, or the end of its latest response, to the end of the headers of its next request.
It may be idle for IDLE_SECONDS. If too many are idle, the one that has been so for longest is closed, so that a new
connection is served however many others are held half open. A complete response that its reader has not taken yet is
no idle time: it is cut off only if none of its bytes is taken for MAX_STALLS times IDLE_SECONDS.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

from longtake.dashboards.guard import App

IDLE_SECONDS = 10.0
MAX_STALLS = 6
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


@dataclass(slots=True)
class Wait:
    """The timer of a connection, the bytes of its response that were unsent when it was last looked at, and in how many
    looks since then none of them was sent."""

    timer: asyncio.TimerHandle
    unsent: int
    stalls: int = 0


class IdleConnections:
    """The connections without a request in progress, the oldest first, each with the timer that closes it.

    A connection is idle, or delivers the rest of a response to a slow reader. There are at most `limit` of each kind.
    """

    def __init__(self, limit: int, seconds: float = IDLE_SECONDS) -> None:
        self.limit, self.seconds = limit, seconds
        self.waits: dict[asyncio.Transport, Wait] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Start the clock of a connection, unless it runs; close the oldest of a kind that has too many."""
        unsent = transport.get_write_buffer_size()
        if transport not in self.waits and (unsent or not transport.is_closing()):
            self.waits[transport] = Wait(self.timer(transport), unsent)
        delivering = [one for one in self.waits if one.get_write_buffer_size()]
        idle = [one for one in self.waits if not one.get_write_buffer_size()]
        for kind in (idle, delivering):
            for one in kind[: max(0, len(kind) - self.limit)]:
                self.close(one)

    def timer(self, transport: asyncio.Transport) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self.seconds, self.look, transport)

    def look(self, transport: asyncio.Transport) -> None:
        """Close a connection that was idle since the last look, or whose reader has taken nothing for MAX_STALLS looks.
        The last bytes of a response start the clock anew."""
        wait, unsent = self.waits[transport], transport.get_write_buffer_size()
        stalls = 0 if unsent < wait.unsent else wait.stalls + 1
        if stalls >= (MAX_STALLS if unsent else 1):
            self.close(transport)
        else:
            self.waits[transport] = Wait(self.timer(transport), unsent, stalls)

    def remove(self, transport: asyncio.Transport) -> None:
        wait = self.waits.pop(transport, None)
        if wait is not None:
            wait.timer.cancel()

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
