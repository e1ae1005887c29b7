"""`longtake dashboard` as users start it: what it prints, which port it takes, how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longtake.jobs import dashboard, loading
from longtake.jobs.cli import execute
from longtake.platform.errors import ConfigError
from longtake.platform.store.sweep import SweepStore

LONGTAKE = Path(sys.executable).with_name("longtake")
SECONDS = 30


@contextmanager
def started(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command and the lines that it printed, the last one with the address."""
    command = [LONGTAKE, "dashboard", str(root), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "http://" in line:
                break
        yield process, lines
    finally:
        process.kill()
        process.wait(SECONDS)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def url_of(lines: list[str]) -> str:
    found = re.search(r"http://\S+", lines[-1])
    assert found is not None, lines
    return found.group()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_with_a_stream_open(root: Path, small: SweepStore, number: signal.Signals) -> None:
    with started(root, "--port=0") as (process, lines):
        assert len(lines) == 1
        with urllib.request.urlopen(f"{url_of(lines)}api/sweeps/small/events", timeout=SECONDS) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert json.loads(stream.readline().removeprefix(b"data: "))["made"] == 8
            small.write_progress({"total": 8, "made": 3})
            while not (line := stream.readline()).startswith(b"data: "):
                pass
            assert json.loads(line.removeprefix(b"data: "))["made"] == 3
            begun = time.monotonic()
            process.send_signal(number)
            assert process.wait(SECONDS) == 0
            assert time.monotonic() - begun < 10
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == ""
        assert process.stderr.read().removeprefix(f"{loading.LINE}\n") == ""  # a busy machine imports for so long


def test_a_taken_port_is_said_and_the_next_one_used(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with started(root, f"--port={port}") as (_, lines):
            found = int(url_of(lines).rstrip("/").rpartition(":")[2])
            assert port < found < port + dashboard.PORTS_TRIED
            assert lines[0] == f"port {port} is in use; using port {found}"
            with urllib.request.urlopen(f"{url_of(lines)}api/store", timeout=SECONDS) as answer:
                assert json.load(answer)["sweeps"][0]["name"] == "small"


def test_beyond_loopback_a_token_is_made_and_printed_once(root: Path) -> None:
    with started(root, "--host=0.0.0.0", "--port=0") as (_, lines):
        place, _, token = url_of(lines).partition("?token=")
        assert len(token) == 32
        port = place.rstrip("/").rpartition(":")[2]
        at = f"http://127.0.0.1:{port}/api/store"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(at, timeout=SECONDS)
        assert refused.value.code == 401
        asked = urllib.request.Request(at, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "none: no such folder; give the output folder of `longtake run`"),
        (["file"], "file: no such folder; give the output folder of `longtake run`"),
        (["sweep"], "sweep: is a single sweep; give its parent folder, "),
        ([".", "--host=203.0.113.9"], "--host 203.0.113.9 --port 8765: unusable: "),
        ([".", "--host=no.such.host.invalid"], "--host no.such.host.invalid --port 8765: unusable: "),
        ([".", "--token=short"], "--token: too weak"),
        ([".", "--port=70000"], "65535"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("sweep").mkdir()
    Path("sweep/plan.jsonl").touch()
    assert execute(["dashboard", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1


def test_every_port_taken_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "PORTS_TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="are in use; choose another port"):
            dashboard.open_port("127.0.0.1", taken.getsockname()[1])


def test_addresses_to_open() -> None:
    assert dashboard.address("127.0.0.1", 8765, None) == "http://127.0.0.1:8765/"
    assert dashboard.address("::1", 1, "t") == "http://[::1]:1/?token=t"
    assert dashboard.address("0.0.0.0", 2, None) == f"http://{socket.gethostname()}:2/"
