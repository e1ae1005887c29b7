"""`budget`: one number of attended frames for all methods that can be set so."""

from pathlib import Path

import pytest

from longtake.jobs.sweep.grid import expand
from longtake.platform.errors import ConfigError
from tests.jobs import tiny

METHODS = "methods=[native, rag, {rag: {top_k: 2}, as: rag-2}, fademem, relax-forcing, full-attention]"


def params(tmp_path: Path, *words: str) -> dict[str, dict]:
    grid = expand(tiny.write_sweep(tmp_path), words)
    return {take.method.label: take.method.params for take in grid.takes}


def test_a_budget_sets_the_parameters_of_every_method(tmp_path: Path) -> None:
    made = params(tmp_path, METHODS, "budget=9")
    assert made["native"]["window"] == 9
    assert (made["rag"]["window"], made["rag"]["top_k"]) == (9, 4)
    assert (made["rag-2"]["window"], made["rag-2"]["top_k"]) == (9, 2), "a named parameter keeps its value"
    assert (made["fademem"]["window"], made["fademem"]["slots"]) == (3, 6)
    assert (made["relax-forcing"]["window"], made["relax-forcing"]["history"]) == (9, 3)


def test_a_method_without_such_settings_stays_as_published_with_a_note(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), ["methods=[native, full-attention]", "budget=9"])
    note = "methods.full-attention: budget: 9 does not apply, it attends as published: full-attention attends every"
    assert any(line.startswith(note) for line in grid.notes)
    without = expand(tiny.write_sweep(tmp_path), ["methods=[full-attention]"])
    assert {take.id for take in without.takes} <= {take.id for take in grid.takes}


def test_a_note_is_about_the_parameters_that_are_given(tmp_path: Path) -> None:
    """In 6 frames there is space for 2 of the past: not for the 3 that half the budget makes, nor for 4."""
    methods = "methods=[{rag: {top_k: 2}, as: two}, {rag: {top_k: 4}, as: four}, rag]"
    grid = expand(tiny.write_sweep(tmp_path), [methods, "budget=6"])
    said = [line.partition(": must be")[0] for line in grid.notes if "budget: 6" in line]
    assert said == [
        "methods.four: budget: 6 does not apply, it attends as given: top_k = 4",
        "methods.rag: budget: 6 does not apply, it attends as published: top_k = 3",
    ]


def test_the_budget_of_the_window_changes_no_take(tmp_path: Path) -> None:
    """The tiny backbone has a window of its own; native at that budget is native."""
    own = params(tmp_path, "methods=[native]")["native"]["window"]
    ids = [
        [take.id for take in expand(tiny.write_sweep(tmp_path), ["methods=[native, rag]", *words]).takes]
        for words in ([], [f"budget={own}"])
    ]
    assert ids[0][0] == ids[1][0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["budget=3"], "budget: 3 is not from 4 to 10000"),
        (["methods=[{native: {window: 8}}]", "budget=9"], "attends 8 frames, but the budget is 9; leave out window"),
    ],
)
def test_budgets_that_cannot_be(tmp_path: Path, words: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        expand(tiny.write_sweep(tmp_path), words)
