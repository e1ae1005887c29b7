"""Connections that send no request never shut others out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from longtake.dashboards import connections
from longtake.dashboards.connections import IdleLimit

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
Address = tuple[str, int]


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(IdleLimit, "limit", 8)
    monkeypatch.setattr(IdleLimit, "idle", {})
    return 8


@asynccontextmanager
async def served() -> AsyncIterator[Address]:
    config = uvicorn.Config(application, http=IdleLimit, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve([sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield sock.getsockname()
        server.should_exit = server.force_exit = True
        await task


def run(check: Callable[[Address], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with served() as address:
            await check(address)

    asyncio.run(whole())


async def answer(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    status = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    return status


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2], b"\r\n"])
def test_many_half_open_connections_leave_room_for_one_that_asks(limit: int, sent: bytes) -> None:
    async def check(address: Address) -> None:
        with ExitStack() as open_ones:
            for _ in range(5 * limit):
                one = open_ones.enter_context(socket.create_connection(address))
                one.sendall(sent)
                await asyncio.sleep(0)
            assert (await answer(address)).endswith(b"200 OK\r\n")
            assert len(IdleLimit.idle) <= limit

    run(check)


def test_the_longest_idle_is_closed_first(limit: int) -> None:
    async def check(address: Address) -> None:
        ones = [await asyncio.open_connection(*address) for _ in range(limit)]
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

    run(check)


def test_headers_that_never_end_are_cut_off(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)

    async def check(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST[:-2])
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()
        assert not IdleLimit.idle

    run(check)


def test_the_limit_leaves_files_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in [(128, 32), (1024, 256), (1 << 20, 256), (1, 1)]:
        monkeypatch.setattr(connections.resource, "getrlimit", lambda kind, files=files: (files, files))
        assert connections.idle_limit() == expected
