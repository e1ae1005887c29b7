"""The HTTP routes of the dashboard and their views. The only importer of FastAPI and Starlette.

Read-only. Every error is one line of JSON that does not repeat request data. `docs/dashboard.md` has the API.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from longtake.dashboards import frames, leaderboard, live, take_view, training_view
from longtake.dashboards.guard import Guard
from longtake.dashboards.overview import overview
from longtake.dashboards.store_index import StoreIndex
from longtake.dashboards.visible_folder import Missing
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.store import durable
from longtake.platform.store.durable import stamp_of
from longtake.platform.store.json_records import to_json
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.records import TakeResult
from longtake.platform.store.root import EVALUATION
from longtake.platform.store.sweep import SweepStore

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(__file__).parent / "static"
FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
USER_INFO = re.compile(r"://(?:[^/\s\"\\:@]*:[^\s\"\\]*|[^/\s\"\\]*)@")  # a password may contain a slash and an @
JPEG = "image/jpeg"
METHODS = ["GET", "HEAD"]
CHECK = {"cache-control": "no-cache"}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


def make_app(
    root: Path, token: str | None = None, cookie: str = "longtake", ending: threading.Event | None = None
) -> Guard:
    """The ASGI application for one folder of sweeps. Raises ConfigError if the folder does not exist.

    `token`: required in every request; `cookie`: name of the cookie with the token; `ending`: set to end all streams.
    """
    from fastapi import FastAPI

    index = StoreIndex(root)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    add_errors(app, index)
    add_pages(app)
    add_sweeps(app, index)
    add_takes(app, index)
    add_live(app, index, ending or threading.Event())
    add_trainings(app, index)
    return Guard(app, token, cookie)


def route(app: FastAPI, path: str) -> Callable[[Any], Any]:
    return app.api_route(path, methods=METHODS, response_model=None)


def as_json(value: Any, status: int = 200) -> Response:
    return Response(json_text(value), status, media_type="application/json")


def json_text(value: Any) -> str:
    """JSON in ASCII. Removes 'user:password@' from addresses, and writes NaN and infinity as null."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value))
    return USER_INFO.sub("://", text)


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def unless_known(request: Request, tag: str, make: Callable[[dict[str, str]], Response]) -> Response:
    """Respond 304 if the browser has this version."""
    headers = {"etag": f'"{tag}"', **CHECK}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return make(headers)


# Errors


def add_errors(app: FastAPI, index: StoreIndex) -> None:
    """Respond to every failure with {"error": one line}, without the path of the store."""
    from fastapi.exceptions import RequestValidationError

    def refuse(status: int, text: str) -> Response:
        return as_json({"error": index.public_message(text)}, status)

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
        return refuse(error.status_code, "page not found" if error.status_code == 404 else str(error.detail))

    @app.exception_handler(Exception)
    def internal(request: Request, error: Exception) -> Response:
        return refuse(500, f"internal error: {type(error).__name__}")


# Pages


def add_pages(app: FastAPI) -> None:
    plotly = metadata.version("plotly")

    @route(app, "/")
    def page(request: Request) -> Response:
        return static_file(request, "index.html")

    @route(app, "/static/plotly.min.js")
    def plotly_js(request: Request, v: str = "") -> Response:
        path = Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"
        kept = FOREVER if v == plotly else CHECK
        return unless_known(
            request,
            f"plotly-{plotly}",
            lambda tag: FileResponse(path, headers={**tag, **kept}, media_type=TYPES[".js"]),
        )

    @route(app, "/static/{path:path}")
    def static(request: Request, path: str) -> Response:
        return static_file(request, path)


def static_file(request: Request, path: str) -> Response:
    """A file of dashboards/static. Raises Missing if it does not exist or its path is not plain."""
    parts = path.split("/")
    file = STATIC.joinpath(*parts) if all(FILE.fullmatch(part) for part in parts) else None
    if file is None or file.suffix not in TYPES or not file.is_file():
        raise Missing("page not found")
    tag = "-".join(map(str, stamp_of(file) or ()))
    return unless_known(
        request, tag, lambda headers: FileResponse(file, headers=headers, media_type=TYPES[file.suffix])
    )


# Sweeps


