"""What a descriptor retrieves, in scenes whose numbers can be counted by hand."""

from math import comb

import numpy as np
import pytest
import torch

from longtake.evaluators.retrieval.run import (
    RetrievalResult,
    distances,
    distinct_places,
    measure,
    run_retrieval,
    similarity,
)
from longtake.evaluators.retrieval.summary import DescriptorTally, measure_rows, similarity_rows, spans
from longtake.evaluators.retrieval.world import Scene, TrueVideos, key_of, noise_like
from longtake.platform.errors import WeightsError
from longtake.platform.methods.base import Window
from longtake.platform.methods.oracle import Oracle
from longtake.platform.methods.parts.descriptors import unit_length
from longtake.platform.methods.rag import Rag
from longtake.platform.methods.random_memory import RandomMemory
from longtake.platform.stats import mean_known
from tests.platform import rollouts

WINDOW = Window(12, 1, 3)
THERE_AND_BACK = Scene(np.array([0, 1, 2, 3, 4, 5, 4, 3, 2, 3, 4, 5]), view_columns=4, world_columns=12)
ROUND = Scene(np.arange(15), view_columns=4, world_columns=12)


def retrieval_result(first, eligible, chosen, others, frames, top_k=2):
    """One block."""
    may = np.zeros((1, frames), dtype=bool)
    may[0, eligible] = True
    picks = [np.array([[*names, *[-1] * (top_k - len(names))]]) for names in (chosen, others)]
    return RetrievalResult(np.array([first]), may, *picks)


def one(values):
    return {name: float(value[0]) for name, value in values.items()}


