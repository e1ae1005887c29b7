"""Connections that send no request never shut others out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from longtake.dashboards import server
from longtake.dashboards.server import IdleConnections, protocol_of

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LIMIT = 8
Address = tuple[str, int]


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(idle: IdleConnections) -> AsyncIterator[Address]:
    one = uvicorn.Server(uvicorn.Config(application, http=protocol_of(idle), lifespan="off", log_config=None))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        task = asyncio.create_task(one.serve(sockets=[sock]))
        while not one.started:
            await asyncio.sleep(0.01)
        yield sock.getsockname()
        one.should_exit = one.force_exit = True
        await task


def run(idle: IdleConnections, check: Callable[[Address], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with served(idle) as address:
            await check(address)

    asyncio.run(whole())


async def answer(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    status = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    return status


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2], b"\r\n"])
def test_many_half_open_connections_leave_room_for_one_that_asks(sent: bytes) -> None:
    idle = IdleConnections(LIMIT)

    async def check(address: Address) -> None:
        with ExitStack() as open_ones:
            for _ in range(5 * LIMIT):
                one = open_ones.enter_context(socket.create_connection(address))
                one.sendall(sent)
                await asyncio.sleep(0)
            assert (await answer(address)).endswith(b"200 OK\r\n")
            assert len(idle.timers) <= LIMIT

    run(idle, check)


def test_the_longest_idle_is_closed_first() -> None:
    idle = IdleConnections(LIMIT)

    async def check(address: Address) -> None:
        ones = [await asyncio.open_connection(*address) for _ in range(LIMIT)]
        reader, writer = ones[0]  # a request makes it the youngest
        writer.write(REQUEST)
        assert (await reader.readline()).endswith(b"200 OK\r\n")
        await reader.readuntil(b"ok")
        ones.append(await asyncio.open_connection(*address))
        with pytest.raises((ConnectionResetError, EOFError, asyncio.IncompleteReadError)):
            await ones[1][0].readexactly(1)
        writer.write(REQUEST)
        assert (await reader.readline()).endswith(b"200 OK\r\n")
        for _, other in ones:
            other.close()

    run(idle, check)


def test_headers_that_never_end_are_cut_off() -> None:
    idle = IdleConnections(LIMIT, seconds=0.05)

    async def check(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST[:-2])
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()
        assert not idle.timers

    run(idle, check)


def test_the_limit_leaves_files_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in [(128, 32), (1024, 256), (1 << 20, 256), (1, 1)]:
        monkeypatch.setattr(server.resource, "getrlimit", lambda kind, files=files: (files, files))
        assert server.idle_limit() == expected
