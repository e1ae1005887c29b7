"""A hub of the tests' own: repositories in memory behind the few HTTP answers that the real client asks for.

Small files are given by the hub itself, with git's hash; large ones (`lfs`) by a second address, with their sha256, as
the real one does. It can cut an answer short, refuse, or tell a wrong hash, and keeps what it was asked. Beside the
repositories it gives `plain` files, by host/path, as a mirror of https addresses does; those in `moved` by the second
address.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Asked:
    """One request for a file's bytes."""

    path: str
    range: str | None
    authorization: str | None


@dataclass
class FakeHub:
    """`cut`: how many bytes of a file are sent before the connection is dropped, once; then `refuses` gives 503."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    lfs: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    refuses: bool = False
    wrong_hash: bool = False
    knows_ranges: bool = True
    commit: str = COMMIT
    asked: list[Asked] = field(default_factory=list)
    looked_up: int = 0

    def __post_init__(self) -> None:
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler(self)) for _ in range(2)]
        self.url, self.store_url = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def __enter__(self) -> "FakeHub":
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def etag(self, path: str, data: bytes) -> str:
        if self.wrong_hash:
            return "0" * 64
        git = hashlib.sha1(b"blob %d\0" % len(data) + data)
        return (hashlib.sha256(data) if path in self.lfs else git).hexdigest()


def handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def parts(self) -> tuple[str, str, str]:
            """(owner/name, revision, path) of /owner/name/resolve/revision/path."""
            owner, name, _, revision, path = unquote(urlsplit(self.path).path).lstrip("/").split("/", 4)
            return f"{owner}/{name}", revision, path

        def do_HEAD(self) -> None:
            hub.looked_up += 1
            repo, revision, path = self.parts()
            data = hub.repos.get(repo, {}).get(path)
            if revision != hub.commit or data is None:
                code = "EntryNotFound" if repo in hub.repos else "RepoNotFound"
                return self.answer(404, X_Error_Code=code)
            told = {"X_Repo_Commit": hub.commit, "ETag": f'"{hub.etag(path, data)}"', "Accept_Ranges": "bytes"}
            if path not in hub.lfs:
                return self.answer(200, Content_Length=str(len(data)), **told)
            told |= {"X_Linked_Etag": told["ETag"], "X_Linked_Size": str(len(data))}
            return self.answer(302, Location=f"{hub.store_url}{self.path}", **told)

        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                return self.tell(unquote(urlsplit(self.path).path).removeprefix("/api/models/"))
            told = {}
            path = unquote(urlsplit(self.path).path).lstrip("/")
            if path in hub.plain:
                data, told["ETag"] = hub.plain[path], f'"{hashlib.md5(hub.plain[path]).hexdigest()}"'
                if path in hub.moved and self.server is hub.servers[0]:
                    return self.answer(302, Location=f"{hub.store_url}/{path}")
            elif "/resolve/" in path:
                repo, _, path = self.parts()
                data = hub.repos[repo][path]
            else:
                return self.answer(404)
            asked = Asked(path, self.headers.get("Range"), self.headers.get("Authorization"))
            hub.asked.append(asked)
            ranged = asked.range if hub.knows_ranges else None
            if hub.refuses:
                return self.answer(503)
            first, _, last = (ranged or "bytes=0-").removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)) + 1, len(data))
            if path in hub.cut and not last:
                return self.drop(data[start : start + hub.cut.pop(path)], len(data) - start)
            if ranged:
                told["Content_Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return self.answer(206 if ranged else 200, data[start:end], **told)

        def tell(self, path: str) -> None:
            repo, _, revision = path.partition("/revision/")
            if repo not in hub.repos:
                return self.answer(404, X_Error_Code="RepoNotFound")
            if revision not in ("", "main", hub.commit):
                return self.answer(404, X_Error_Code="RevisionNotFound")
            files = [{"rfilename": name} for name in hub.repos[repo]]
            body = json.dumps({"id": repo, "sha": hub.commit, "siblings": files}).encode()
            return self.answer(200, body, Content_Type="application/json")

        def drop(self, data: bytes, promised: int) -> None:
            hub.refuses = True
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True

    return Handler
