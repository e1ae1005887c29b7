"""One Chromium and one server for the folder; each test has a page of its own."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take

from . import stores
from .watched import Watched

CHROMIUM = shutil.which("chromium")
LONGTAKE = Path(sys.executable).with_name("longtake")
Open = Callable[..., Watched]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed with the folder's last test: its event loop would be in the way of others'."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """`longtake dashboard ROOT` as users start it; gives the address that it prints."""
    process = subprocess.Popen(
        [LONGTAKE, "dashboard", str(root), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://[\w.:\[\]-]+", line):
                yield found.group()
                break
        else:
            raise AssertionError(f"the dashboard did not start: {said}")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.fixture(scope="package")
def root(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the sweeps `demo` and `painted`."""
    return tmp_path_factory.mktemp("shown")


@pytest.fixture(scope="package")
def demo_store(root: Path) -> SweepStore:
    return stores.demo(root)


@pytest.fixture(scope="package")
def painted_takes(root: Path) -> list[Take]:
    return stores.painted(root)


@pytest.fixture(scope="package")
def demo_url(root: Path, demo_store: SweepStore, painted_takes: list[Take]) -> Iterator[str]:
    with serve(root) as url:
        yield url


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """(address, width, height) -> a watched page of that size."""
    contexts = []

    def open_(url: str, width: int = 1280, height: int = 900) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        return Watched(context, url)

    yield open_
    for context in contexts:
        context.close()
