"""Videos side by side stay in step, told from their pixels: each frame of a painted video shows its own index.

What a canvas reads from the four videos in one animation frame is what a person sees at once.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from longtake.platform.takes import Take

from . import stores
from .conftest import Open, serve
from .stores import CHECK, CLIP_SECONDS, GRID, NUMBER_BITS, PAINTED_METHODS, SQUARE_PX, WORST
from .watched import WAIT_MS, Watched

FPS = 16
PLAY_SECONDS = 10
# `__numbers()`: the index that each video shows, null while there is none or its remainder by 127 does not agree.
READER = f"""() => {{
    const size = {SQUARE_PX * GRID};
    const pen = Object.assign(document.createElement("canvas"), {{ width: size, height: size }})
        .getContext("2d", {{ willReadFrequently: true }});
    window.__videos = () => [...document.querySelectorAll("video[data-take]")];
    window.__number = (video) => {{
        if (video.readyState < 2) return null;
        pen.drawImage(video, 0, 0, size, size);
        let number = 0, rest = 0;
        for (let k = 0; k < {GRID * GRID}; k += 1) {{
            const x = {SQUARE_PX} * (k % {GRID} + 0.5), y = {SQUARE_PX} * (Math.floor(k / {GRID}) + 0.5);
            const bit = pen.getImageData(x, y, 1, 1).data[1] > 127 ? 1 : 0;
            if (k < {NUMBER_BITS}) number += bit << k;
            else rest += bit << (k - {NUMBER_BITS});
        }}
        return number % {CHECK} === rest ? number : null;
    }};
    window.__numbers = () => window.__videos().map(window.__number);
}}"""
RECORD = """(seconds) => new Promise((resolve) => {
    const rows = [], end = performance.now() + 1000 * seconds;
    const tick = () => {
        rows.push([performance.now() / 1000, window.__numbers()]);
        if (performance.now() < end) requestAnimationFrame(tick);
        else resolve(rows);
    };
    requestAnimationFrame(tick);
})"""


@pytest.fixture
def seen(demo_url: str, painted_takes: list[Take], opened: Open) -> Watched:
    """The four painted takes at 5 s."""
    seen = opened(demo_url)
    page = seen.open(link(painted_takes, t=5))
    page.wait_for_selector("#view[data-ready=compare]")
    page.evaluate(READER)
    prepare_network(seen, 5 * FPS)
    return seen


def link(takes: list[Take], **params: Any) -> str:
    told = "".join(f"&{key}={value}" for key, value in params.items())
    return f"/compare?sweep=painted&takes={','.join(take.id for take in takes)}{told}"


def numbers(page: Page) -> list[int | None]:
    found: list[int | None] = page.evaluate("window.__numbers()")
    return found


def prepare_network(seen: Watched, frame: int) -> None:
    """All four show this very frame, and the page says so."""
    seen.until(lambda: numbers(seen.page) == [frame] * 4, f"frame {frame} in all videos")
    seen.until(lambda: label(seen.page) == frame, f"frame {frame} in words")


def stopped(seen: Watched) -> int:
    """The one frame that all four show once they have stopped; a video has no picture while it seeks."""
    found: list[int | None] = []

    def alike() -> bool:
        found[:] = numbers(seen.page)
        return None not in found and len(set(found)) == 1

    seen.until(lambda: seen.page.inner_text("#play") == "Play", "the button to say Play")
    seen.until(alike, "one frame in all videos")
    return found[0] or 0


def label(page: Page) -> int:
    """The frame that the page says it shows."""
    text = page.inner_text("#frame")
    return int("".join(char for char in text.split("/")[0] if char.isdigit()))


def test_ten_seconds_of_play_stay_within_one_frame(seen: Watched) -> None:
    seen.page.click("#play")
    seen.until(lambda: (numbers(seen.page)[0] or 0) > 5 * FPS, "the videos to play")
    rows = seen.page.evaluate(RECORD, PLAY_SECONDS)
    read = [row for _, row in rows if None not in row]
    apart = [max(row) - min(row) for row in read]
    within = sum(gap <= 1 for gap in apart) / len(apart)
    print(f"{len(apart)} looks in {PLAY_SECONDS} s: {within:.2%} within one frame, at most {max(apart)} apart")
    assert len(read) > 0.9 * len(rows)
    assert len(read) > 5 * PLAY_SECONDS
    assert read[-1][0] - read[0][0] == pytest.approx(PLAY_SECONDS * FPS, abs=0.2 * PLAY_SECONDS * FPS)
    assert max(apart) <= 1
    seen.page.click("#play")
    prepare_network(seen, stopped(seen))
    seen.check()


def test_twenty_scrubs_end_on_the_very_frame(seen: Watched, painted_takes: list[Take]) -> None:
    last = painted_takes[0].num_frames - 1
    chance = random.Random(0)
    for _ in range(20):
        scrub(seen, chance.randint(0, last))
    for frame in (last, 0):
        scrub(seen, frame)
    seen.check()


def scrub(seen: Watched, frame: int) -> None:
    drag(seen.page, frame)
    prepare_network(seen, frame)


def drag(page: Page, frame: int) -> None:
    """Moves the scrubber to a frame, as dragging does."""
    page.eval_on_selector(
        "#scrub",
        """(node, part) => {
            const [low, high] = [Number(node.min || 0), Number(node.max || 100)];
            node.value = low + part * (high - low);
            node.dispatchEvent(new Event("input", { bubbles: true }));
            node.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        frame / 476,
    )


