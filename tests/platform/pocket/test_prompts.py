"""The camera script: what is understood, what is refused, and where the camera goes."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.prompts import Change, PocketPrompt, parse
from longtake.platform.pocket.truth import truth_of
from longtake.platform.pocket.world import MATERIALS, SKIES

GOOD = {
    "dusk, brick; pan right 6 s, left 6 s, repeat": PocketPrompt("dusk", "brick", ((1, 24), (-1, 24)), True),
    "dawn, glass; pan left 0.75 s": PocketPrompt("dawn", "glass", ((-1, 3),), False),
    "noon, stone; pan left 1.5 s, left 4.50 s": PocketPrompt("noon", "stone", ((-1, 6), (-1, 18)), False),
    "night, timber; pan right 3600 s": PocketPrompt("night", "timber", ((1, 14400),), False),
    "dusk, brick, long; pan right 600 s": PocketPrompt("dusk", "brick", ((1, 2400),), False, True),
    "dusk, brick; pan right 6 s, left 6 s, repeat; houses 18 to 26 change at 12 s": PocketPrompt(
        "dusk", "brick", ((1, 24), (-1, 24)), True, change=Change(18, 26, 48)
    ),
    "night, timber; pan right 3 s, repeat": PocketPrompt("night", "timber", ((1, 12),), True),
}
BAD = {
    "": "write '<sky>, <material>; pan <moves>'",
    "a cat walks": "write '<sky>",
    "Dusk, brick; pan right 6 s": "lower case",
    "dusk,  brick; pan right 6 s": "single spaces",
    "dusk, brick; pan right 6 s\n": "must read",
    "dusk, brick, pan right 6 s": "write '<sky>",
    "dusk, brick, short; pan right 6 s": "or '<sky>, <material>, long; ...'",
    "long, dusk, brick; pan right 6 s": "write '<sky>",
    "dusk, brick; pan right 6 s, left 6 s; houses 18 change at 12 s": "must read 'houses A to B change at N s'",
    "dusk, brick; pan right 6 s; houses 18 to 26 change at 12 s, repeat": "a change must read",
    "dusk, brick; pan right 6 s; houses 26 to 18 change at 9 s": "must be columns of a circle, 0 to 95 in order",
    "dusk, brick; pan right 6 s; houses 90 to 96 change at 9 s": "must be columns of a circle",
    "dusk, brick, long; pan right 60 s; houses 0 to 6 change at 9 s": "must be columns of a circle",
    "dusk, brick; pan right 24 s; houses 0 to 6 change at 9.5 s": "the change at 9.5 s must be at a multiple of 0.75 s",
    # At 4.5 s the camera goes from column 17 to 18; the third column of a house that begins at 15 is 17.
    "dusk, brick; pan right 24 s; houses 12 to 15 change at 4.5 s": "houses 12 to 15 are in view at 4.5 s",
    "dusk, brick; pan right 24 s; houses 25 to 30 change at 4.5 s": "are in view at 4.5 s; let them change out of view",
    "dust, brick; pan right 6 s": "unknown sky word 'dust'; use one of dawn, noon, dusk, night",
    "dusk, wood; pan right 6 s": "unknown material word 'wood'",
    "dusk, brick; pan up 6 s": "'up 6 s' must read",
    "dusk, brick; pan right 6": "'right 6' must read",
    "dusk, brick; pan right six s": "must read",
    "dusk, brick; pan right -6 s": "must read",
    "dusk, brick; pan right 1e1 s": "must read",
    "dusk, brick; pan right ٦ s": "must read",
    "dusk, brick; pan right 6 s,left 6 s": "must read",
    "dusk, brick; pan right 6 s, left 5 s, repeat": "the duration 5 s must be a multiple of 0.75 s",
    "dusk, brick; pan right 0.7 s": "the duration 0.7 s must be",
    "dusk, brick; pan right 0 s": "above 0",
    "dusk, brick; pan right 3600.75 s": "at most 3600 s",
    "dusk, brick; pan repeat": "'repeat' only at the end",
    "dusk, brick; pan right 6 s, repeat, left 6 s": "'repeat' only at the end",
    "dusk, brick; pan " + "right 6 s, " * 200 + "repeat": "write '<sky>",
}


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_good_prompts(text: str, expected: PocketPrompt) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(("text", "said"), BAD.items())
def test_bad_prompts_say_value_rule_and_example(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 400
    assert "use one of" in message or "for example 'dusk, brick; pan" in message


def test_the_camera_moves_one_column_a_frame_and_turns_at_a_block() -> None:
    # Blocks of 3: right, right, left, left, right, ...; the first frame is the origin and has no move.
    camera = parse("dusk, brick; pan right 1.5 s, left 1.5 s, repeat").camera(14)
    assert camera.tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, -1, 0, 1]
    assert camera.dtype == np.int64


def test_without_repeat_the_last_move_goes_on() -> None:
    camera = parse("dusk, brick; pan right 1.5 s, left 0.75 s").camera(13)
    assert camera.tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, -1, -2]
    assert parse("dusk, brick; pan left 240 s").camera(2).tolist() == [0, -1]


def test_text_tokens_are_one_hot_words() -> None:
    tokens = parse("noon, timber; pan right 3 s").text_tokens()
    assert tokens.tolist() == [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]
    assert tokens.dtype == np.float32


def test_the_shipped_prompts_cover_every_style_and_see_all_their_places_within_30_s() -> None:
    lines = resources.files("longtake.jobs").joinpath("sweeps/prompts/pocket.txt").read_text("utf-8").splitlines()
    prompts = [parse(line) for line in lines if line and not line.startswith("#")]
    assert len(prompts) == len(set(prompts)) == 32
    assert {(p.sky, p.material) for p in prompts} == {(s, m) for s in SKIES for m in MATERIALS}
    for prompt in prompts:
        camera = prompt.camera(960)
        assert {int(c) % 96 for c in camera} == {int(c) % 96 for c in camera[:120]}, prompt
        assert np.ptp(camera[:120]) <= 88, "a place is not seen from both ends of the circle"


def test_the_long_prompts_never_come_back() -> None:
    lines = resources.files("longtake.jobs").joinpath("sweeps/prompts/pocket-long.txt").read_text("utf-8").splitlines()
    prompts = [line for line in lines if not line.startswith("#")]
    assert len(prompts) == len({(parse(line).sky, parse(line).material) for line in prompts}) == 16
    assert all(truth_of(line, (), 0, 2400).never_returns for line in prompts)


def test_a_change_just_out_of_view_is_accepted() -> None:
    """At 4.5 s the view goes from 17..24 to 18..25: houses up to column 14 may reach to 16."""
    assert parse("dusk, brick; pan right 24 s; houses 12 to 14 change at 4.5 s").change == Change(12, 14, 18)
    assert parse("dusk, brick; pan right 24 s; houses 26 to 30 change at 4.5 s").change == Change(26, 30, 18)


def test_the_given_start_of_the_change_prompts_shows_houses_before_and_after() -> None:
    lines = resources.files("longtake.jobs").joinpath("sweeps/prompts/pocket-change.txt").read_text("utf-8")
    prompts = [line for line in lines.splitlines() if not line.startswith("#")]
    assert len(set(prompts)) == 16
    for line in prompts:
        truth = truth_of(line, (), 0, 240)
        before, after = truth.versions
        assert len(after) >= 4
        assert np.isin([*before, *after], truth.places_FC[:96]).all(), line
        assert np.isin(truth.places_FC[96:], after).any(), line
