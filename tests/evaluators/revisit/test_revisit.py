"""Revisits, with expectations counted by hand on a pan of 6 s right, 6 s left: camera 0..23, then 22..-1, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.evaluators.base import Unscorable, VideoContext, VideoValue, metrics
from longtake.evaluators.revisit.walk import Walk, compare
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.truth import truth_of
from longtake.platform.pocket.world import crop, panorama
from longtake.platform.prompts import Switch
from tests.evaluators.scoring_by_hand import score_frames

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
LATENTS = 96
SEED = 5
NAMES = [
    "revisit_psnr", "revisit_hit", "revisit_psnr_floor", "revisit_hit_floor",
    "revisit_psnr_true", "revisit_hit_true", "revisit_psnr_true_floor", "revisit_hit_true_floor",
]  # fmt: skip


def test_after_a_change_of_the_text_no_place_was_seen() -> None:
    """The camera turns at frame 24 and is back at column 0 at frame 46; at frame 30 the text changes."""
    night = Switch(7.5, "night, brick; pan left 4.5 s, right 6 s, left 6 s, repeat", frame=30)
    counts = [
        [len(walk.step(np.zeros((8, 384))).places) for _ in range(LATENTS)]
        for walk in (walk_of(PROMPT, LATENTS), walk_of(PROMPT, LATENTS, switches=(night,)))
    ]
    assert counts[0][:30] == counts[1][:30]
    assert counts[0][30:47] == [7] + [8] * 16
    assert counts[1][30:47] == [0] * 17
    # Frame 47 shows -1..6; frame 48 turns right, and column 7 comes back
    assert counts[1][48] == 1


def test_a_place_is_known_again_when_its_first_look_is_back() -> None:
    """At frame 9 it is night and at frame 18 dusk again: columns 9..16 at frame 9, 0..7 at frame 18."""
    turn = Switch(2.25, "night, brick; pan left 9 s", frame=9), Switch(4.5, PROMPT, frame=18)
    walk = walk_of("dusk, brick; pan right 9 s", 20, switches=turn)
    counts = [len(walk.step(np.zeros((8, 384))).places) for _ in range(20)]
    # The camera is at 8 in frame 8, then at 7, 6, .. -1 in frame 17, and at 0 in frame 18, which shows 0..7 in dusk.
    assert counts == [0] * 18 + [8] * 2


def test_a_long_street_without_a_way_back_has_no_revisits(true_latents: torch.Tensor) -> None:
    frames = video_of(true_latents[:30])
    for name in NAMES:
        with pytest.raises(Unscorable, match="no revisit: the camera goes along a long street and never comes back"):
            metrics.get(name)().open(context(frames, 12, "dusk, brick, long; pan right 600 s"))


def test_on_a_long_street_a_place_comes_back_only_with_the_camera() -> None:
    """120 columns to the right and back: the circle would show columns 0..7 at frame 96 again."""
    walk = walk_of("dusk, brick, long; pan right 30 s, left 30 s", 240)
    counts = [len(walk.step(np.zeros((8, 384))).places) for _ in range(240)]
    assert counts == [0] * 120 + [1, 2, 3, 4, 5, 6, 7] + [8] * 112 + [7]  # the last frame begins at column -1


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def true_latents() -> torch.Tensor:
    street, camera = panorama("dusk", "brick", SEED), parse(PROMPT).camera(LATENTS)
    return PocketCodec().encode(np.stack([crop(street, 4 * int(c)) for c in camera]))


def walk_of(prompt: str, frames: int, prefix_frames: int = 0, switches: Sequence[Switch] = ()) -> Walk:
    truth = truth_of(prompt, switches, SEED, frames)
    return Walk(truth.places_FC, truth.places, prefix_frames)


def video_of(latents: torch.Tensor) -> np.ndarray:
    return StreamingDecoder(PocketCodec(), parse(PROMPT).camera(len(latents))).push(latents)


def context(frames: np.ndarray, prefix_frames: int = 0, prompt: str = PROMPT) -> VideoContext:
    height, width = frames.shape[1:3]
    return VideoContext(Path("made.mp4"), 16.0, width, height, len(frames), prompt, SEED, prefix_frames)


def score(name: str, frames: np.ndarray, prefix_frames: int = 0) -> VideoValue:
    return score_frames(name, frames, context(frames, prefix_frames))


def test_which_columns_are_revisited() -> None:
    # Frame 23 shows columns 23..30. Frame 24 turns back to 22..29: 22 had left the view, the others never did. One more
    # each frame until all 8 at frame 31; frame 47 shows -1..6, and -1 is new.
    walk = walk_of(PROMPT, LATENTS)
    counts = [len(walk.step(np.zeros((8, 384))).places) for _ in range(LATENTS)]
    assert counts[:24] == [0] * 24
    assert counts[24:48] == [1, 2, 3, 4, 5, 6, 7] + [8] * 16 + [7]
    # Frame 48 turns to 0..7 out of -1..6: 7 has come back; the six that were in revisit stay in revisit, -1 has left.
    assert counts[48] == 8
    assert walk.seen.nonzero()[0].tolist() == [*range(31), 95]


def test_given_frames_teach_first_sights_and_never_count() -> None:
    walk = walk_of(PROMPT, LATENTS, prefix_frames=30)
    counts = [len(walk.step(np.zeros((8, 384))).places) for _ in range(32)]
    assert counts == [0] * 30 + [7, 8]
    assert walk.given.nonzero()[0].tolist() == list(range(31))


def test_a_walk_round_the_circle_revisits_modulo_96() -> None:
    # 96 steps to the right come back to column 0; frame 89 shows 89..96, and 96 is place 0 again.
    walk = walk_of("noon, stone; pan right 24 s", 100)
    counts = [len(walk.step(np.zeros((8, 384))).places) for _ in range(100)]
    assert counts == [0] * 89 + [1, 2, 3, 4, 5, 6, 7] + [8] * 4


def test_psnr_and_hits_of_flat_columns_by_hand() -> None:
    # References 0, 10, 20, 30 at places 2, 4, 6, 8; seen: 1 at place 2 (MSE 1, hit), 26 at place 6 (MSE 36 against
    # 16 for place 8: no hit). Rolled by two: 1 against 20 (361), 26 against 0 (676).
    walk = walk_of(PROMPT, 1)
    sighting = walk.step(np.zeros((8, 384)))
    sighting = type(sighting)(np.array([2, 6]), np.stack([np.full(384, 1.0), np.full(384, 26.0)]))
    references = np.stack([np.full(384, v) for v in (0.0, 10.0, 20.0, 30.0)])
    places = np.array([2, 4, 6, 8])
    found = compare(sighting, references, places, rolled=False)
    assert (found.columns, found.hits, found.squares) == (2, 1, 37.0)
    rolled = compare(sighting, references, places, rolled=True)
    assert (rolled.columns, rolled.hits, rolled.squares) == (2, 0, 1037.0)
    # 10 log10(65025 / 18.5) = 35.46
    assert metrics.get("revisit_psnr").score(found) == pytest.approx(35.459, abs=1e-3)


def test_a_perfect_video_repeats_itself_exactly(true_latents: torch.Tensor) -> None:
    frames = video_of(true_latents)
    assert score("revisit_hit", frames).value == 1.0
    assert score("revisit_psnr", frames).value == 60.0  # the same latents decode to the same bytes: the cap
    assert score("revisit_hit_floor", frames).value == 0.0
    assert score("revisit_psnr_floor", frames).value < 18


def test_against_the_truth_a_perfect_video_has_the_codecs_error(true_latents: torch.Tensor) -> None:
    frames = video_of(true_latents)
    assert score("revisit_hit_true", frames, prefix_frames=24).value == 1.0
    assert 30 < score("revisit_psnr_true", frames, prefix_frames=24).value < 38
    assert score("revisit_hit_true_floor", frames, prefix_frames=24).value == 0.0
    assert score("revisit_psnr_true_floor", frames, prefix_frames=24).value < 18


def test_shuffled_columns_fall_to_the_floor(true_latents: torch.Tensor) -> None:
    order = np.random.default_rng(3).permutation(LATENTS * 8)
    tokens = true_latents.permute(0, 2, 3, 1).reshape(-1, 48)[torch.from_numpy(order)]
    frames = video_of(tokens.reshape(LATENTS, 1, 8, 48).permute(0, 3, 1, 2))
    assert score("revisit_hit", frames).value < 0.15
    floor = score("revisit_psnr_floor", frames).value
    assert score("revisit_psnr", frames).value == pytest.approx(floor, abs=1.5)


def test_the_overlapping_last_clip_counts_its_new_frames_only(true_latents: torch.Tensor) -> None:
    # 381 frames: 11 clips of 32 and the last 32 frames once more. Clips 0..2 hold latents 0..23: no revisit. The last
    # clip starts at frame 349, and latents 88..95 (frames 352..380) are new; all 96 are counted once.
    frames = video_of(true_latents)
    frames[352:] = 255 - frames[352:]
    found = score("revisit_hit", frames)
    assert len(found.clips) == 12
    assert found.clips[:3] == [None] * 3
    assert found.clips[3:11] == [1.0] * 8
    assert found.clips[11] < 0.3
    # The video's share weights each clip by its revisited columns.
    walk = walk_of(PROMPT, LATENTS)
    counts = np.array([len(walk.step(np.zeros((8, 384))).places) for _ in range(LATENTS)])
    expected = (counts[:88].sum() + found.clips[11] * counts[88:].sum()) / counts.sum()
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_segments_that_end_at_30_and_60_s() -> None:
    latents = PocketCodec().encode(
        np.stack([crop(panorama("dusk", "brick", SEED), 4 * int(c)) for c in parse(PROMPT).camera(240)])
    )
    latents[120:] = latents[120:].flip(0)  # the second half minute is played backwards: most of it is out of place
    found = score("revisit_hit", video_of(latents))
    assert found.extra["at_30s"] == 1.0
    assert found.extra["at_60s"] < 0.6
    assert set(found.extra) == {"at_30s", "at_60s"}


def test_a_video_that_never_turns_has_no_value(true_latents: torch.Tensor) -> None:
    found = score("revisit_hit", video_of(true_latents[:24]))
    assert found.value is None
    assert "seen again" in found.errors[""]


def test_reasons(true_latents: torch.Tensor) -> None:
    frames = video_of(true_latents[:3])
    with pytest.raises(Unscorable, match="the take has no prefix"):
        metrics.get("revisit_hit_true")().open(context(frames))
    with pytest.raises(Unscorable, match="not a video of the pocket world"):
        metrics.get("revisit_hit")().open(context(frames, prompt="a cat walks"))
    with pytest.raises(Unscorable, match="128x128"):
        metrics.get("revisit_hit")().open(context(frames[:, :64]))


@pytest.mark.parametrize("name", NAMES)
def test_every_measure_needs_a_take_and_only_floors_are_unranked(name: str) -> None:
    metric = metrics.get(name)
    assert metric.needs_take
    assert metric.ranked == (metric.floor_of is None)
    assert metric.floor_of in (None, name.removesuffix("_floor"))
