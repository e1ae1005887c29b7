"""Which stage lost a place that came back: it is found by putting the right memory in the place of each stage.

A *copy* of a place is a past frame that shows it rightly.

1. `not stored`: neither the window nor the bank holds a copy.
2. `not retrieved`: no copy was attended, and the place is right if the memory is the best copies that are stored.
3. `not attended`: a copy was in the plan, and the place is right if right copies are the only memory, those of the plan
   or the best: other frames drew the attention away.
4. `not used`: the place stays wrong with the right memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

STAGES = ("not stored", "not retrieved", "not attended", "not used")

Trial = Callable[[list[int]], set[tuple[int, int]]]
"""Memory frames -> the (frame, place) that the block would show rightly with them."""


def stages_of(
    lost: set[tuple[int, int]],
    copies: Mapping[int, Sequence[int]],
    attended: set[int],
    best: list[int],
    trial: Trial,
) -> dict[tuple[int, int], str]:
    """The stage of each lost (frame, place). `copies`: stored frames that show a place rightly; `attended`: frames in
    the block's plan; `best`: the stored copies that an oracle would retrieve for the block."""
    found = {sight: STAGES[0] for sight in lost if not copies.get(sight[1])}
    left = lost - found.keys()
    if not left:
        return found
    with_best = trial(best)
    alone: set[tuple[int, int]] | None = None
    for sight in sorted(left):
        was_attended = any(frame in attended for frame in copies[sight[1]])
        if not was_attended:
            found[sight] = STAGES[1] if sight in with_best else STAGES[3]
            continue
        if sight in with_best:
            found[sight] = STAGES[2]
            continue
        if alone is None:
            alone = trial(sorted({f for _, place in left for f in copies[place] if f in attended}))
        found[sight] = STAGES[2] if sight in alone else STAGES[3]
    return found


def cover(needed: set[int], right: Mapping[int, set[int]], count: int) -> list[int]:
    """At most `count` frames that together show as many of the `needed` places as can be: greedily the frame that shows
    the most of those left, the earliest of equals; then the earliest others that show any. `right`: the places that
    each frame shows rightly."""
    chosen, left = list[int](), set(needed)
    while len(chosen) < count and left:
        frame = max(sorted(right), key=lambda f: len(right[f] & left), default=None)
        if frame is None or not right[frame] & left:
            break
        chosen.append(frame)
        left -= right[frame]
    others = [frame for frame in sorted(right) if right[frame] & needed and frame not in chosen]
    return [*chosen, *others[: count - len(chosen)]]
