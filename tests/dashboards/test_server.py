"""Connections that send no request never shut others out, and slow readers get their whole response."""

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


LARGE = REQUEST.replace(b"/ ", b"/large ")
LARGE_BYTES = 16 << 20
"""More than the buffers of a connection hold."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = bytes(LARGE_BYTES) if scope["path"] == "/large" else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


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
            assert len(idle.waits) <= LIMIT

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
        assert not idle.waits

    run(idle, check)


async def until(fact: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


def delivering(idle: IdleConnections) -> int:
    return sum(transport.get_write_buffer_size() > 0 for transport in idle.waits)


def ask_large(client: socket.socket, address: Address, request: bytes = LARGE) -> None:
    """Ask for more than the buffers hold, and take nothing of it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(address)
    client.sendall(request)


def read_all(client: socket.socket) -> int:
    """The number of bytes of the body of a response."""
    client.settimeout(20)
    with client.makefile("rb") as file:
        while file.readline() != b"\r\n":
            pass
        return len(file.read(LARGE_BYTES))


@pytest.mark.parametrize("request_", [LARGE, LARGE[:-2] + b"Connection: close\r\n\r\n"], ids=["kept", "closing"])
def test_a_reader_slower_than_the_limit_gets_all(request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STALLS", 1000)
    idle = IdleConnections(LIMIT, seconds=0.05)

    async def check(address: Address) -> None:
        with socket.socket() as client:
            ask_large(client, address, request_)
            await until(lambda: any(wait.stalls >= 2 for wait in idle.waits.values()))
            assert await asyncio.to_thread(read_all, client) == LARGE_BYTES
        await until(lambda: not idle.waits)

    run(idle, check)


def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    idle = IdleConnections(LIMIT, seconds=0.02)

    async def check(address: Address) -> None:
        with socket.socket() as client:
            ask_large(client, address)
            await until(lambda: idle.waits)
            await until(lambda: not idle.waits)
            assert await asyncio.to_thread(read_all, client) < LARGE_BYTES

    run(idle, check)


def test_idle_connections_and_slow_readers_do_not_displace_each_other() -> None:
    idle = IdleConnections(LIMIT)

    async def check(address: Address) -> None:
        with ExitStack() as open_ones:
            readers = [open_ones.enter_context(socket.socket()) for _ in range(2)]
            for reader in readers:
                ask_large(reader, address)
            await until(lambda: delivering(idle) == 2)
            for _ in range(3 * LIMIT):
                open_ones.enter_context(socket.create_connection(address))
                await asyncio.sleep(0)
            assert (await answer(address)).endswith(b"200 OK\r\n")
            for reader in readers:
                assert await asyncio.to_thread(read_all, reader) == LARGE_BYTES

    run(idle, check)


def test_only_so_many_slow_readers() -> None:
    idle = IdleConnections(2)

    async def check(address: Address) -> None:
        with ExitStack() as open_ones:
            readers = [open_ones.enter_context(socket.socket()) for _ in range(3)]
            for i, reader in enumerate(readers):
                ask_large(reader, address)
                await until(lambda i=i: delivering(idle) == min(i + 1, 2))
            assert await asyncio.to_thread(read_all, readers[2]) == LARGE_BYTES
            assert await asyncio.to_thread(read_all, readers[0]) < LARGE_BYTES

    run(idle, check)


def test_the_limit_leaves_files_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in [(128, 32), (1024, 256), (1 << 20, 256), (1, 1)]:
        monkeypatch.setattr(server.resource, "getrlimit", lambda kind, files=files: (files, files))
        assert server.idle_limit() == expected
