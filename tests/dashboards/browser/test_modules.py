"""What the page's modules work out: numbers as text, times of latent frames, which ranks may be compared."""

from typing import Any

import pytest

from .conftest import Open
from .watched import Watched


@pytest.fixture
def seen(demo_url: str, opened: Open) -> Watched:
    seen = opened(demo_url)
    seen.open("/leaderboard").wait_for_selector("#view[data-ready=leaderboard]")
    return seen


def call(seen: Watched, module: str, code: str) -> Any:
    return seen.page.evaluate(f"async () => {{ const m = await import('/static/{module}.js'); return {code}; }}")


def test_only_zero_is_told_as_zero(seen: Watched) -> None:
    """0.0002 has no digit in three places and gets two of its own; what has one keeps its places."""
    values = [
        (0, 3, "0"),
        (-0.0002, 3, "−0.00020"),
        (0.0004, 3, "+0.00040"),
        (0.00002, 3, "+2.0e-5"),
        (0.5, 3, "+0.500"),
    ]
    assert [call(seen, "format", f"m.signed({value}, {digits})") for value, digits, _ in values] == [
        text for *_, text in values
    ]
    assert call(seen, "format", "[0.9, 0.00002, 0, -0.0004].map(m.column([0.9]))") == [
        "0.9000",
        "2.00e-5",
        "0.0000",
        "−0.0004",
    ]


def test_latent_frames_in_seconds(seen: Watched) -> None:
    """477 frames at 16 a second, 4 a latent frame: latent 0 is frame 0, 1 is 1 to 4, 2 is 5 to 8, 119 ends at 476."""
    clock = "new m.Clock({ fps: 16, frames_per_latent: 4 }, 477)"
    assert call(seen, "trace", f"[0, 1, 2, 119, 120, 130].map((l) => 16 * {clock}.start(l))") == [
        0,
        1,
        5,
        473,
        477,
        477,
    ]
    assert call(seen, "trace", f"[0, 1, 2, 119, 130].map((l) => {clock}.last(l))") == [0, 4, 8, 476, 476]
    assert call(seen, "trace", f"[0, 1, 2, 119].map((l) => {clock}.latentAt({clock}.start(l)))") == [0, 1, 2, 119]


def test_latent_frames_of_a_published_decode_in_seconds(seen: Watched) -> None:
    """Each 60 latent frames are 1 + 59 * 4 = 237 frames, so latent 60 is frame 237, 61 is 238 to 241, 120 is frame 474,
    and 121 is 475 to 478."""
    clock = "new m.Clock({ fps: 16, frames_per_latent: 4, decode_chunk: 60 }, 479)"
    latents = "[0, 1, 59, 60, 61, 62, 120, 121]"
    assert call(seen, "trace", f"{latents}.map((l) => 16 * {clock}.start(l))") == [0, 1, 233, 237, 238, 242, 474, 475]
    assert call(seen, "trace", f"{latents}.map((l) => {clock}.last(l))") == [0, 4, 236, 237, 241, 245, 474, 478]
    assert call(seen, "trace", f"{latents}.map((l) => {clock}.latentAt({clock}.start(l)))") == [
        0, 1, 59, 60, 61, 62, 120, 121,
    ]  # fmt: skip


def test_ranks_of_other_prompts_or_settings_are_left_out(seen: Watched) -> None:
    """`b` ranked x as `a` did; `c` ranked it on other prompts; y is in no other sweep, and z not in `a`."""
    cells = """[
        { cell: "x", ranks: { a: 1, b: 2, c: 3 }, sets: { a: "s", b: "s", c: "t" } },
        { cell: "y", ranks: { a: 2, b: null, c: null }, sets: { a: "s", b: null, c: null } },
        { cell: "z", ranks: { a: null, b: 1, c: 1 }, sets: { a: null, b: "s", c: "s" } }]"""
    found = call(seen, "ranking", f"m.comparable({{ sweeps: ['a', 'b', 'c'], cells: {cells} }}, 'a')")
    assert found == {"sweeps": ["a", "b"], "leftOut": 1, "cells": [{"cell": "x", "path": [1, 2]}]}


def test_a_mean_says_over_how_many_ranks_it_is(seen: Watched) -> None:
    row, shown = "{ metrics: { a: { rank: 1 }, b: { rank: null } } }", "{{ metrics: {} }}"
    assert call(seen, "leaderboard_table", f"m.overOf({row}, {shown.format(['a'])})") == "1 metric"
    assert (
        call(seen, "leaderboard_table", f"m.overOf({row}, {shown.format(['a', 'b'])})")
        == "only 1 of the 2 metrics shown"
    )


def test_drift_is_marked_where_its_test_says_so(seen: Watched) -> None:
    """-.1 with p = .01 is a loss of what should be high, with p = .2 or from an earlier version nothing."""
    row = "{ cell: 'x/m/30s', backbone: 'x', method: 'm', metrics: { a: { score: 1, rank: 1 } }, average_rank: 1 }"
    drift = "{ suite: 's', seconds: 30, backbone: 'x', method: 'm', metric: 'a', quarter_diff: -0.1, scored: 8, %s }"
    ranks = (
        "{ suites: { s: { directions: { a: 'higher' }, settings: {}, lengths: [{ seconds: 30, overall: [%s] }] } }, "
        "coverage: {}, drift: [%s] }"
    )
    marks = []
    for p in (
        "drift_p: { quarter_diff: 0.01 }",
        "drift_p: { quarter_diff: 0.2 }",
        "quarter_diff_interval: [-0.2, -0.1]",
    ):
        shown = f"m.leaderboard({ranks % (row, drift % p)}, [], {{}})"
        marks.append(call(seen, "ranking", f"{shown}.driftOf({row}, 'a').mark"))
    assert marks == ["loss", "", ""]


@pytest.mark.parametrize(
    ("prompts", "cells", "flips", "text"),
    [
        (6, 2, 100_000, ""),  # .031
        (6, 3, 100_000, "p < 0.05 is impossible with 6 prompts and 3 comparisons"),  # 3 * .031
        (7, 3, 100_000, ""),  # 3 * .016
        (128, 46, 100_000, ""),
        (128, 46, "undefined", "p < 0.05 is impossible with 128 prompts and 1,035 comparisons"),  # an earlier version
        (6, 1, 100_000, ""),  # one cell has none to compare with
    ],
)
def test_a_board_on_which_no_cells_can_be_told_apart_says_so(
    seen: Watched, prompts: int, cells: int, flips: int | str, text: str
) -> None:
    shown = f"groups: [{{ tested: {cells} }}], length: {{ prompts: {prompts} }}"
    ranked = f"ranked: {{ intervals: {{ max_flips: {flips} }} }}"
    assert call(seen, "ranking", f"m.impossibleWith({{ {shown}, {ranked} }})") == text