def add_sweeps(app: FastAPI, index: StoreIndex) -> None:
    versions = {"version": metadata.version("longtake"), "plotly": metadata.version("plotly")}

    @route(app, "/api/store")
    def store() -> Response:
        return as_json({**versions, **overview(index)})

    @route(app, "/api/sweeps/{sweep}/ranks")
    def ranks(sweep: str) -> Response:
        return as_json(to_json(ranked(index, index.sweep(sweep))))

    @route(app, "/api/sweeps/{sweep}/history")
    def history(sweep: str) -> Response:
        return as_json([asdict(run) for run in index.sweep(sweep).history()])

    @route(app, "/api/moves")
    def moves(suite: str | None = None, seconds: int | None = None) -> Response:
        return as_json(leaderboard.moves(index, suite, seconds))

    @route(app, "/api/sweeps/{sweep}/board.csv")  # the earlier address, which may be bookmarked
    @route(app, "/api/sweeps/{sweep}/leaderboard.csv")
    def leaderboard_csv(
        sweep: str,
        suite: str | None = None,
        seconds: int | None = None,
        scope: str = "overall",
        unit: str = "cell",
        backbone: str | None = None,
        method: str | None = None,
    ) -> Response:
        store = index.sweep(sweep)
        text = leaderboard.as_csv(ranked(index, store), suite, seconds, scope, unit, backbone, method)
        kept = {"content-disposition": f'attachment; filename="{store.name}.csv"'}
        return Response(text.encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=kept)


def ranked(index: StoreIndex, store: SweepStore) -> Ranks:
    ranks = index.ranks(store)
    if ranks is None:
        raise Missing("the sweep has no ranks yet; score its takes first")
    return ranks


# Takes


def add_takes(app: FastAPI, index: StoreIndex) -> None:
    pictures = frames.Pictures()

    def video_of(sweep: str, take: str) -> tuple[Path, TakeResult]:
        return made(index, sweep, take)

    @route(app, "/api/sweeps/{sweep}/takes")
    def takes(
        sweep: str,
        backbone: str | None = None,
        method: str | None = None,
        seconds: int | None = None,
        prompt: str | None = None,
        state: str | None = None,
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=take_view.MAX_PAGE)] = 100,
    ) -> Response:
        filters = take_view.Filter(backbone, method, seconds, prompt, state)
        return as_json(take_view.page(index, index.sweep(sweep), filters, offset, limit))

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
        path, result = video_of(sweep, take)
        return unless_known(
            request, result.video_sha256, lambda headers: FileResponse(path, headers=headers, media_type="video/mp4")
        )

    @route(app, "/api/sweeps/{sweep}/takes/{take}/frame")
    def frame(
        request: Request,
        sweep: str,
        take: str,
        index: Annotated[int, Field(ge=0)],
        width: Annotated[int, Field(ge=32, le=640)] = 160,
    ) -> Response:
        path, result = video_of(sweep, take)
        return unless_known(
            request,
            f"{result.video_sha256}-{index}-{width}",
            lambda headers: Response(pictures.frame(path, result, index, width), 200, headers, JPEG),
        )

    @route(app, "/api/sweeps/{sweep}/takes/{take}/strip")
    def strip(
        request: Request,
        sweep: str,
        take: str,
        count: Annotated[int, Field(ge=1, le=60)] = 12,
        width: Annotated[int, Field(ge=32, le=640)] = 96,
    ) -> Response:
        path, result = video_of(sweep, take)
        return unless_known(
            request,
            f"{result.video_sha256}-{count}x{width}",
            lambda headers: Response(pictures.strip(path, result, count, width), 200, headers, JPEG),
        )


def made(index: StoreIndex, sweep: str, take: str) -> tuple[Path, TakeResult]:
    """The video of a finished take, and its record. Raises Missing."""
    store = index.sweep(sweep)
    planned = index.take(store, take)
    result, path = store.result(planned.id), store.video(planned.id)
    if result is None or not store.is_done(planned) or not index.holds(path):
        raise Missing("the take has no video yet")
    return path, result


# Running sweeps, trainings, evaluations


def add_live(app: FastAPI, index: StoreIndex, ending: threading.Event) -> None:
    @route(app, "/api/sweeps/{sweep}/progress")
    def progress(sweep: str) -> Response:
        return as_json(live.progress(index, index.sweep(sweep)))

    @app.get("/api/sweeps/{sweep}/events", response_model=None)
    def events(sweep: str) -> Response:
        stream = live.events(index, index.sweep(sweep), json_text, ending.is_set)
        return StreamingResponse(stream, media_type="text/event-stream")


def add_trainings(app: FastAPI, index: StoreIndex) -> None:
    @route(app, "/api/trainings/{training}")
    def training(training: str) -> Response:
        return as_json(training_view.training(index, index.training(training)))

    @route(app, "/api/evaluations/{evaluation}")
    def evaluation(evaluation: str) -> Response:
        report = durable.read_json(index.evaluation(evaluation, EVALUATION))
        if not isinstance(report, dict):
            raise Missing("eval.json is not a report; run `longtake train eval-embedder` again")
        return as_json(report)

    @route(app, "/api/evaluations/{evaluation}/{figure}.png")
    def picture(evaluation: str, figure: str) -> Response:
        return FileResponse(index.evaluation(evaluation, f"{figure}.png"), headers=CHECK, media_type="image/png")
