"""Session-wide: one small Ray, one migrated MLflow database to copy from, the videos that VBench's code has scored."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.needs import pytest_collection_modifyitems, pytest_runtest_call  # noqa: F401  hooks of pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts background commands with SIGINT ignored; tests of interrupts, and the processes they start, need it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No test reads or writes the weights that a user has; Ray's workers inherit the folder.
WEIGHTS = tempfile.mkdtemp(prefix="longtake-weights-")
os.environ["LONGTAKE_WEIGHTS"] = WEIGHTS
atexit.register(shutil.rmtree, WEIGHTS, ignore_errors=True)
TINY = Path(__file__).parent / "jobs"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes by their number: archives carry the time of their making, and every process must collect the same ids."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A Ray of 2 CPUs whose workers know the tests' backbones; code that connects to `local` gets this one."""
    import ray

    folder = tempfile.mkdtemp(prefix="lt")  # short: a socket's path must fit into 107 characters
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 * 2**20,
        _temp_dir=folder,
        runtime_env={
            "env_vars": {"PYTHONPATH": str(TINY)},
            "worker_process_setup_hook": "ray_setup.register",
        },
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def wan_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' folder of weights, with all of the Wan family pulled from a mirror of small ones and converted."""
    from longtake.jobs.cli import execute
    from tests.jobs.mini_wan import MiniLongLive
    from tests.platform.weights.wan_mirror import write_mirror

    mirror = write_mirror(tmp_path_factory.mktemp("mirror"), MiniLongLive.spec.network)
    names = ["self-forcing", "causal-forcing", "longlive", "longlive-rag-embedder", "moviegen-prompts"]
    assert execute(["weights", "pull", *names, "--from", str(mirror)]) == 0
    return Path(WEIGHTS)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database, made once: its migrations take 10 s."""
    from longtake.platform.tracking.client import warm_up

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    warm_up(f"sqlite:///{path}")
    return path


@pytest.fixture
def mlflow_db(migrated_database: Path, tmp_path: Path) -> str:
    """The URI of an empty tracking store of this test's own."""
    path = tmp_path / "tracking" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(migrated_database, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def golden_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name -> the video that tests/golden/vbench/scores.json has the scores of, made now; `real` needs ../shared."""
    from tests.parity import videos

    folder = tmp_path_factory.mktemp("golden-videos")

    @cache
    def made(name: str) -> Path:
        if name == "real" and not videos.TAKE.is_file():
            pytest.skip("shared folder absent")
        return videos.checked(name, folder)

    return made
