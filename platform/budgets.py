"""Attended budgets: how many latent frames a block attends, and what a comparison says if two cells attend differently.

The only place that decides when budgets are unequal, which one is usual, and how they are written. An unknown budget
(None) is not called unequal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TOLERANCE = 0.1
"""In frames. Means over takes differ by less if the method attends the same."""
MARK = "+"
"""Behind the frames of a cell that attends another number than most."""


def are_unequal(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) > TOLERANCE


def usual(attended: Iterable[float | None]) -> float | None:
    """The budget of most cells, the larger one of equals; None if no cell has one."""
    known = [round(frames, 1) for frames in attended if frames is not None]
    return max(known, key=lambda frames: (known.count(frames), frames), default=None)


def text(frames: float) -> str:
    """'12', '17.5': frames with at most one decimal."""
    return f"{frames:.1f}".removesuffix(".0")


def span(attended: Sequence[float], is_other: bool) -> str:
    """What several cells of a method attend: '12', '24-60+' with the mark; '-' if that is not known."""
    if not attended:
        return "-"
    return "-".join(dict.fromkeys(map(text, (min(attended), max(attended))))) + (MARK if is_other else "")


def note(budget: float) -> str:
    """What MARK means below a table of cells of which most have this budget."""
    return f"{MARK} attends another number of frames than the {text(budget)} of most cells"


def difference(mine: float | None, others: float | None) -> str:
    """'attends 12 frames against 21', said of the first; '' for equal budgets."""
    if mine is None or others is None or not are_unequal(mine, others):
        return ""
    return f"attends {text(mine)} frames against {text(others)}"
