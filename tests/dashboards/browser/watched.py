"""A page of Chromium that remembers everything that went wrong in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, Request, Response

SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "screenshots"
WAIT_MS = 20_000
VIOLATIONS = """
    window.__violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
        window.__violations.push(event.violatedDirective + " " + event.blockedURI));
"""


class Watched:
    """`problems`: what the console, the network and the content security policy complained about; `earlier`: requests
    of the pages that were left."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url, self.problems = url, list[str]()
        self.leaving, self.started, self.earlier = False, set[Request](), set[Request]()
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.add_init_script(VIOLATIONS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.started.add(request))
        self.page.on("requestfailed", self._on_failure)
        self.page.on("response", self._on_response)
        self.page.on("dialog", self._on_dialog)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")

    def _on_failure(self, request: Request) -> None:
        # A video that seeks drops the range it was loading, and a page that is left drops all that it was loading.
        left = self.leaving or request in self.earlier
        dropped = request.failure == "net::ERR_ABORTED"
        if not (dropped and (left or request.resource_type in ("media", "eventsource"))):
            self.problems.append(f"request failed: {request.method} {request.url} {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def _on_dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, hash_: str) -> Page:
        """The page at a deep link, loaded anew."""
        self.leaving = True
        self.page.goto("about:blank")
        self.leaving, self.earlier = False, self.earlier | self.started
        self.page.goto(f"{self.url}/#{hash_}")
        return self.page

    def until(self, told: Callable[[], object], what: str, seconds: float = 10.0) -> None:
        """Waits until `told` is true. Fails with `what` and what it was last."""
        last: object = None
        for _ in range(int(seconds * 20)):
            if last := told():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{what}: still {last!r} after {seconds:g} s; problems: {self.problems}")

    def shoot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def check(self) -> None:
        """Nothing went wrong so far."""
        told = self.page.locator(".notice.error").all_inner_texts()
        wrong = [*self.problems, *self.page.evaluate("window.__violations"), *told]
        assert not wrong, wrong
