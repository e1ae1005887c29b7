"""A store of 10,000 takes: the first page is there at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .conftest import Open, serve
from .stores import large

# Milliseconds from the start of the navigation until the table has rows and the screen has shown them.
FIRST_TABLE = """() => new Promise((resolve) => {
    const look = () => document.querySelector("#leaderboard tbody tr td")
        ? requestAnimationFrame(() => resolve(performance.now()))
        : requestAnimationFrame(look);
    look();
})"""


@pytest.fixture(scope="module")
def large_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root: Path = tmp_path_factory.mktemp("large")
    large(root)
    with serve(root) as url:
        yield url


def test_the_first_page_of_10_000_takes(large_url: str, opened: Open) -> None:
    """The promise is 2 s on a quiet machine; the bound is for one that is shared."""
    for what in ("first", "second"):
        seen = opened(large_url)
        seen.open("/leaderboard")
        took = seen.page.evaluate(FIRST_TABLE)
        rows = seen.page.locator("#leaderboard tr[data-cell]").count()
        print(f"{what} look: {rows} rows of 10,000 takes after {took / 1000:.2f} s")
        assert rows == 50
        assert took < 10_000
        seen.check()


@pytest.mark.parametrize("view", ["compare", "sweep"])
def test_other_views_of_10_000_takes(view: str, large_url: str, opened: Open) -> None:
    seen = opened(large_url)
    seen.open(f"/{view}?sweep=large").wait_for_selector(f"#view[data-ready={view}]")
    nodes = seen.page.evaluate("document.querySelectorAll('*').length")
    took = seen.page.evaluate("performance.now()") / 1000
    print(f"{view}: {nodes} elements after {took:.2f} s")
    assert nodes < 20_000
    seen.check()