def test_keys_play_stop_and_step(seen: Watched) -> None:
    keys = seen.page.keyboard
    for key, frame in [
        ("ArrowRight", 81),
        ("ArrowRight", 82),
        ("ArrowLeft", 81),
        ("Shift+ArrowRight", 97),
        ("Shift+ArrowLeft", 81),
        ("End", 476),
        ("Home", 0),
    ]:
        keys.press(key)
        prepare_network(seen, frame)
    keys.press("Space")
    seen.until(lambda: (numbers(seen.page)[0] or 0) > FPS, "the videos to play")
    keys.press("Space")
    frame = stopped(seen)
    seen.page.wait_for_timeout(300)
    prepare_network(seen, frame)
    seen.check()


def test_keys_go_on_once_the_scrubber_has_the_focus(seen: Watched) -> None:
    """A click in the middle of the scrubber, then space and arrows, which move one frame and not two."""
    page = seen.page
    page.click("#scrub")
    assert page.evaluate("document.activeElement.id") == "scrub"
    middle = stopped(seen)
    assert middle == pytest.approx(238, abs=3)
    page.keyboard.press("ArrowRight")
    prepare_network(seen, middle + 1)
    page.keyboard.press("ArrowLeft")
    prepare_network(seen, middle)
    assert page.input_value("#scrub") == str(middle)
    page.keyboard.press("Space")
    seen.until(lambda: (numbers(page)[0] or 0) > middle + 4, "the videos to play")
    page.keyboard.press("Space")
    prepare_network(seen, stopped(seen))
    seen.check()


def test_w_goes_to_the_worst_second_with_caps_lock_too(seen: Watched) -> None:
    seen.page.select_option("#metric", "classical/subject_consistency")
    seen.page.locator("#videos").click(position={"x": 1, "y": 1})
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.keyboard.press("W")
    prepare_network(seen, WORST[PAINTED_METHODS[0]][0] * CLIP_SECONDS * FPS)
    seen.check()


def test_the_focus_stays_on_a_take_that_is_taken_out_and_put_back(seen: Watched, painted_takes: list[Take]) -> None:
    page, last = seen.page, painted_takes[-1].id
    page.focus(f"[data-pick='{last}']")
    for shown in (3, 4):
        page.keyboard.press("Space")
        expect(page.locator("video[data-take]")).to_have_count(shown)
        assert page.evaluate("document.activeElement.dataset.pick") == last
    seen.check()


def test_the_focus_stays_on_a_link_while_the_address_follows_the_time(seen: Watched) -> None:
    seen.page.keyboard.press("Shift+ArrowRight")
    seen.page.focus("#nav a[data-view=sweep]")
    seen.until(lambda: "t=6" in seen.page.url, "the time in the address")
    assert seen.page.evaluate("document.activeElement.dataset.view") == "sweep"
    seen.check()


def test_a_link_shows_the_same_view_again(seen: Watched, painted_takes: list[Take]) -> None:
    """What the address says after some moves is all that another page needs."""
    seen.page.keyboard.press("Shift+ArrowRight")
    prepare_network(seen, 96)
    seen.until(lambda: "t=6" in seen.page.url, "the time in the address")
    other = Watched(seen.page.context, seen.url)
    other.open(seen.page.url.partition("#")[2])
    other.page.wait_for_selector("#view[data-ready=compare]")
    other.page.evaluate(READER)
    prepare_network(other, 96)
    takes = other.page.eval_on_selector_all("video[data-take]", "(all) => all.map((v) => v.dataset.take)")
    assert takes == [take.id for take in painted_takes]
    other.check()


@pytest.mark.parametrize(("metric", "which"), [("subject_consistency", 0), ("chroma_noise", 1)])
def test_the_worst_second_is_where_the_scores_say(
    metric: str, which: int, demo_url: str, painted_takes: list[Take], opened: Open
) -> None:
    """subject_consistency is worst where it is lowest, chroma_noise where it is highest; clips have 2 s = 32 frames."""
    seen = opened(demo_url)
    page = seen.open(link(painted_takes, metric=f"classical/{metric}"))
    page.wait_for_selector("#view[data-ready=compare]")
    page.evaluate(READER)
    prepare_network(seen, 0)
    first = WORST[PAINTED_METHODS[0]][which] * CLIP_SECONDS * FPS
    page.click("#worst")
    seen.until(lambda: first <= (numbers(page)[0] or 0) < first + CLIP_SECONDS * FPS, f"a frame of the clip at {first}")
    seen.check()


def test_the_text_that_counts_now_is_shown(tmp_path: Path, opened: Open) -> None:
    """Latent frame 81 is video frame 4 * 80 + 1 = 321 and those after it."""
    take = stores.changing(tmp_path)
    with serve(tmp_path) as url:
        seen = opened(url)
        page = seen.open("/compare?sweep=changing&t=5")
        page.wait_for_selector("#view[data-ready=compare]")
        expect(page.locator("#drift .shapelayer path")).to_have_count(1, timeout=WAIT_MS)
        for frame, text in ((0, "a red door"), (320, "a red door"), (321, "a blue door"), (476, "a blue door")):
            drag(page, frame)
            expect(page.locator("#frame")).to_have_text(str(frame), timeout=WAIT_MS)
            expect(page.locator("#text")).to_have_text(text)
        expect(page.locator("#prompt")).to_contain_text(take.full_prompt)
        seen.check()
