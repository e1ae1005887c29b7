"""A small sweep, made once, and a client of a dashboard over it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from longtake.dashboards.app import make_app
from longtake.jobs.cli import execute
from longtake.platform.store.sweep import SweepStore
from longtake.platform.store.training import TrainingFolder
from tests.jobs import tiny

Open = Callable[..., TestClient]


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of 2 methods x 2 lengths x 2 prompts; to be left as it is."""
    folder = tmp_path_factory.mktemp("made")
    assert execute(["run", str(tiny.write_sweep(folder))]) == 0
    return folder / "runs"


@pytest.fixture
def root(made_store: Path, tmp_path: Path) -> Path:
    """A copy with a training of 3 steps and an evaluation with one figure, to be changed at will."""
    root = tmp_path / "runs"
    shutil.copytree(made_store, root)
    training = TrainingFolder(root, "toy")
    training.folder.mkdir(parents=True)
    training.keep_config("name: toy\ncorpus: http://me:hunter2@tracker.example/x\n")
    for step in (1, 2, 3):
        training.add_step({"step": step, "total": 1 / step})
    training.add_validation({"step": 3, "total": 0.5})
    evaluation = root / "embedders" / "eval-1"
    evaluation.mkdir(parents=True)
    (evaluation / "eval.json").write_text('{"id": "1", "base": "avg-pool"}')
    (evaluation / "loss.png").write_bytes(b"\x89PNG figure")
    return root


@pytest.fixture
def small(root: Path) -> SweepStore:
    return SweepStore(root, "small")


@pytest.fixture
def open_client() -> Iterator[Open]:
    """Clients of fresh dashboards; they say Host: 127.0.0.1, and an error inside is an answer."""
    clients = []

    def opened(root: Path, host: str = "127.0.0.1", **options: Any) -> TestClient:
        client = TestClient(make_app(root, **options), f"http://{host}:8765", raise_server_exceptions=False)
        clients.append(client)
        return client

    yield opened
    for client in clients:
        client.close()


@pytest.fixture
def client(open_client: Open, root: Path) -> TestClient:
    return open_client(root)
