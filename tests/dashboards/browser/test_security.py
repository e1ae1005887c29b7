"""500 script strings as prompts, names, reasons and reports: none runs, and all are shown as the text that they are."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from longtake.platform.takes import Take

from .conftest import Open, serve
from .stores import SCRIPTS, hostile
from .watched import Watched


@pytest.fixture(scope="module")
def hostile_takes(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Take]]:
    root = tmp_path_factory.mktemp("hostile")
    return root, hostile(root)


@pytest.fixture(scope="module")
def hostile_url(hostile_takes: tuple[Path, list[Take]]) -> Iterator[str]:
    with serve(hostile_takes[0]) as url:
        yield url


def check(seen: Watched) -> None:
    seen.page.wait_for_timeout(500)
    assert seen.page.evaluate("window.__pwned") is None
    assert seen.page.locator("iframe, object, embed, form[action], body script").count() == 0
    seen.check()


def shown(seen: Watched) -> str:
    """Every text and title of the page, as the parser left them."""
    found: str = seen.page.evaluate(
        """() => [...document.querySelectorAll("*")].map((node) => [node.title ?? "", ...[...node.childNodes]
            .filter((child) => child.nodeType === 3).map((child) => child.data)].join("\\n")).join("\\n")"""
    )
    return found


def missing(seen: Watched, wanted: list[str]) -> list[str]:
    text = shown(seen)
    return [script for script in wanted if script not in text]


def test_the_leaderboard_shows_names_as_text(hostile_url: str, opened: Open) -> None:
    seen = opened(hostile_url)
    seen.open("/leaderboard?sweep=hostile").wait_for_selector("#view[data-ready=leaderboard]")
    assert missing(seen, ["<img src=x onerror=window.__pwned=1>", "<script>window.__pwned=2</script>"]) == []
    check(seen)


def test_compare_offers_every_prompt_as_text(
    hostile_url: str, hostile_takes: tuple[Path, list[Take]], opened: Open
) -> None:
    seen = opened(hostile_url)
    ids = ",".join(take.id for take in hostile_takes[1][:2])
    seen.open(f"/compare?sweep=hostile&takes={ids}").wait_for_selector("#view[data-ready=compare]")
    seen.until(lambda: SCRIPTS[0] in shown(seen), "the prompt")
    assert missing(seen, SCRIPTS) == []
    check(seen)


def test_the_sweep_shows_reasons_and_reports_as_text(hostile_url: str, opened: Open) -> None:
    seen = opened(hostile_url)
    seen.open("/sweep?sweep=hostile").wait_for_selector("#view[data-ready=sweep]")
    seen.until(lambda: SCRIPTS[5] in shown(seen), "the failures")
    assert missing(seen, SCRIPTS[5:]) == []
    check(seen)


def test_the_retrieval_shows_names_as_text(
    hostile_url: str, hostile_takes: tuple[Path, list[Take]], opened: Open
) -> None:
    seen = opened(hostile_url)
    take = hostile_takes[1][0]
    seen.open(f"/retrieval?sweep=hostile&take={take.id}").wait_for_selector("#view[data-ready=retrieval]")
    check(seen)


@pytest.mark.parametrize("view", ["leaderboard", "compare", "retrieval", "sweep", "training"])
def test_links_of_script_strings_run_nothing(view: str, hostile_url: str, opened: Open) -> None:
    """Parameters of the address are data as well. What does not exist is answered with 404, which is right, and a page
    that is left drops its requests."""
    seen = opened(hostile_url)
    keys = ("sweep", "takes", "take", "metric", "name", "sort", "suite", "t")
    for script in SCRIPTS[::100]:
        told = "&".join(f"{key}={quote(script)}" for key in keys)
        seen.open(f"/{view}?{told}").wait_for_selector("#view .notice, #view table")
        seen.page.wait_for_timeout(100)
        assert seen.page.evaluate("[window.__pwned ?? null, window.__violations]") == [None, []]
    assert [one for one in seen.problems if "404" not in one and "net::ERR_ABORTED" not in one] == []
