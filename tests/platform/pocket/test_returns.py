"""When a place comes back, and whether it is recognised."""

from itertools import pairwise

import numpy as np
import pytest

from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.returns import SIZE_PX, Course, FirstViews, course_of, visits, visits_of
from longtake.platform.pocket.world import COLUMNS, crop, panorama
from longtake.platform.takes import MethodSpec, Take


def test_a_view_is_back_after_all_of_it_was_out_of_sight() -> None:
    """9 columns right and 9 left: the view at 0 is out of sight at 8, and back at frame 18."""
    camera = Course(np.array([0, *range(1, 10), *range(8, -1, -1), 1, 2]))
    assert visits_of(camera, 0) == [0, 18]
    assert visits_of(camera, 5) == [5]  # the camera was never 8 columns away from it


def test_the_street_is_a_circle() -> None:
    assert visits_of(Course(np.arange(COLUMNS + 1)), 0) == [0, COLUMNS]


def test_the_view_with_the_most_returns_is_shown_and_the_last_one_is_kept() -> None:
    """6 s right and 6 s left, 24 columns each: the middle of the way is passed every 6 s, its ends every 12 s."""
    camera = parse("dusk, brick; pan right 6 s, left 6 s, repeat").camera(240)
    frames = visits(Course(camera), 9)
    assert len(set(camera[frames] % COLUMNS)) == 1
    assert (len(frames), frames[0]) == (9, 11)
    everything = visits(Course(camera), 1000)
    assert [after - before for before, after in pairwise(everything)] == [24] * 9
    assert frames[-1] == everything[-1]


def test_the_place_where_the_video_begins_is_the_last_choice() -> None:
    """A window with a sink never forgets it. 12 columns right and back: the views from 8 on share no column with it."""
    camera = parse("dusk, brick; pan right 3 s, left 3 s, repeat").camera(120)
    assert camera[visits(Course(camera), 9)[0]] >= 8


def test_returns_of_one_way_move_as_at_the_first_view() -> None:
    camera = parse("dusk, brick; pan right 6 s, left 6 s, repeat").camera(240)
    frames = visits(Course(camera), 9, one_way=True)
    assert frames == [11, 59, 107, 155, 203]  # every 48 latent frames: to the right again


def test_a_camera_that_never_returns_has_no_visits() -> None:
    assert len(visits(Course(np.arange(60)), 9)) < 2
    assert visits(Course(np.zeros(0, dtype=np.int64)), 9) == []


@pytest.mark.parametrize(
    ("prompt", "known"), [("dusk, brick; pan right 6 s, left 6 s, repeat", True), ("a cat", False)]
)
def test_only_pocket_prompts_have_a_camera(prompt: str, known: bool) -> None:
    assert (course_of(Take("any", MethodSpec("native", "native"), 3, 12, prompt, 0)) is not None) == known


def test_the_right_place_is_recognised_and_another_one_is_not() -> None:
    """The true street twice along its path; then, at the last return, the view of 40 columns further on."""
    street = panorama("dusk", "brick", 0)
    camera = np.array([*range(0, 60), *range(59, -1, -1)])
    views = FirstViews(Course(camera))
    frames = [crop(street, 4 * int(left)).repeat(4, axis=0).repeat(4, axis=1) for left in camera]
    assert frames[0].shape == (SIZE_PX, SIZE_PX, 3)
    for latent, frame in enumerate(frames):
        views.add(latent, frame)
    assert views.recognised(119, frames[119]) == 1.0
    assert views.recognised(119, frames[40]) == 0.0
