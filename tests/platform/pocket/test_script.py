"""The camera of a take whose prompt changes, and what is seen at a cut."""

import numpy as np
import pytest
import torch

from longtake.platform.backbones.pocket import Pocket
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import Resources
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.script import FAR, camera, camera_of, check
from longtake.platform.prompts import Part, Prompt, Switch
from longtake.platform.takes import MethodSpec, Take

RIGHT, LEFT = "dusk, brick; pan right 9 s", "night, brick; pan left 0.75 s, right 9 s"


def test_without_a_cut_the_camera_goes_on_from_where_it_is() -> None:
    """At frame 6 the camera is at column 5; the new script moves 3 columns to the left, then to the right again."""
    assert camera(RIGHT, (Switch(1.5, LEFT, frame=6),), 15).tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 3, 4, 5, 6, 7, 8]


def test_a_cut_leads_to_the_beginning_of_a_street_far_away() -> None:
    cuts = (Switch(0.75, RIGHT, True, frame=3), Switch(1.5, LEFT, True, frame=6), Switch(2.25, RIGHT, frame=9))
    assert camera(RIGHT, cuts, 12).tolist() == [
        *(0, 1, 2, FAR, FAR + 1, FAR + 2),
        *(2 * FAR, 2 * FAR - 1, 2 * FAR - 2, 2 * FAR - 1, 2 * FAR, 2 * FAR + 1),
    ]


def test_a_longer_take_begins_with_the_camera_of_the_shorter_one() -> None:
    switches = (Switch(1.5, LEFT, frame=6), Switch(3.0, RIGHT, True, frame=12))
    assert camera(RIGHT, switches, 30)[:18].tolist() == camera(RIGHT, switches, 18).tolist()


def test_a_text_that_is_no_pocket_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="pocket prompt 'a cat'"):
        camera(RIGHT, (Switch(1.5, "a cat", frame=6),), 12)


def test_at_a_cut_nothing_of_the_street_before_is_seen() -> None:
    """Latent frame 3 gives video frames 9 .. 12, all of them the new view; without the cut the views slide."""
    latents = torch.randn(6, 48, 1, 8, generator=torch.Generator().manual_seed(0))
    cut = StreamingDecoder(PocketCodec(), camera(RIGHT, (Switch(0.75, RIGHT, True, frame=3),), 6)).push(latents)
    slid = StreamingDecoder(PocketCodec(), camera(RIGHT, (), 6)).push(latents)
    assert cut.shape == slid.shape
    assert all(np.array_equal(cut[frame], slid[12]) for frame in range(9, 13))
    assert np.array_equal(cut[:9], slid[:9])
    assert np.array_equal(cut[13:], slid[13:])


def test_a_backbone_moves_the_camera_and_changes_the_text() -> None:
    take = Take("pocket", MethodSpec("native", "native"), 3, 15, RIGHT, 0, switches=(Switch(1.5, LEFT, frame=6),))
    found = Pocket(Resources(device="cpu")).condition_of(take)
    assert found.columns is not None
    assert found.columns.tolist() == camera_of(take).tolist()
    (later,) = found.later
    assert later[0].argmax(dim=1).tolist() == [3, 4]  # night, brick
    assert found.text[0].argmax(dim=1).tolist() == [2, 4]


def test_after_a_cut_no_frame_of_the_street_before_is_near() -> None:
    """The camera of the second street is at its column 0; the first frame of the video is 67,200 columns away."""
    take = Take("pocket", MethodSpec("native", "native"), 3, 15, RIGHT, 0, switches=(Switch(1.5, LEFT, True, frame=6),))
    found = Pocket(Resources(device="cpu")).condition_of(take)
    assert found.columns is not None
    away = (
        found.columns - found.columns[6] + found.world_columns // 2
    ) % found.world_columns - found.world_columns // 2
    assert away[:8].tolist() == [-FAR, 1 - FAR, 2 - FAR, 3 - FAR, 4 - FAR, 5 - FAR, 0, -1]


def test_texts_that_cannot_follow_one_another_are_refused_before_anything_runs() -> None:
    long, change = "dusk, brick, long; pan right 9 s", f"{RIGHT}; houses 60 to 66 change at 3 s"
    with pytest.raises(ConfigError, match="without a cut the street goes on; write 'long' in both texts or in neither"):
        Pocket.check_parts(Prompt(RIGHT, (Part(9.0, long),)))
    with pytest.raises(ConfigError, match="houses change only in a prompt of one text"):
        check(change, (Part(9.0, RIGHT),))
    with pytest.raises(ConfigError, match="houses change only in a prompt of one text"):
        check(RIGHT, (Part(9.0, change, cut=True),))
    check(RIGHT, (Part(9.0, LEFT), Part(12.0, long, cut=True), Part(15.0, long)))
