"""`longtake dashboard [RUNS]`: opens a port, prints the address and serves the page until Ctrl-C. Stores nothing."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from pathlib import Path

from longtake.dashboards.guard import is_loopback
from longtake.platform.errors import ConfigError

PORTS_TRIED = 100


def dashboard(runs: Path, host: str, port: int, token: str | None, browse: bool) -> int:
    """Runs the whole job; returns 0 on Ctrl-C. Raises ConfigError for an unusable folder or address."""
    if not is_loopback(host) and token is None:
        token = secrets.token_urlsafe(24)
    if token is not None:
        check_token(token)
    with open_port(host, port) as sock:
        bound = sock.getsockname()[1]
        try:
            from longtake.dashboards.app import make_app
            from longtake.dashboards.server import serve

            ending = threading.Event()
            application = make_app(runs, token, f"longtake-{bound}", ending)
            url = address(host, bound, token)
            if port not in (0, bound):
                print(f"port {port} is in use; using port {bound}")
            print(f"dashboard of {runs}: {url} (press Ctrl-C to stop)", flush=True)
            if browse:
                import webbrowser

                webbrowser.open(url)
            serve(application, sock, ending)
        except KeyboardInterrupt:
            pass
    return 0


def check_token(token: str) -> None:
    if len(token) < 16 or not all(char.isascii() and (char.isalnum() or char in "-_") for char in token):
        raise ConfigError("--token: too weak; use at least 16 characters from a-z, A-Z, 0-9, '-' and '_', or omit it")


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens on the port, or on the next free one if that is in use. Raises ConfigError."""
    last = min(65535, port + PORTS_TRIED - 1) if port else 0
    for candidate in range(port, last + 1):
        try:
            return listening_socket(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise ConfigError(f"--host {host} --port {candidate}: unusable: {reason}; choose another") from error
    raise ConfigError(f"--port {port}: it and the next {last - port} ports are in use; choose another port")


def listening_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def address(host: str, port: int, token: str | None) -> str:
    """The URL to open; if the host means all interfaces, the URL has this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token is not None else "")
