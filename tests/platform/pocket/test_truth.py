"""What a camera sees: the street without end, and the street, look and places of every frame."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from longtake.jobs.sweep.prompts import read_prompts
from longtake.platform.errors import ConfigError
from longtake.platform.pocket.long_street import REACH, LongStreet
from longtake.platform.pocket.streets import street_of
from longtake.platform.pocket.truth import truth_of
from longtake.platform.pocket.world import crop, panorama, split_columns
from longtake.platform.prompts import Switch

LONG = "dusk, brick, long; pan right 600 s"
FIRST = "dusk, brick; pan right 9 s"


def test_long_streets_left_the_views_of_the_shipped_prompts_as_they_were() -> None:
    """The digest was made by the code before there were long streets: 240 views of each prompt, seed 0."""
    lines = resources.files("longtake.jobs").joinpath("sweeps/prompts/pocket.txt").read_text("utf-8").splitlines()
    views = hashlib.sha256()
    for line in lines:
        if line and not line.startswith("#"):
            truth = truth_of(line, (), 0, 240)
            views.update(truth.look_of_places()[truth.places_FC].tobytes())
    assert views.hexdigest()[:16] == "c1220805cdaff254"


def test_a_long_street_is_the_same_on_every_machine_and_in_any_order() -> None:
    street = street_of("dusk", "brick", 0, long=True)
    pictures = [street.picture(number).tobytes() for number in (-2, -1, 0, 1, 2)]
    assert hashlib.sha256(b"".join(pictures)).hexdigest()[:16] == "643c2655951340e1"
    again = LongStreet(street.name, "dusk", "brick")
    assert again.stretch(2).paint("dusk", "brick").tobytes() == pictures[4]
    assert again.stretch(-1).paint("dusk", "brick").tobytes() == pictures[1]


@pytest.mark.parametrize(("sky", "material"), [("dusk", "brick"), ("night", "glass")])
def test_no_two_columns_of_a_long_street_within_reach_are_alike(sky: str, material: str) -> None:
    street = street_of(sky, material, 1, long=True)
    numbers = range(-REACH // 2, REACH // 2 + 1)
    columns = np.concatenate([split_columns(street.picture(number)) for number in numbers]).astype(float)
    norms = np.square(columns).sum(axis=1)
    distance = norms[:, None] + norms[None] - 2 * columns @ columns.T
    np.fill_diagonal(distance, np.inf)
    assert distance.min() / 384 > 2


def test_a_long_street_runs_on_from_one_stretch_to_the_next() -> None:
    """The tint of the sky moves by less than 3 levels a pixel, across a seam as elsewhere."""
    street = street_of("noon", "stone", 3, long=True)
    sky = np.concatenate([street.picture(number)[0] for number in (-1, 0, 1)]).astype(int)
    assert np.abs(np.diff(sky, axis=0)).max() <= 2


def test_a_long_street_never_comes_back_and_a_circle_does() -> None:
    truth = truth_of(LONG, (), 0, 300)
    assert truth.never_returns
    assert truth.places == 307
    assert truth.seen_before_FC[1:, :7].all()
    assert not truth.seen_before_FC[:, 7].any()
    assert not truth_of(LONG.replace("right 600 s", "right 9 s, left 9 s"), (), 0, 72).never_returns
    assert not truth_of("dusk, brick; pan right 600 s", (), 0, 30).never_returns


def test_a_view_is_the_crop_of_its_street() -> None:
    truth, street = truth_of("noon, glass; pan left 9 s", (), 2, 12), panorama("noon", "glass", 2)
    looks = truth.look_of_places()
    for frame in range(12):
        assert np.array_equal(looks[truth.places_FC[frame]], split_columns(crop(street, -4 * frame)))


def test_another_text_repaints_the_street_and_keeps_its_houses() -> None:
    """From frame 6 on it is night. The true columns differ everywhere, but the ground line and the houses do not move:
    a house pixel of the one is a house pixel of the other."""
    truth = truth_of(FIRST, (Switch(1.5, "night, brick; pan left 9 s", frame=6),), 0, 12)
    assert truth.street_F.tolist() == [0] * 6 + [1] * 6
    dusk, night = truth.streets
    assert (night.name, night.sky) == (dusk.name, "night")
    assert np.array_equal(dusk.drawing(0).lots.look, night.drawing(0).lots.look)
    looks = truth.look_of_places()
    assert (looks[truth.places_FC[5]] != looks[truth.places_FC[5] + 96]).any(axis=1).all()
    assert truth.places_FC[6].tolist() == [96 + column for column in range(4, 12)]  # the camera goes from 5 to 4
    assert not truth.seen_before_FC[6].any()


def test_a_cut_leads_to_another_street_and_the_first_words_lead_back_to_the_first_look() -> None:
    cut = Switch(1.5, FIRST, True, frame=6)
    truth = truth_of(FIRST, (cut,), 0, 12)
    assert len({street.name for street in truth.streets}) == 2
    assert not np.array_equal(truth.streets[0].picture(0), truth.streets[1].picture(0))
    night = Switch(0.75, "night, brick; pan left 9 s", frame=3), Switch(1.5, FIRST, frame=6)
    there_and_back = truth_of(FIRST, night, 0, 12)
    assert there_and_back.street_F.tolist() == [0] * 3 + [1] * 3 + [0] * 6
    assert there_and_back.seen_before_FC[6].any()


def test_a_circle_does_not_become_a_long_street_without_a_cut() -> None:
    with pytest.raises(ConfigError, match="without a cut the street goes on"):
        truth_of(FIRST, (Switch(1.5, LONG, frame=6),), 0, 12)
    cut = truth_of(FIRST, (Switch(1.5, LONG, True, frame=6),), 0, 12)
    assert cut.streets[1].long
    assert cut.camera_F.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]


CHANGE = "dusk, brick; pan right 6 s, left 6 s, repeat; houses 18 to 26 change at 12 s"


def test_a_change_replaces_whole_houses_and_nothing_else() -> None:
    """Of this street the lots that begin in 18..26 are columns 19..26."""
    truth = truth_of(CHANGE, (), 0, 96)
    plain = truth_of(CHANGE.partition(";")[0] + "; pan right 6 s, left 6 s, repeat", (), 0, 96)
    before, after = truth.versions
    assert before.tolist() == list(range(19, 27))
    assert after.tolist() == list(range(96, 104))
    assert np.array_equal(truth.places_FC[:48], plain.places_FC[:48])
    assert truth.places_FC[60].tolist() == [12, 13, 14, 15, 16, 17, 18, 96]
    looks = truth.look_of_places().astype(float)
    assert np.array_equal(looks[:96], plain.look_of_places())
    distance = np.square(looks[:, None] - looks[None]).mean(axis=2)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 2  # a column says where it is, and in which look


def test_what_was_shown_last_is_what_counts_after_the_prefix() -> None:
    """In 24 s the second visit shows the new look; in 12 s only the former one was shown, which then stays."""
    truth = truth_of(CHANGE, (), 0, 240)
    assert np.array_equal(truth.as_shown(96), truth.places_FC)
    shown = truth.as_shown(48)
    assert np.array_equal(shown[:48], truth.places_FC[:48])
    assert shown.max() == 95
    # Frame 60 of 15 s shows 12..19: column 19 in its new look; 20..26 are not shown again before frame 61.
    assert truth.as_shown(61)[67].tolist() == [19 + 77, 20, 21, 22, 23, 24, 25, 26]


def test_houses_change_only_in_a_prompt_of_one_text() -> None:
    with pytest.raises(ConfigError, match="houses change only in a prompt of one text"):
        truth_of(CHANGE, (Switch(1.5, FIRST, frame=6),), 0, 12)
    with pytest.raises(ConfigError, match="houses change only in a prompt of one text"):
        truth_of(FIRST, (Switch(1.5, CHANGE, True, frame=6),), 0, 12)


def test_the_timed_prompts_repaint_a_street_or_cut_to_another() -> None:
    file = resources.files("longtake.jobs").joinpath("sweeps/prompts/pocket-timed.jsonl")
    prompts = read_prompts({"file": str(file)}, Path("sweep.yaml"))
    assert len(prompts) == 8
    for prompt in prompts:
        switches = prompt.switches(4, 3)
        truth = truth_of(prompt.text, switches, 0, 240)
        cuts = [one.frame for one in switches if one.cut]
        assert len({street.name for street in truth.streets}) == 1 + len(cuts)
        assert len(truth.streets) >= 2
        assert not truth.seen_before_FC[cuts].any()
        assert truth.camera_F[cuts].tolist() == [0] * len(cuts)


def test_no_prompt_is_in_two_of_the_shipped_files() -> None:
    folder = resources.files("longtake.jobs").joinpath("sweeps/prompts")
    names = ["pocket.txt", "pocket-test.txt", "pocket-long.txt", "pocket-change.txt", "pocket-timed.jsonl"]
    files = [read_prompts({"file": str(folder.joinpath(name))}, Path("sweep.yaml")) for name in names]
    assert [len(prompts) for prompts in files] == [32, 32, 16, 16, 8]
    assert len({str(prompt) for prompts in files for prompt in prompts}) == 104
