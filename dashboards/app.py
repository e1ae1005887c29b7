"""The dashboard's routes: what a browser or a script asks, and which view answers. The only importer of the UI toolkit.

Only reads. Every error is one line of JSON; nothing that was asked for is said back. `docs/dashboard.md` has the API.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from longtake.dashboards import take_view
from longtake.dashboards.guard import Guard
from longtake.dashboards.store_index import Missing, StoreIndex
from longtake.platform.errors import ConfigError, LongtakeError

STATIC = Path(__file__).parent / "static"
FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
USER_INFO = re.compile(r"://[^/\s\"\\]*@")
METHODS = ["GET", "HEAD"]
CHECK = {"cache-control": "no-cache"}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


def make_app(root: Path, token: str | None = None, cookie: str = "longtake") -> Guard:
    """The ASGI application over one folder of sweeps. Raises ConfigError unless there is such a folder."""
    index = StoreIndex(root)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_errors(app, index)
    add_pages(app)
    add_sweeps(app, index)
    return Guard(app, token, cookie)


def route(app: FastAPI, path: str) -> Callable[[Any], Any]:
    return app.api_route(path, methods=METHODS, response_model=None)


def as_json(value: Any, status: int = 200) -> Response:
    """JSON in ASCII, without the 'user:password@' of any address in it; a number that is none is null."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value))
    return Response(USER_INFO.sub("://", text), status, media_type="application/json")


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


# Errors


def add_errors(app: FastAPI, index: StoreIndex) -> None:
    """Every failure is {"error": one line}; the store's own place is not told."""

    def refuse(status: int, text: str) -> Response:
        return as_json({"error": " ".join(text.replace(str(index.root), "RUNS").split())}, status)

    @app.exception_handler(Missing)
    def missing(request: Request, error: Missing) -> Response:
        return refuse(404, str(error))

    @app.exception_handler(ConfigError)
    def bad(request: Request, error: ConfigError) -> Response:
        return refuse(400, str(error))

    @app.exception_handler(LongtakeError)
    def broken(request: Request, error: LongtakeError) -> Response:
        return refuse(500, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refuse(400, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, "there is no such page" if error.status_code == 404 else str(error.detail))

    @app.exception_handler(Exception)
    def internal(request: Request, error: Exception) -> Response:
        return refuse(500, f"internal error: {type(error).__name__}")


# Pages


def add_pages(app: FastAPI) -> None:
    plotly = metadata.version("plotly")

    @route(app, "/")
    def page() -> Response:
        return static_file("index.html")

    @route(app, "/static/plotly.min.js")
    def plotly_js(v: str = "") -> Response:
        path = Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"
        return FileResponse(path, headers=FOREVER if v == plotly else CHECK, media_type=TYPES[".js"])

    @route(app, "/static/{path:path}")
    def static(path: str) -> Response:
        return static_file(path)


def static_file(path: str) -> Response:
    """A file of dashboards/static. Raises Missing, also for a path that is not plain."""
    parts = path.split("/")
    found = STATIC.joinpath(*parts) if all(FILE.fullmatch(part) for part in parts) else None
    if found is None or found.suffix not in TYPES or not found.is_file():
        raise Missing("there is no such page")
    return FileResponse(found, headers=CHECK, media_type=TYPES[found.suffix])


# Sweeps


def add_sweeps(app: FastAPI, index: StoreIndex) -> None:
    versions = {"version": metadata.version("longtake"), "plotly": metadata.version("plotly")}

    @route(app, "/api/store")
    def store() -> Response:
        return as_json({**versions, **index.overview()})

    @route(app, "/api/sweeps/{sweep}/ranks")
    def ranks(sweep: str) -> Response:
        found = index.ranks(index.sweep(sweep))
        if found is None:
            raise Missing("nothing is ranked yet in this sweep")
        return as_json(found)

    @route(app, "/api/sweeps/{sweep}/history")
    def history(sweep: str) -> Response:
        return as_json(index.sweep(sweep).history())

    @route(app, "/api/sweeps/{sweep}/takes")
    def takes(
        sweep: str,
        backbone: str | None = None,
        method: str | None = None,
        seconds: int | None = None,
        prompt: str | None = None,
        state: str | None = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=take_view.MAX_PAGE)] = 100,
    ) -> Response:
        wanted = take_view.Filter(backbone, method, seconds, prompt, state)
        return as_json(take_view.page(index, index.sweep(sweep), wanted, offset, limit))

    @route(app, "/api/sweeps/{sweep}/takes/{take}")
    def take(sweep: str, take: str) -> Response:
        store = index.sweep(sweep)
        return as_json(take_view.detail(index, store, index.take(store, take)))

    @route(app, "/api/sweeps/{sweep}/takes/{take}/trace")
    def trace(sweep: str, take: str) -> Response:
        store = index.sweep(sweep)
        return as_json(take_view.trace(index, store, index.take(store, take)))

    @route(app, "/api/sweeps/{sweep}/takes/{take}/video")
    def video(request: Request, sweep: str, take: str) -> Response:
        store = index.sweep(sweep)
        found = index.take(store, take)
        result, path = store.result(found.id), store.video(found.id)
        if result is None or not store.is_done(found) or not index.holds(path):
            raise Missing("this take has no video; it is not made yet")
        headers = {"etag": f'"{result.video_sha256}"', **CHECK}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, headers=headers, media_type="video/mp4")


# The server


def serve(application: Any, sock: socket.socket) -> None:
    """Answer on an open socket until SIGINT or SIGTERM, which uvicorn raises again as KeyboardInterrupt."""
    config = uvicorn.Config(
        application, log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[sock])
