"""Access control and security headers: an ASGI middleware without dependencies.

On loopback the Host header must name a loopback address, which prevents DNS rebinding. Elsewhere every request needs
the token: as `?token=` once, then in a cookie, or as `Authorization: Bearer`. Only GET and HEAD are allowed. The
content security policy restricts pages to resources of this server and forbids inline scripts.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"x-frame-options": b"DENY",
}
DEFAULTS = {b"cache-control": b"no-store"}
FOREIGN_HOST = (
    "the Host header is not a loopback address; open http://127.0.0.1 with the port, or, behind a proxy or under "
    "another name, start `longtake dashboard` with --token TOKEN and open the address with ?token=TOKEN"
)


class Guard:
    """`token`: required in every request; None: no token, but the Host header must name a loopback address."""

    def __init__(self, app: App, token: str | None = None, cookie: str = "longtake") -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # web sockets are not supported
            return await send({"type": "websocket.close", "code": 1008})
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self.refusal(scope, headers)
        if refusal is not None:
            return await answer(guarded(send), *refusal)
        if self.token is not None and self.token_of(scope) is not None:
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
            return await answer(
                guarded(send), 303, "token stored in a cookie", {b"location": b"/", b"set-cookie": cookie.encode()}
            )
        await self.app(scope, receive, guarded(send))

    def refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, dict[bytes, bytes]] | None:
        """Status, one-line error and headers of a refusal; None if the request is allowed."""
        if scope["method"] not in ("GET", "HEAD"):
            return 405, f"{scope['method'][:20]} is not allowed; use GET or HEAD", {b"allow": b"GET, HEAD"}
        if self.token is None:
            if not is_loopback(host_name(headers.get(b"host", b"").decode("latin-1"))):
                return 400, FOREIGN_HOST, {}
        elif not self.knows(scope, headers):
            return 401, "the token is missing or wrong; open the address that `longtake dashboard` printed", {}
        return None

    def knows(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Whether the request has the token; compares in constant time."""
        bearer = headers.get(b"authorization", b"").decode("latin-1")
        tokens = [self.token_of(scope), bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None]
        tokens.append(cookie_value(headers.get(b"cookie", b"").decode("latin-1"), self.cookie))
        expected = (self.token or "").encode()
        return any(secrets.compare_digest(one.encode(), expected) for one in tokens if one is not None)

    def token_of(self, scope: Scope) -> str | None:
        """The token in the query."""
        try:
            values = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=100)
        except ValueError:
            return None
        return values["token"][0] if "token" in values else None


def is_loopback(host: str) -> bool:
    """Whether the name or address is a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The host of a Host header, without the port and IPv6 brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def cookie_value(header: str, name: str) -> str | None:
    """The value of one cookie of a Cookie header; None if it is not set."""
    for part in header.split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key == name:
            return value.strip('"')
    return None


def guarded(send: Send) -> Send:
    """Wrap `send` to add the security headers to every response."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", [])}
            added = {**HEADERS, **{name: value for name, value in DEFAULTS.items() if name not in own}}
            message["headers"] = [*message.get("headers", []), *added.items()]
        await send(message)

    return add


async def answer(send: Send, status: int, text: str, headers: dict[bytes, bytes]) -> None:
    body = json.dumps({"error": text} if status >= 400 else {"note": text}).encode()
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers.items()]})
    await send({"type": "http.response.body", "body": body})
