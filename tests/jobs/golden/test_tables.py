"""Tables of what blocks attended: shares of entries, and batches of several rows."""

import pytest
import torch

from longtake.jobs.golden.rows import by_row
from longtake.jobs.golden.tables import same_choice
from longtake.platform.generation.rollout import Block
from longtake.platform.methods.base import Attended, Group, Plan, summed_up
from tests.platform.rollouts import SPEC

LAYERS, HEADS = tuple(range(SPEC.layers)), tuple(range(SPEC.heads))
NEW = (Attended(1, 1, "block"),)


def block(plan):
    return Block(0, 0, torch.empty(0), plan, False)


def told(plan, facts=None, **table):
    recorded = {"block": 0, "start_frame": 0, "query_positions": [1], **table}
    return same_choice(block(plan), recorded, {"batch": len(plan.rows), **(facts or {})}, SPEC)


def plan_of(*rows):
    return Plan(tuple((Attended(frame, frame, "sink"), *NEW) for frame in rows), (1,))


def grouped(*rows):
    """All heads of all layers attend these frames, per row of the batch."""
    groups = [(Group(LAYERS, HEADS, (Attended(frame, frame, "sink"), *NEW)),) for frame in rows]
    return summed_up(groups, (1,), SPEC)


def test_half_a_frame_is_no_frame():
    half = Plan(((Attended(0, 0, "summary", part=0.5), *NEW),), (1,))
    assert not told(half, attended=[[[0, 0], [1, 1]]])
    assert told(plan_of(0), attended=[[[0, 0], [1, 1]]])


def test_a_frame_that_some_heads_attend_is_not_attended_by_all():
    some = (Group(LAYERS, HEADS[:1], (Attended(0, 0, "sink"), *NEW)), Group(LAYERS, HEADS[1:], NEW))
    assert not told(summed_up([some], (1,), SPEC), attended=[[[0, 0], [1, 1]]])
    assert told(grouped(0), attended=[[[0, 0], [1, 1]]])


def by_layer(frame):
    return [[[frame, frame], [1, 1]]] * SPEC.layers


def by_layer_and_sink(frame):
    return [{"sink": [[frame, frame]], "frames_at_own_index": [1], "tokens_at_own_index": []}] * SPEC.layers


def by_head(frame):
    return [[{"whole": [frame, 1], "tokens": []}] * SPEC.heads] * SPEC.layers


def by_group(frame):
    return {"all": [[frame, frame], [1, 1]]}


TABLES = [
    ("attended_by_layer", by_layer),
    ("attended_by_layer", by_layer_and_sink),
    ("attended_by_layer_and_head", by_head),
    ("attended_by_group", by_group),
]


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_every_row_of_a_batch_is_compared(name, table):
    """With one table for all rows, or one for each."""
    assert told(grouped(0), **{name: table(0)})
    assert told(grouped(0, 0), **{name: table(0)})
    assert not told(grouped(0, 3), **{name: table(0)})
    assert told(grouped(0, 3), **{name: [table(0), table(3)]})
    assert not told(grouped(0, 3), **{name: [table(0), table(0)]})


def test_head_groups_of_every_row():
    halves = HEADS[:1], HEADS[1:]
    rows = [
        (
            Group(LAYERS, halves[one], (Attended(0, 0, "sink"), *NEW)),
            Group(LAYERS, halves[1 - one], NEW),
        )
        for one in (0, 1)
    ]
    table = {"first": [[0, 0], [1, 1]], "last": [[1, 1]]}
    groups = [[{"first": list(halves[one]), "last": list(halves[1 - one])}] * SPEC.layers for one in (0, 1)]
    plan = summed_up(rows, (1,), SPEC)
    assert told(plan, {"head_groups": groups}, attended_by_group=table)
    assert not told(plan, {"head_groups": groups[0]}, attended_by_group=table)


def test_another_place_in_the_video_is_another_block():
    assert not same_choice(
        block(plan_of(0)),
        {"block": 0, "start_frame": 3, "query_positions": [1], "attended": [[[0, 0], [1, 1]]]},
        {"batch": 1},
        SPEC,
    )


def test_a_number_of_rows_that_the_batch_does_not_have():
    assert by_row([[0, 1], [2, 3]], 1, 2) == [[0, 1], [2, 3]]
    assert by_row([[], []], 2, 2) == [[], []]
    with pytest.raises(ValueError, match="3 rows are recorded of a batch of 2"):
        by_row([[0], [1], [2]], 1, 2)