def sweep(period, frames=120, view=4, world=48):
    """A camera that goes `period` columns to the right, as many back, and so on; a direction holds for whole blocks."""
    moves = np.where(np.arange(frames) // period % 2 == 0, 1, -1)
    moves[0] = 0
    return Scene(np.cumsum(moves), view, world)


def shown_columns(scene):
    """Latents whose mean over a frame is its view, one number a column: cosine = shared columns / view."""
    columns = (scene.camera_F[:, None] + np.arange(scene.view_columns)) % scene.world_columns
    return torch.eye(scene.world_columns)[torch.from_numpy(columns)].transpose(1, 2).unsqueeze(2)


def one_hot(scene):
    """Latents whose mean over a frame is one-hot of the camera's column: only copies are alike."""
    place = torch.from_numpy(scene.camera_F % scene.world_columns)
    return torch.eye(scene.world_columns)[place][:, :, None, None].expand(-1, -1, 1, scene.view_columns)


def videos(scenes, latents):
    return TrueVideos(torch.stack([latents(scene) for scene in scenes]), tuple(scenes), tuple(range(len(scenes))))


def means(config, context):
    run = run_retrieval(config, context, WINDOW, lambda done: None)
    return [
        {name: mean_known(values) for name, values in measure(of, scene, WINDOW.block).items()}
        for of, scene in zip(run.results, context.scenes, strict=True)
    ]


# Counted by hand


def test_recall_precision_and_coverage_of_one_block():
    """Block 9 .. 11 looks at columns 3, 4, 5; its query, frame 8, stands at column 2 and shows 2 3 4 5.

    Eligible: frames 1, 2, 4, 5 at columns 1, 2, 4, 5, which share 3, 4, 2 and 1 columns with it: all but frame 5 show
    half or more, and frame 2 is a copy. New to the block is column 8 alone (it shows 3 .. 8, the three frames before it
    2 .. 7), and of the eligible only frame 5 (5 .. 8) shows it.
    """
    both = one(measure(retrieval_result(9, [1, 2, 4, 5], [5, 2], [5, 4], 12), THERE_AND_BACK, 3))
    assert both == {
        "recall": 1.0,
        "precision": 0.5,
        "strict_recall": 1.0,
        "shifted_recall": 1.0,
        "shifted_precision": 0.5,
        "places": 2.0,
        "coverage": 1.0,
    }
    blind = one(measure(retrieval_result(9, [1, 2, 4, 5], [2, 1], [1, 4], 12), THERE_AND_BACK, 3))
    assert (blind["recall"], blind["precision"], blind["coverage"]) == (1.0, 1.0, 0.0)
    wrong = one(measure(retrieval_result(9, [1, 2, 4, 5], [5], [5], 12), THERE_AND_BACK, 3))
    assert (wrong["recall"], wrong["precision"], wrong["strict_recall"], wrong["shifted_recall"]) == (0, 0, 0, 0)
    assert np.isnan(wrong["places"])  # it retrieved fewer than K


def test_what_a_block_does_not_ask_is_no_value():
    """Frame 5 alone is eligible: it is no copy of the query and shows too little of it. Without frame 5, nothing that
    is eligible shows the new column 8."""
    far = one(measure(retrieval_result(9, [5], [5], [5], 12), THERE_AND_BACK, 3))
    assert [name for name in far if np.isnan(far[name])] == [
        *("recall", "precision", "strict_recall", "shifted_recall", "shifted_precision", "places")
    ]
    assert np.isnan(one(measure(retrieval_result(9, [1, 2], [1, 2], [1], 12), THERE_AND_BACK, 3))["coverage"])


def test_coverage_is_a_share_of_the_columns_that_the_bank_knows():
    """Block 12 .. 14 of a pan round a world of 12 shows 0 .. 5, the three frames before it 9 .. 2: new are 3, 4, 5.

    Frame 1 shows 1 .. 4 and frame 2 shows 2 .. 5: of three known columns frame 1 shows two. With frame 1 alone
    eligible two are known, and it shows both.
    """
    assert one(measure(retrieval_result(12, [1, 2], [1], [], 15), ROUND, 3))["coverage"] == pytest.approx(2 / 3)
    assert one(measure(retrieval_result(12, [1], [1], [], 15), ROUND, 3))["coverage"] == 1.0


def test_places_counts_columns_of_the_round_world():
    """Frames 1 and 13 stand at the same column of a world of 12."""
    counts = distinct_places(np.array([[1, 13], [1, 2], [1, -1]]), ROUND)
    assert counts.tolist() == pytest.approx([1, 2, np.nan], nan_ok=True)


def test_similarity_by_distance_and_by_shared_columns():
    """Columns 0 1 2 3 2 1, views of 4, cosine = shared / 4. Two apart: (0,2) (1,3) .5, (2,2) 1, (3,1) .5: mean .625.

    Three apart: (0,3) .25, (1,2) .75, (2,1) .75: mean .58333. Nothing shares 0 columns.
    """
    scene = Scene(np.array([0, 1, 2, 3, 2, 1]), 4, 12)
    of = similarity(unit_length(shown_columns(scene).mean(dim=(-2, -1))), scene, min_distance=1)
    np.testing.assert_allclose(
        of.by_distance_D, [0.75, 0.625, 1.75 / 3, 0.75, 0.75], rtol=1e-6
    )  # (0,2) .5 (1,1) 1; (0,1)
    np.testing.assert_allclose(of.by_shared, [np.nan, 0.25, 0.5, 0.75, 1.0], rtol=1e-6)
    assert of.local_redundancy == pytest.approx((0.75 + 0.625 + 1.75 / 3) / 3)
    assert np.isnan(of.overlap_gap)
    near_gone = similarity(unit_length(shown_columns(scene).mean(dim=(-2, -1))), scene, min_distance=4)
    np.testing.assert_allclose(near_gone.by_shared, [np.nan, np.nan, 0.5, 0.75, 1.0], rtol=1e-6)


def test_overlap_gap_of_views_that_share_nothing():
    """Frames at 0, 4 and 0 again: one copy with cosine 1, two pairs with nothing in common and cosine 0."""
    scene = Scene(np.array([0, 4, 0]), 4, 12)
    of = similarity(unit_length(shown_columns(scene).mean(dim=(-2, -1))), scene, min_distance=1)
    assert of.overlap_gap == pytest.approx(1.0)


def test_distances_are_single_and_then_twelve_together():
    assert distances(5) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert distances(60)[-1] == (48, 48)  # the largest is 59; 49 .. 60 is not whole
    assert distances(61)[-1] == (49, 60)
    assert distances(960)[-1] == (937, 948)


# The method as a sweep runs it


def test_eligible_is_what_the_method_says():
    """Window 12, sink 1, R 5: block 18 finds frames 1 .. 6 evicted and the five newest barred; three more a block."""
    run = run_retrieval(Rag(top_k=6, recency_guard=5), videos([sweep(6)], one_hot), WINDOW, lambda done: None)
    of = run.results[0]
    assert of.first_frames_N.tolist() == list(range(18, 120, 3))
    assert [np.nonzero(row)[0].tolist() for row in of.eligible_NF[:2]] == [[1], [1, 2, 3, 4]]
    assert of.retrieved_NK[0].tolist() == [1, -1, -1, -1, -1, -1]


@pytest.mark.parametrize("config", [Rag(top_k=3, recency_guard=2), Rag(top_k=3, recency_guard=2, bank_frames=8)])
def test_a_rollout_of_the_same_latents_retrieves_the_same(config):
    """The engine itself, given 20 blocks of latents that repeat every 16 frames, plans what is measured here."""
    latents = torch.randn(16, 3, 2, 4, generator=torch.Generator().manual_seed(5)).repeat(4, 1, 1, 1)[:60]
    scene = Scene(np.arange(60) % 16, 4, 24)
    of = run_retrieval(config, TrueVideos(latents[None], (scene,), (1,)), WINDOW, lambda done: None).results[0]
    rollout = rollouts.start(rollouts.new_network(), config)
    plans = {block.first: block.plan.rows[0] for block in rollout.blocks(20, latents[None])}
    engine = [[at.frame for at in plans[first] if at.reason == "retrieved"] for first in of.first_frames_N.tolist()]
    assert [[frame for frame in row if frame >= 0] for row in of.retrieved_NK.tolist()] == engine
    assert sum(map(len, engine)) > 30


def test_one_hot_of_the_column_reaches_recall_1():
    """Of 6 columns there and back, 18 frames suffice to have every query's place eligible after two turns: block 33 on.
    Alike are copies alone, so that once it has six of them it shows one place."""
    run = run_retrieval(Rag(top_k=6, recency_guard=2), videos([sweep(6)], one_hot), WINDOW, lambda done: None)
    values = measure(run.results[0], sweep(6), 3)
    all_eligible = run.results[0].first_frames_N >= 33
    assert values["strict_recall"][~np.isnan(values["strict_recall"])].min() == 1.0
    assert values["recall"][all_eligible].min() == 1.0
    assert values["places"][-1] == 1.0
    assert values["coverage"][-1] == 0.0  # the last block goes on in one direction: nothing of it is in one view


def test_columns_as_descriptor_never_miss():
    """Cosine = shared columns: the most alike are the most relevant, with the copies and without them."""
    (of,) = means(Rag(top_k=4, recency_guard=2), videos([sweep(9)], shown_columns))
    assert (of["recall"], of["strict_recall"], of["shifted_recall"]) == (1.0, 1.0, 1.0)


def test_random_is_near_its_expectation():
    """K of n without replacement hit one of r with 1 - C(n-r, K) / C(n, K), and r / n of them are relevant."""
    scenes = [sweep(period, frames=240) for period in (6, 9, 12, 15, 18, 21, 24, 30)]
    context = videos(scenes, one_hot)
    run = run_retrieval(RandomMemory(top_k=4, recency_guard=2), context, WINDOW, lambda done: None)
    recall, precision, expected = [], [], []
    for of, scene in zip(run.results, scenes, strict=True):
        values = measure(of, scene, 3)
        relevant = (scene.shared_FF[of.first_frames_N - 1] >= 2) & of.eligible_NF
        for n, (known, hits) in enumerate(zip(of.eligible_NF.sum(1), relevant.sum(1), strict=True)):
            if known >= 4 and hits:
                expected.append((1 - comb(int(known - hits), 4) / comb(int(known), 4), hits / known))
                recall.append(values["recall"][n])
                precision.append(values["precision"][n])
    assert len(expected) > 400  # a share near .5 has a standard error of .025
    assert np.mean(recall) == pytest.approx(np.mean([e[0] for e in expected]), abs=0.06)
    assert np.mean(precision) == pytest.approx(np.mean([e[1] for e in expected]), abs=0.04)


def test_the_oracle_shows_all_that_can_be_shown():
    """Three new columns a block at most, and any frame shows four."""
    (of,) = means(Oracle(top_k=4, recency_guard=2), videos([sweep(9)], one_hot))
    assert of["coverage"] == 1.0


def test_a_video_does_not_depend_on_the_others():
    alone = means(Rag(top_k=4, recency_guard=2), videos([sweep(9)], shown_columns))[0]
    beside = means(Rag(top_k=4, recency_guard=2), videos([sweep(9), sweep(6)], shown_columns))[0]
    assert alone == beside
    clean = torch.zeros(4, 2, 1, 1)
    assert torch.equal(noise_like(clean, key_of("dusk", 1)), noise_like(clean, key_of("dusk", 1)))
    assert key_of("dusk", 1) != key_of("dusk", 2)
    assert 0 <= key_of("dusk", 1) < 2**63


def test_descriptors_that_are_no_numbers_are_an_error():
    for factor in (float("nan"), 0.0):
        broken = videos([sweep(6)], lambda scene, by=factor: shown_columns(scene) * by)
        with pytest.raises(WeightsError, match="descriptor avg-pool: is zero, NaN or infinite"):
            run_retrieval(Rag(top_k=4, recency_guard=2), broken, WINDOW, lambda done: None)


# Means


def test_parts_end_at_30_60_120_240_seconds():
    assert spans(240) == [(0, 240), (0, 30), (30, 60), (60, 120), (120, 240)]
    assert spans(45) == [(0, 45), (0, 30), (30, 45)]
    assert spans(30) == [(0, 30)]


def test_rows_pair_prompts_and_leave_out_what_compares_nothing():
    """The second descriptor lies .1 above the first on each of three prompts that differ by more: so does the
    difference, which has no spread."""
    tallies = [DescriptorTally(label, WINDOW, 30.0, 4) for label in ("avg-pool", "better")]
    for tally, values in zip(tallies, ([0.1, 0.5, 0.8], [0.2, 0.6, 0.9]), strict=True):
        for value in values:
            tally.put("recall", (0.0, 30.0), value)
    base, better = measure_rows(tallies, "avg-pool")
    assert base["difference"] is None
    assert better["mean"] == pytest.approx(1.7 / 3)
    assert [better["difference"][key] for key in ("mean", "low", "high")] == pytest.approx([0.1] * 3)
    assert similarity_rows(tallies, 120) == []


def test_a_tally_puts_blocks_into_the_part_in_which_they_begin():
    """4 frames a second, 300 frames: parts of 30, 30 and 15 s, and the whole; blocks from 18 on."""
    context = videos([sweep(9, frames=300)], shown_columns)
    tally = DescriptorTally("columns", WINDOW, 75.0, 4)
    run = run_retrieval(Rag(top_k=4, recency_guard=5), context, WINDOW, lambda done: None)
    tally.add(run, context)
    values = measure(run.results[0], context.scenes[0], 3)["places"]
    first = run.results[0].first_frames_N
    assert tally.measures["places", (0.0, 30.0)] == [pytest.approx(np.nanmean(values[first < 120]))]
    assert tally.measures["places", (60.0, 75.0)] == [pytest.approx(np.nanmean(values[first >= 240]))]
    assert tally.measures["overlap_gap", (0.0, 75.0)] == [pytest.approx(1.0)]
    rows = similarity_rows([tally], 300)
    assert [row["mean"] for row in rows if row["by"] == "shared"] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)
