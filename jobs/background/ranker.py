"""Ranks of the takes scored so far, computed during a run by a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background.process import Answer, Background
from longtake.jobs.results import ranks
from longtake.platform.errors import LongtakeError, brief
from longtake.platform.plugins import Plugins
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take

EVERY_SECONDS = 30.0
SHARE = 0.05
"""Ranking uses at most this share of the time of one core."""


@dataclass(frozen=True)
class RankTarget:
    """The sweep to rank. Unpickling it in the process installs the plug-ins first."""

    plugins: Plugins
    store: SweepStore
    suites: list[SuiteEntry]

    @cached_property
    def takes(self) -> list[Take]:
        return self.store.plan()


def rank_once(target: RankTarget) -> Answer:
    """Ranks the takes that are scored now; the answer has no result."""
    try:
        ranks.refresh(target.store, target.takes, target.suites)
    except LongtakeError as error:
        return Answer(str(error))
    except Exception as error:  # always reply, also after an unexpected error
        return Answer(f"{type(error).__name__}: {brief(error)}")
    return Answer()


class Ranker(Background[RankTarget]):
    """Keeps the ranks current during a run."""

    def __init__(self, target: RankTarget):
        super().__init__("ranks", rank_once, target)
        self.num_ranked = 0

    def rank_if_due(self, num_scored: int) -> str:
        """Request the ranks when takes were scored since the last request; never waits. Returns the reason of a
        failed request."""
        reason = self.collect().problem
        if num_scored > self.num_ranked and self.is_due(EVERY_SECONDS, SHARE):
            self.num_ranked = num_scored
            self.send()
        return reason
