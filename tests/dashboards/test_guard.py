"""Who is answered: methods, hosts, tokens; and the headers that every answer carries."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from longtake.dashboards import guard

from .conftest import Open

TOKEN = "abcdefghijklmnop-123"
OUTSIDE = "192.0.2.7"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("path", ["/", "/api/store", "/api/sweeps/small/takes", "/none"])
def test_only_reading_is_allowed(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_head_answers_without_a_body(client: TestClient) -> None:
    for path in ("/", "/api/store", "/api/sweeps/small/ranks", "/api/sweeps/small/leaderboard.csv", "/static/main.js"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.8.8.8"])
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/store", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "192.168.0.2",
     "127.0.0.1@evil.example", "[::2]", "", " ", "evil.example#127.0.0.1"],
)  # fmt: skip
def test_a_rebound_name_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/store", "/static/main.js"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 400
        assert "sweeps" not in answer.text
        assert "behind a proxy or under another name, start `longtake dashboard` with --token" in answer.json()["error"]


def test_behind_a_proxy_a_token_stands_for_the_host(open_client: Open, root: Path) -> None:
    client = open_client(root, "sweeps.example", token=TOKEN)
    answer = client.get(f"/?token={TOKEN}", headers={"x-forwarded-for": OUTSIDE})
    assert (answer.status_code, answer.url.path) == (200, "/")
    assert client.get("/api/store").status_code == 200


def test_elsewhere_everything_needs_the_token(open_client: Open, root: Path) -> None:
    client = open_client(root, OUTSIDE, token=TOKEN)
    for path in ("/", "/api/store", "/api/sweeps/small/ranks", "/static/main.js", "/none", "/?token=wrong", "/?token="):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
        assert TOKEN not in answer.text
    for header in (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        answer = client.get("/api/store", headers={"authorization": header.encode("latin-1")})
        assert answer.status_code == 401
    for cookie in (f"other={TOKEN}", f"longtake={TOKEN}x", "longtake", "longtake=;;=", '"'):
        assert client.get("/api/store", headers={"cookie": cookie}).status_code == 401


def test_a_script_sends_the_token_as_bearer(open_client: Open, root: Path) -> None:
    client = open_client(root, OUTSIDE, token=TOKEN)
    assert client.get("/api/store", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_browser_gives_it_once_and_keeps_a_cookie(open_client: Open, root: Path) -> None:
    client = open_client(root, OUTSIDE, token=TOKEN, cookie="longtake-8765")
    answer = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie == f"longtake-8765={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
    assert client.get("/").status_code == 200
    assert client.get("/api/store").status_code == 200
    away = client.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
    assert away.headers.get("location", "/") == "/"


def test_a_token_may_be_asked_for_on_loopback_too(open_client: Open, root: Path) -> None:
    client = open_client(root, token=TOKEN)
    assert client.get("/api/store").status_code == 401
    assert client.get("/api/store", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}), ("/api/store", {}), ("/api/none", {}), ("/static/main.js", {}), ("/static/plotly.min.js", {}),
        ("/api/sweeps/small/takes?limit=x", {}), ("/api/sweeps/small/leaderboard.csv", {}),
        ("/api/store", {"host": "x"}),
    ],
)  # fmt: skip
def test_every_answer_carries_the_headers(client: TestClient, path: str, headers: dict[str, str]) -> None:
    found = client.get(path, headers=headers).headers
    assert found["content-security-policy"] == guard.POLICY
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cross-origin-resource-policy"] == "same-origin"
    assert found["cache-control"]
    assert "access-control-allow-origin" not in found
    assert len(found.get_list("content-type")) == 1


def test_the_policy_runs_nothing_inline_and_loads_from_here_alone() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in guard.POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["connect-src"] == "'self'"
    assert {rules[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}


def test_an_answer_about_the_store_is_not_kept_by_a_browser(client: TestClient) -> None:
    assert client.get("/api/store").headers["cache-control"] == "no-store"


def test_there_are_no_web_sockets(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/store"):
        pass


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.2", False), ("localhost.example", False), ("", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert guard.is_loopback(host) is expected


def test_a_cookie_is_found_among_those_of_other_programs() -> None:
    header = 'prefs={"a":"b"}; longtake-8765=TOKEN; odd; x=y=z'
    assert guard.cookie_value(header, "longtake-8765") == "TOKEN"
    assert guard.cookie_value(header, "longtake-8766") is None


def test_too_many_fields_are_no_token() -> None:
    query = "&".join(["a=1"] * 101).encode()
    assert guard.Guard(None, "TOKEN").token_of({"query_string": query}) is None  # type: ignore[arg-type]
