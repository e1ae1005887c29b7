"""Retrieval: what each option changes, by hand, and that the published defaults stay what they were."""

from dataclasses import asdict, replace

import pytest
import torch

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import RolloutInfo, Window, methods
from longtake.platform.methods.coverage import Coverage
from longtake.platform.methods.parts.descriptors import avg_pool, grid_pool
from longtake.platform.methods.rag import Rag
from longtake.platform.settings.config import build
from longtake.platform.takes import MethodSpec, Take
from tests.platform.rollouts import latents, new_network, start

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
EMBEDDER = {"descriptor": "pocket-embedder"}


@pytest.mark.parametrize(
    ("parameters", "prints", "recorded"),
    [
        ({}, (), "713e9fb5fe4ed002"),
        ({"top_k": 4, "recency_guard": 0, "bank_frames": 20}, (), "02dc0c6747e37ae1"),
        (EMBEDDER, (("method.descriptor", "e1"),), "3ed0ea6f50a06bed"),
    ],
)
def test_takes_with_the_published_retrieval_keep_their_ids(parameters, prints, recorded):
    """Recorded when `rag` had no options: a new parameter must be null by default, or all stored takes are lost."""
    method = MethodSpec("rag", "rag", asdict(Rag(**parameters)))
    assert Take("pocket", method, 240, 960, PROMPT, 0, 96, prints).id == recorded


WINDOW = Window(8, 1, 3)
UNIT = dict(zip("abcdefgh", torch.eye(8).tolist(), strict=True))
NEAR_C = [0.0, 0.0, 0.96, 0.0, 0.0, 0.0, 0.0, 0.28]  # its cosine to c is .96


def plan(config, *videos):
    """The block after `videos`, a letter a frame, the views of equal letters being equal and of others orthogonal."""
    method = config.build(RolloutInfo(WINDOW, len(videos), tuple(range(len(videos)))))
    views = {**UNIT, "C": NEAR_C}
    method.observe(0, torch.tensor([[views[view] for view in video] for video in videos])[..., None, None])
    return method.plan(len(videos[0])).rows


def chosen(config, video):
    return [at.frame for at in plan(config, video)[0] if at.reason == "retrieved"]


@pytest.mark.parametrize(
    ("video", "options", "frames"),
    [
        # frames 0 to 14; 1 to 7 are eligible, 14 is the query
        ("habcdcbabcdeedc", {}, [3, 5, 1, 2]),
        ("habcdcbabcdeedc", {"duplicate": 0.9}, [3, 1, 2, 4]),  # 5 shows what 3 shows; then the oldest of the rest
        ("habcdcbabcdeedc", {"select": "neighbours"}, [2, 4, 1, 5]),  # of 3, which is left out
        ("habcdcbabcdeedd", {"select": "neighbours"}, [3, 5, 2, 6]),  # of 4, where the camera turned: c c b b
        ("habcdcbabcdeedd", {"select": "neighbours", "duplicate": 0.9}, [3, 2, 1, 4]),
        ("habCdcbabcdeedc", {}, [5, 3, 1, 2]),
        ("habCdcbabcdeedc", {"tolerance": 0.05}, [3, 5, 1, 2]),  # .96 counts as 1, and 3 is older
        ("habCdcbabcdeedc", {"tolerance": 0.03}, [5, 3, 1, 2]),
        ("habCdcbabcdeedc", {"select": "neighbours", "tolerance": 0.05}, [2, 4, 1, 5]),
        ("habCdcbabcdeedc", {"duplicate": 0.9}, [5, 1, 2, 4]),
        ("habcdcbabcdeedc", {"gate": 1.0}, [3, 5, 1, 2]),
        ("habCdCbabcdeedc", {"gate": 0.97}, []),
        ("habCdCbabcdeedc", {"gate": 0.95}, [3, 5, 1, 2]),
    ],
)
def test_what_an_option_retrieves(video, options, frames):
    assert chosen(Rag(top_k=4, recency_guard=0, **options), video) == frames


@pytest.mark.parametrize(
    ("video", "unchanged", "frames"),
    [
        ("hbafffebcdddddb", None, [2, 3]),  # around the earliest b, frame 1
        ("hbafffebcdddddb", 0.9, [6, 5]),  # the latest b, frame 7, has e beside it, which is not around frame 1
        ("hbafefebcdddddb", 0.9, [2, 3]),  # e is at most four frames from frame 1
    ],
)
def test_a_place_that_has_changed_is_shown_as_it_was_seen_last(video, unchanged, frames):
    options = {"select": "neighbours", "tolerance": 0.05, "unchanged": unchanged}
    assert chosen(Rag(top_k=2, recency_guard=0, **options), video) == frames


