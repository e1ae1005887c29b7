"""When two attended budgets are unequal, which one is usual, and what a comparison says."""

from __future__ import annotations

import pytest

from longtake.platform import budgets


@pytest.mark.parametrize(
    ("one", "other", "unequal", "said"),
    [
        (12.0, 21.0, True, "attends 12 frames against 21"),
        (21.0, 12.0, True, "attends 21 frames against 12"),
        (9.54, 12.0, True, "attends 9.5 frames against 12"),
        (12.0, 12.0, False, ""),
        (11.95, 12.0, False, ""),
        (None, 12.0, False, ""),
        (12.0, None, False, ""),
        (None, None, False, ""),
    ],
)
def test_a_comparison_says_only_what_is_known_to_be_unequal(
    one: float | None, other: float | None, unequal: bool, said: str
) -> None:
    assert budgets.are_unequal(one, other) is unequal
    assert budgets.difference(one, other) == said


def test_what_several_cells_attend_is_one_number_or_its_ends() -> None:
    assert budgets.span([12.0, 12.04], False) == "12"
    assert budgets.span([60.0, 24.0, 30.0], True) == "24-60+"
    assert budgets.span([9.54], True) == "9.5+"
    assert budgets.span([], False) == "-"


def test_the_usual_budget_is_that_of_most_cells_and_of_equals_the_larger() -> None:
    assert budgets.usual([12.0, 9.0, 12.02, 60.0, None]) == 12.0
    assert budgets.usual([9.5, 12.0]) == 12.0
    assert budgets.usual([None]) is None
    assert budgets.usual([]) is None
