"""The state of every take of a sweep: made, scored or set aside, with the open takes of each cell as running sums.

A poll reads the sums and never goes through the plan. Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from longtake.platform.takes import Cell, Take


class Tally:
    """Ids of takes by state. `to_make` and `to_score`: the number of takes of each cell without a video, or without
    scores; a take that is set aside is in neither."""

    def __init__(self, takes: Iterable[Take]):
        self.made: set[str] = set()
        self.scored: set[str] = set()
        self.failed: set[str] = set()
        self.to_make: Counter[Cell] = Counter()
        for take in takes:
            self.to_make[take.cell] += 1
        self.to_score: Counter[Cell] = Counter(self.to_make)
        self.unfinished = self.to_score.total()

    def set_made(self, take: Take) -> None:
        self._add(take, self.made)

    def set_unmade(self, take: Take) -> None:
        """The video of a made take was discarded."""
        before = self._open(take)
        self.made.discard(take.id)
        self._count(take, before)

    def set_scored(self, take: Take) -> None:
        self._add(take, self.scored)

    def set_failed(self, take: Take) -> None:
        self._add(take, self.failed)

    def _add(self, take: Take, ids: set[str]) -> None:
        before = self._open(take)
        ids.add(take.id)
        self._count(take, before)

    def _open(self, take: Take) -> tuple[bool, bool]:
        """Whether the take is still to make, and to score."""
        if take.id in self.failed:
            return False, False
        return take.id not in self.made, take.id not in self.scored

    def _count(self, take: Take, before: tuple[bool, bool]) -> None:
        make, score = self._open(take)
        if make != before[0]:
            self.to_make[take.cell] += make - before[0]
        if score != before[1]:
            self.to_score[take.cell] += score - before[1]
            self.unfinished += score - before[1]