def test_grid_pool_keeps_where_things_are():
    """Two frames of 8 x 16 that differ in the place of a bright spot: one cell of 2 x 2 pixels each."""
    latents = torch.zeros(1, 2, 3, 8, 16)
    latents[0, 0, 1, 0:2, 0:2] = 1.0
    latents[0, 1, 1, 6:8, 14:16] = 1.0
    vectors = grid_pool(latents)
    assert vectors.shape == (1, 2, 3 * 4 * 8)
    assert vectors[0].nonzero().tolist() == [[0, 32], [1, 63]]
    assert torch.equal(avg_pool(latents)[0, 0], avg_pool(latents)[0, 1])


def test_grid_pool_of_latents_smaller_than_its_grid():
    """The pocket backbones' latents are one token high and eight wide."""
    latents = torch.randn(2, 3, 48, 1, 8)
    assert torch.equal(grid_pool(latents), latents.reshape(2, 3, 48 * 8))


def test_coverage_goes_on_to_the_views_around():
    """The query is C, .96 like c and .28 like h. c at 3 and 5 have the weight .96^4, all others 0: a copy of c explains
    nothing more than c, and the rest weighs nothing, so the oldest follow."""
    video = "gabcdcbabcdeedC"
    assert chosen(Rag(top_k=4, recency_guard=0), video)[:2] == [3, 5]
    assert chosen(Coverage(top_k=4, recency_guard=0), video) == [3, 1, 2, 4]


def test_a_gated_block_attends_its_window_and_the_others_their_memory():
    """In the first row nothing is like the query (e), so the budget goes to the window: 11 to 17, in slots 1 to 7."""
    gated, other = plan(Rag(top_k=4, recency_guard=0, gate=0.5), "habcdcbabcdeede", "habcdcbabcdeedc")
    assert [(at.frame, at.time) for at in gated] == [(0, 0), *zip(range(11, 18), range(1, 8), strict=True)]
    assert [at.reason for at in gated] == ["sink", *["window"] * 4, *["block"] * 3]
    assert [at.frame for at in other] == [0, 3, 5, 1, 2, 15, 16, 17]


def test_a_gated_block_attends_no_more_than_the_memory_there_is():
    """Block 3 has one eligible frame, 1. Without it the row has one more frame of the window: 8, in slot 4."""
    config = Rag(top_k=4, recency_guard=0)
    (open_row,), (gated,) = plan(config, "habcdefgh"), plan(replace(config, gate=0.5), "habcdefgh")
    assert [(at.frame, at.time) for at in open_row] == [(0, 0), (1, 0), (9, 5), (10, 6), (11, 7)]
    assert [(at.frame, at.time) for at in gated] == [(0, 0), (8, 4), (9, 5), (10, 6), (11, 7)]


def test_rows_that_are_gated_beside_rows_that_are_not():
    """In a batch, each row has the pixels of the take alone."""
    network, config = new_network(), Rag(gate=0.9)
    together = list(start(network, config, seeds=(1, 2, 3)).blocks(12))
    counts = [{sum(at.reason == "retrieved" for at in row) for row in block.plan.rows} for block in together]
    assert {0, 6} in counts, "a block with rows of both kinds"
    for row, seed in enumerate((1, 2, 3)):
        alone = latents(start(network, config, seeds=(seed,)), 12)
        assert (torch.cat([block.latents for block in together], dim=1)[row] - alone[0]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "parameters", "reason"),
    [
        ("rag", {"select": "nearest"}, "select"),
        ("rag", {"tolerance": 0.0}, "tolerance = 0.0: is a difference of cosines, must be more than 0, below 2"),
        ("rag", {"tolerance": 2.0}, "tolerance = 2.0"),
        ("rag", {"duplicate": 1.5}, "duplicate = 1.5: is a cosine, must be more than -1 and at most 1"),
        ("rag", {"gate": -1.0}, "gate = -1.0: is a cosine"),
        ("rag", {"unchanged": 0.8}, "unchanged = 0.8: needs select: neighbours and a tolerance; set both"),
        ("rag", {"unchanged": 0.8, "select": "neighbours"}, "unchanged = 0.8: needs select"),
        ("rag-plus", {"unchanged": 1.2}, "unchanged = 1.2: is a cosine"),
        ("rag", {"focus": 2.0}, "focus"),
        ("coverage", {"gate": 1.1}, "gate = 1.1: is a cosine"),
        ("coverage", {"focus": -0.5}, "focus = -0.5: must be 0 or more"),
        ("coverage", {"tolerance": 0.1}, "tolerance"),
        ("coverage", {"descriptor": ""}, "descriptor is empty"),
    ],
)
def test_options_that_cannot_be_are_refused(name, parameters, reason):
    with pytest.raises(ConfigError, match=reason):
        build(methods.get(name), parameters, f"method {name}")
