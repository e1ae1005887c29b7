"""No user, password or key of a tracking address reaches output, errors, records or MLflow's own messages."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.platform.errors import ConfigError, masked
from longtake.platform.tracking.addresses import (
    credentials,
    for_mlflow,
    login_of,
    without_password,
    without_secrets,
)
from longtake.platform.tracking.client import TrackingError, writing
from longtake.platform.tracking.training_log import training_run
from tests.jobs import tiny

RUN = {"info": {"run_id": "r1", "run_name": "n", "experiment_id": "1", "status": "FINISHED"}, "data": {}}


class Server(ThreadingHTTPServer):
    """Answers every request as MLflow answers for a run, or refuses it, and keeps the headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status, self.seen = 200, list[str | None]()


class Answer(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.headers.get("Authorization"))
        body = json.dumps({"run": RUN, "run_info": RUN["info"], "message": f"refused: {self.path}"}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(server: Server, user: str, rest: str = "") -> str:
    return f"http://{user}127.0.0.1:{server.server_port}{rest}"


def test_mlflow_gets_the_password_but_never_shows_it(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with writing(address(server, "ada:pa%2Fss-word@")) as client:
        assert client.tracking_uri == address(server, "")
        client.set_terminated("r1")  # MLflow prints the address of every run that ends
    assert server.seen
    assert set(server.seen) == {"Basic " + base64.b64encode(b"ada:pa/ss-word").decode()}
    out = capfd.readouterr()
    assert "word" not in out.out + out.err


@pytest.mark.parametrize(
    ("user", "rest"),
    [("", "?key=s3cret-word"), ("ada:s3cret-word@", "/mlflow?api=s3cret-word"), ("s3cret-word@", "")],
)
def test_errors_of_a_server_show_no_secret(
    server: Server, capfd: pytest.CaptureFixture[str], user: str, rest: str
) -> None:
    server.status = 403
    with pytest.raises(TrackingError) as refused, writing(address(server, user, rest)) as client:
        client.get_run("r1")
    unreachable = address(server, user, rest).replace(f":{server.server_port}", ":1")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1") as down, writing(unreachable) as client:
        client.get_run("r1")
    for error in (refused, down):
        assert "word" not in str(error.value)
        assert error.value.__cause__ is None  # a traceback would print it
    with (
        pytest.warns(UserWarning, match="logging stopped") as warned,
        training_run(Path("out"), "e", "n", {}, unreachable),
    ):
        pass
    out = capfd.readouterr()
    assert "word" not in out.out + out.err + str([warning.message for warning in warned])


@pytest.mark.parametrize(
    ("uri", "shown", "given", "login"),
    [
        ("http://h:5000/x", "http://h:5000/x", "http://h:5000/x", None),
        ("https://u:p@h/x?y=@", "https://h/x", "https://h/x?y=@", ("u", "p")),
        ("http://u:p%40@h", "http://h", "http://h", ("u", "p@")),
        ("http://u:p@ss@h", "http://h", "http://h", ("u", "p@ss")),
        ("http://u:p/w?z@h", "http://h", "http://h", ("u", "p/w?z")),
        ("http://token@h", "http://h", "http://token@h", None),  # MLflow sends no user without a password
        ("http://h?key=a@b", "http://h", "http://h?key=a@b", None),
        ("postgresql://u:p/w@h/db?password=q", "postgresql://h/db", "postgresql://u:p/w@h/db?password=q", None),
        ("sqlite:////a@b/c", "sqlite:////a@b/c", "sqlite:////a@b/c", None),
        ("databricks", "databricks", "databricks", None),
        ("https://h.org:8443/teams/@a", "https://h.org:8443/teams/@a", "https://h.org:8443/teams/@a", None),
        ("https://h.org/@a:b@c/d", "https://h.org/@a:b@c/d", "https://h.org/@a:b@c/d", None),
        ("https://[::1]:80/x:y@z?k=v", "https://[::1]:80/x:y@z", "https://[::1]:80/x:y@z?k=v", None),
        ("https://u:p@h.org:80/teams/@a", "https://h.org:80/teams/@a", "https://h.org:80/teams/@a", ("u", "p")),
        ("http://u:12%2Fw@h", "http://h", "http://h", ("u", "12/w")),
        ("file:///data/a@b/c", "file:///data/a@b/c", "file:///data/a@b/c", None),
    ],
)
def test_the_parts_of_an_address(uri: str, shown: str, given: str, login: tuple[str, str] | None) -> None:
    assert (without_password(uri), for_mlflow(uri), login_of(uri)) == (shown, given, login)


def test_every_form_of_a_secret_is_masked() -> None:
    uri = "postgresql://u:p%2Fq%20r@h/db?password=query-word&sslmode=x"
    text = f"cannot reach {uri}\nwith p/q r, p%2Fq%20r or password='query-word'"
    assert without_secrets(text, uri) == "cannot reach postgresql://***@h/db?*** with ***, *** or password='***'"
    assert without_secrets("p/q r at h", "http://u:p%2Fq+r@h") == "p/q r at h"  # another password
    path = "cannot reach https://h.org:8443/teams/@vision"
    assert without_secrets(path, "https://h.org:8443/teams/@vision") == path


@pytest.mark.parametrize(
    "mistake",
    ["traking.uri=http://me:hunter2@h", "tracking.uri=[http://me:hunter2@h]", "output=s3://me:hunter2@bucket"],
)
def test_a_mistaken_key_shows_no_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str], mistake: str) -> None:
    assert execute(["run", str(tiny.write_sweep(tmp_path)), mistake]) == 2
    out = capfd.readouterr()
    assert "hunter2" not in out.out + out.err


def test_credentials_are_set_only_while_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "eve")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    with credentials("http://ada:word@h"):
        assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("ada", "word")
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "eve"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no http://u:p@h/x here", "no http://***@h/x here"),
        ("'http://u:p/w@h'", "'http://***@h'"),
        ("http://h/x?api_key=abc&y=1#z", "http://h/x?api_key=***&y=1#z"),
        ("s3://id:word@bucket and a@b.c", "s3://***@bucket and a@b.c"),
        ("sqlite:////a@b/c", "sqlite:////a@b/c"),
        ("https://h/p/q?dl=1: not found", "https://h/p/q?dl=1: not found"),
        ("'https://h.org:8443/teams/@vision'", "'https://h.org:8443/teams/@vision'"),
        ("https://h.org/x:y@z and [::1] http://[::1]:80/@a", "https://h.org/x:y@z and [::1] http://[::1]:80/@a"),
        ("https://u:p@h/teams/@vision", "https://***@vision"),  # the first @ may be of the password
        ("http://h?token=a@b", "http://h?token=***"),
    ],
)
def test_no_error_shows_the_secrets_of_an_address(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert str(ConfigError(text)) == shown
