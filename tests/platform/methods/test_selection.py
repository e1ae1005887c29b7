"""The selection rules, worked out by hand."""

import numpy as np
import pytest
import torch

from longtake.platform.methods.parts.descriptors import unit_length
from longtake.platform.methods.parts.selection import (
    earliest_unchanged,
    greedy_coverage,
    most_similar,
    nearest_in_time,
    sequence_similarity,
    without_duplicates,
)

A, B, C = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]


@pytest.mark.parametrize(
    ("tolerance", "order"),
    [(0.0, [3, 1, 0, 2]), (0.05, [1, 3, 0, 2]), (0.15, [0, 1, 3, 2])],
)
def test_most_similar(tolerance, order):
    """The best is .9. Within .05 of it are .9 and .875, within .15 also .8."""
    assert most_similar(torch.tensor([0.8, 0.875, 0.25, 0.9]), tolerance).tolist() == order


def test_the_older_of_equals_is_more_similar():
    assert most_similar(torch.tensor([0.5, 0.75, 0.75, 0.5])).tolist() == [1, 2, 0, 3]


def test_nearest_in_time():
    """Frames 3, 5, 6, 7, 11 around 6: 5 and 7 are one away (the older first), 3 three, 11 five; 6 itself is last."""
    assert nearest_in_time(2, torch.tensor([3, 5, 6, 7, 11])).tolist() == [1, 3, 0, 4, 2]
    assert nearest_in_time(0, torch.tensor([4])).tolist() == [0]


@pytest.mark.parametrize(
    ("views", "reach", "unchanged", "position"),
    [
        ("abcdabcd", 2, 0.9, 1),  # around 6: d a b c d, all of which is around 2
        ("abcdabed", 2, 0.9, 5),  # e was not there, around 2: the place has changed
        ("abcdabed", 0, 0.9, 1),  # the newest b alone has a look-alike
        ("abcdabCd", 2, 0.9, 1),  # C is .96 like c
        ("abcdabCd", 2, 0.97, 5),
        ("abedabcdabcd", 2, 0.9, 5),  # the first b has become another place, the second has not
        ("bxxxxxxabc", 1, 0.9, 8),  # a and c are farther than 3 from the first b
    ],
)
def test_earliest_unchanged(views, reach, unchanged, position):
    """Frames 1, 2, .. show these views; the query shows b."""
    of = dict(zip("abcdex", torch.eye(6).tolist(), strict=True)) | {"C": [0.0, 0.0, 0.96, 0.28, 0.0, 0.0]}
    vectors = torch.tensor([of[view] for view in views])
    frames = torch.arange(1, len(views) + 1)
    found = earliest_unchanged(frames, vectors, vectors @ torch.tensor(of["b"]), 0.05, unchanged, reach)
    assert found == position


@pytest.mark.parametrize(
    ("duplicate", "count", "chosen"),
    [
        (0.99, 3, [2, 3, 0]),  # 1 copies 2
        (0.99, 4, [2, 3, 0, 1]),  # then the copy, since nothing else is left
        (0.5, 3, [2, 0, 1]),  # 3 = C has the cosine .6 to 2 = A; 0 = B has 0; then the first that waits
        (1.0, 2, [2, 3]),
    ],
)
def test_without_duplicates(duplicate, count, chosen):
    """Frames B, A, A, C, in the order 2, 1, 3, 0. Cosines: A.C = .6, A.B = B.C = 0."""
    vectors = torch.tensor([B, A, A, C])
    assert without_duplicates(torch.tensor([2, 1, 3, 0]), vectors, duplicate, count).tolist() == chosen


def test_greedy_coverage():
    """A, A, B, C with equal weights. First gains: A 1 + 1 + .36 = 2.36, B 1, C .36 + .36 + 1 = 1.72, so A (the older).

    What A leaves of C is (0, 0, .8): it explains .64, B still 1. So B, then C; the other A explains nothing: last.
    """
    vectors = torch.tensor([A, A, B, C])
    assert greedy_coverage(vectors, torch.ones(4), 4).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("count", [40, 300])
def test_greedy_coverage_is_the_same_by_vectors_and_by_products(count):
    """A rotation of the space changes no product, so padding 16 numbers to 128 must change no choice: 16 are taken by
    their vectors (16^2 < 50 F), 128 by their products (128^2 > 50 * 300)."""
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(count, 16, generator=generator).cumsum(0) * 0.1 + torch.randn(16, generator=generator)
    walk, weights = unit_length(walk), torch.rand(count, generator=generator)
    padded = torch.nn.functional.pad(walk, (0, 112))
    expected = by_definition(walk, weights, 6)
    assert [greedy_coverage(vectors, weights, 6).tolist() for vectors in (walk, padded)] == [expected, expected]


def by_definition(vectors, weights, count):
    """The frames that explain the most beside those chosen before, each by a projection in float64."""
    unit, chosen = torch.nn.functional.normalize(vectors.double(), dim=1), []
    for _ in range(count):
        explained = [
            float("-inf")
            if i in chosen
            else float(weights.double() @ (unit @ torch.linalg.qr(unit[[*chosen, i]].T)[0]).square().sum(1))
            for i in range(len(unit))
        ]
        chosen.append(int(np.argmax(explained)))
    return chosen


def test_greedy_coverage_by_weight():
    """Weights 1, 1, 0, .6 (cosines to A): A 2.216, then C .6 * .64 = .384 before B, whose weight is 0."""
    assert greedy_coverage(torch.tensor([A, A, B, C]), torch.tensor([1.0, 1.0, 0.0, 0.6]), 3).tolist() == [0, 3, 2]
    assert greedy_coverage(torch.tensor([B, C]), torch.zeros(2), 2).tolist() == [0, 1], (
        "no weight at all: the oldest first"
    )


def test_sequence_similarity_by_hand():
    """Frames 0 to 4 see a, b, c, d, e; frames 5 to 7 go back: d, c, b. The newest two, b and c before it, were seen at
    1 and 2: from there on in the direction of the way back. One frame alone does not tell 1 from a copy at 8."""
    a, b, c, d, e = torch.eye(5)
    walk = torch.stack([a, b, c, d, e, d, c, b])
    assert sequence_similarity(walk, torch.tensor([0, 1, 2, 3]), 1).tolist() == pytest.approx([0, 1, 0, 0])
    assert sequence_similarity(walk, torch.tensor([0, 1, 2, 3]), 2).tolist() == pytest.approx([0, 1, 0, 0.5])
    lookalike = torch.stack([b, a, b, c, d, d, c, b])
    assert sequence_similarity(lookalike, torch.tensor([0, 2]), 1).tolist() == pytest.approx([1, 1])
    assert sequence_similarity(lookalike, torch.tensor([0, 2]), 3).tolist() == pytest.approx([1 / 3, 1]), (
        "0: b, then a where c was"
    )
    loop = torch.stack([a, b, c, d, a, b, c])
    assert sequence_similarity(loop, torch.tensor([1, 2]), 3).tolist() == pytest.approx([0, 1]), "the same way again"
    assert sequence_similarity(loop, torch.tensor([0, 2]), 9).tolist() == pytest.approx([3 / 7, 3 / 7]), (
        "what is missing counts as 0"
    )
