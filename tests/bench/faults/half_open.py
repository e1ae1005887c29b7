"""Does a dashboard answer while connections are held half open? Opens them, then asks a few times.

    python -m tests.bench.faults.half_open URL [COUNT]      default 1100; URL as `longtake dashboard` printed it

Prints how many it opened and the seconds of each answer. Half of the connections send the start of a request.
"""

from __future__ import annotations

import resource
import socket
import sys
import time
import urllib.request
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

ASKED = 5


def main(url: str, count: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    parts = urlsplit(url)
    token = parse_qs(parts.query).get("token", [""])[0]
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    with ExitStack() as held:
        for number in range(count):
            one = held.enter_context(socket.create_connection(address, timeout=30))
            if number % 2:
                one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        print(f"{count} half-open connections")
        for _ in range(ASKED):
            request = urllib.request.Request(f"http://{parts.netloc}/api/store")
            request.add_header("Authorization", f"Bearer {token}")
            started = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                print(f"{answer.status} after {time.perf_counter() - started:.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1100)
