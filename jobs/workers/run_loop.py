"""The loop of every job that has a fleet: submit, poll and record until nothing is unfinished or a signal says stop.

A signal lets what is running end, for DRAIN_SECONDS at most; a second one does not wait. The job decides what an
outcome means and whether work is left. What jobs share of that, the number of attempts and the final errors, is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from longtake.platform.errors import ConfigError, Interrupted, SetupError, StorageError, WeightsError
from longtake.platform.workers.fleet import Fleet, Item, Outcome
from longtake.platform.workers.signals import StopFlag

POLL_SECONDS = 0.25
DRAIN_SECONDS = 10.0
MAX_FAILURES = 3
"""After so many failed attempts an item is set aside."""
FINAL_ERRORS = (StorageError, WeightsError, ConfigError, SetupError)
"""They have no cause in the item, and end the run."""

Step = tuple[str, Item]
"""A group's name and an item for it."""


class Work(Protocol):
    """What a job has to do on its fleet."""

    @property
    def unfinished(self) -> int: ...

    @property
    def how_far(self) -> str:
        """'3 of 8 takes made; run again to resume'."""

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        """Records how an attempt ended; returns the work that follows. Raises what ends the run."""


def run_until_done(
    work: Work,
    steps: list[Step],
    fleet: Fleet,
    stop: StopFlag,
    between: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Submits `steps` and what follows from them, then closes the fleet; `between` is called after every poll.

    Raises Interrupted when a signal ended it before everything was done.
    """
    try:
        submit(fleet, steps)
        while work.unfinished and not stop.is_set:
            for outcome in fleet.poll(POLL_SECONDS):
                submit(fleet, work.record_outcome(outcome))
            between()
        if stop.is_set:
            drain(work, fleet, stop, between, say)
    finally:
        fleet.close()
    if work.unfinished:
        raise Interrupted(f"stopped: {work.how_far}")


def drain(work: Work, fleet: Fleet, stop: StopFlag, between: Callable[[], None], say: Callable[[str], None]) -> None:
    """Waits for what is running and starts nothing more."""
    fleet.clear()
    deadline = time.monotonic() + DRAIN_SECONDS
    say(f"{stop.signal_name}: waiting up to {DRAIN_SECONDS:.0f} s for what is running")
    while fleet.running() and time.monotonic() < deadline and stop.count < 2:
        for outcome in fleet.poll(POLL_SECONDS):
            work.record_outcome(outcome)
        between()


def submit(fleet: Fleet, steps: list[Step]) -> None:
    for group, item in steps:
        fleet.submit(group, item)


def reason_of(error: Exception) -> str:
    """The error in one line, with its type."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:500]}"
